"""Find the code in a text: flags, paths, calls, symbols, addresses, and spans marked with backticks."""

from __future__ import annotations

import re

from semcache.text.numbers import MAX_NUMBERS

_TOKENS = re.compile(
    r"""
      `[^`\n]+`                                              # a span in backticks
    | https?://[^\s<>"')\]]+ | (?<![\w@])www\.[^\s<>"')\]]+  # addresses
    | (?<!\S)--?[A-Za-z][\w-]*(?:=\S+)?(?=[\s,.;:?!)]|$)     # flags
    | (?<![\w/])(?:~|\.{1,2})?/[\w.-]+(?:/[\w.-]*)*          # paths
    | \b[A-Za-z]:\\[\w.\\-]+                                 # paths of Windows
    | \b[\w.]{1,128}+\(\)                                    # calls
    | \b[a-z]+(?:_[a-z0-9]+)+\b                              # snake_case
    | \b(?![ei][A-Z][a-z]+\b)[a-z][a-z0-9]*+(?:[A-Z][a-z0-9]++)++\b               # camelCase, but not iPhone and eBay
    | \b[\w-]{1,128}+\.(?:py|js|ts|go|rs|java|rb|php|cpp|sh|sql|json|ya?ml|toml|xml|csv|html?|css|md)\b
    | \b[\w-]{1,128}+\.(?:com|org|net|io|dev|app|ai|co|gov|edu|info|uk|de|fr|es|eu)\b(?!\.\w)
    | \b[\w-]{1,128}+\.(?:txt|ini|cfg|conf|env|lock|pdf|docx?|xlsx?)\b
    | \\[A-Za-z]\b | (?<![\w%])%[A-Za-z]\b                  # classes of a regular expression, directives of a format
    | \b[ugoa]{1,4}[+=-][rwxXst]{1,4}\b                     # modes of chmod
    | [\w.+-]{1,128}+@[\w-]+\.[\w.]+                         # mail addresses
    | (?<=\s)(?:===?|!==?|<=|>=|=>|->|&&|\|\||\+\+|\*\*)(?=\s)
    | (?<=[\d)])\s*(?:===?|!==?|<=|>=|[+*^<>])\s*(?=[\d(])  # between operands
    | (?<=[\d)])\s+/\s+(?=[\d(])                           # without spaces a slash is in dates, a dash in ranges
    """,
    re.VERBOSE,
)
"""Alternatives that may begin anywhere in a run of letters have a bound. Without it, a search of a long run would take
time that grows with the square of its length."""
_MARKED = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
_HINTS = re.compile(r"[`/\\_@()=<>&|^*+%-]|\.\w|[a-z][A-Z]")
"""A text without any of these has no code token. Most prompts have none, so they aren't searched further."""


def find_marked_code(plain: str) -> tuple[str, ...]:
    """Return the spans marked with backticks, in order, with runs of white space replaced by one blank."""
    if "`" not in plain:
        return ()
    return tuple(" ".join(span.strip("`").split()) for span in _MARKED.findall(plain))


def find_code_tokens(plain: str) -> tuple[str, ...]:
    """Return the code tokens of a text, in order, at most `MAX_NUMBERS`.

    A span in backticks contributes its own tokens; where it has none, it is one token as a whole.
    """
    if not _HINTS.search(plain):
        return ()
    tokens: list[str] = []
    for match in _TOKENS.finditer(plain):
        token = match.group().strip()
        inner = token.strip("`")
        tokens += (find_code_tokens(inner) or (inner,)) if token != inner else (token,)
    return tuple(tokens[:MAX_NUMBERS])
