"""The code in a text: flags, paths, calls, symbols, addresses, what is marked as code."""

from __future__ import annotations

import re

from semcache.text.numbers import MAX_FIGURES

_TOKENS = re.compile(
    r"""
      `[^`\n]+`                                              # what is marked as code
    | https?://[^\s<>"')\]]+ | (?<![\w@])www\.[^\s<>"')\]]+  # addresses
    | (?<!\S)--?[A-Za-z][\w-]*(?:=\S+)?(?=[\s,.;:?!)]|$)     # flags
    | (?<![\w/])(?:~|\.{1,2})?/[\w.-]+(?:/[\w.-]*)*          # paths
    | \b[A-Za-z]:\\[\w.\\-]+                                 # paths of Windows
    | \b[\w.]{1,128}+\(\)                                    # calls
    | \b[a-z]+(?:_[a-z0-9]+)+\b                              # snake_case
    | \b[a-z][a-z0-9]*+(?:[A-Z][a-z0-9]++)++\b               # camelCase
    | \b[\w-]{1,128}+\.(?:py|js|ts|go|rs|java|rb|php|cpp|sh|sql|json|ya?ml|toml|xml|csv|html?|css|md)\b
    | \b[\w-]{1,128}+\.(?:txt|ini|cfg|conf|env|lock|pdf|docx?|xlsx?)\b
    | [\w.+-]{1,128}+@[\w-]+\.[\w.]+                         # mail addresses
    | (?<=\s)(?:===?|!==?|<=|>=|=>|->|&&|\|\||\+\+|\*\*)(?=\s)
    | (?<=[\d)])\s*(?:===?|!==?|<=|>=|[+*^<>])\s*(?=[\d(])  # between operands
    | (?<=[\d)])\s+/\s+(?=[\d(])                           # which without spaces stands in dates; a dash is in ranges
    """,
    re.VERBOSE,
)
"""What begins anywhere in a run of letters has a bound: without one each place in a long run is the start of a look at
all the rest."""
_MARKED = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
_HINTS = re.compile(r"[`/\\_@()=<>&|^*+-]|\.\w|[a-z][A-Z]")
"""Without one of these there is no token: most prompts aren't searched any further."""


def marked(plain: str) -> tuple[str, ...]:
    """What is marked as code, whole, its white space evened out."""
    if "`" not in plain:
        return ()
    return tuple(" ".join(span.strip("`").split()) for span in _MARKED.findall(plain))


def code_tokens(plain: str) -> tuple[str, ...]:
    """The code tokens of a text, in order; what is marked as code counts by its tokens, or as one."""
    if not _HINTS.search(plain):
        return ()
    found: list[str] = []
    for match in _TOKENS.finditer(plain):
        token = match.group().strip()
        inner = token.strip("`")
        found += (code_tokens(inner) or (inner,)) if token != inner else (token,)
    return tuple(found[:MAX_FIGURES])
