"""Code: `--force` isn't `--dry-run`, /etc/hosts isn't /etc/passwd, == isn't !=, foo() isn't bar(), a.com isn't b.com.

Evidence: a flag, a path or a symbol is exact by its nature, and a tokenizer for prose cuts it to pieces that look
alike. At most one in a thousand true pairs of the English sets has such a difference.
"""

from __future__ import annotations

import re

from semcache.decision.figures import MAX_FIGURES, unmatched
from semcache.decision.guards.guard import differing, vetoed
from semcache.decision.pair import Pair
from semcache.decision.texts import Text
from semcache.model import GuardVerdict

_TOKENS = re.compile(
    r"""
      `[^`\n]+`                                              # what is marked as code
    | https?://[^\s<>"')\]]+ | (?<![\w@])www\.[^\s<>"')\]]+  # addresses
    | (?<!\S)--?[A-Za-z][\w-]*(?:=\S+)?(?=[\s,.;:?!)]|$)     # flags
    | (?<![\w/])(?:~|\.{1,2})?/[\w.-]+(?:/[\w.-]*)*          # paths
    | \b[A-Za-z]:\\[\w.\\-]+                                 # paths of Windows
    | \b[\w.]+\(\)                                           # calls
    | \b[a-z]+(?:_[a-z0-9]+)+\b                              # snake_case
    | \b[a-z]+[a-z0-9]*(?:[A-Z][a-z0-9]+)+\b                 # camelCase
    | \b[\w-]+\.(?:py|js|ts|go|rs|java|rb|php|cpp|sh|sql|json|ya?ml|toml|xml|csv|html?|css|md)\b
    | \b[\w-]+\.(?:txt|ini|cfg|conf|env|lock|pdf|docx?|xlsx?)\b
    | [\w.+-]+@[\w-]+\.[\w.]+                                # mail addresses
    | (?<=\s)(?:===?|!==?|<=|>=|=>|->|&&|\|\||\+\+|\*\*)(?=\s)
    | (?<=[\d)])\s*(?:===?|!==?|<=|>=|[+*^<>])\s*(?=[\d(])  # between operands
    | (?<=[\d)])\s+/\s+(?=[\d(])                           # which without spaces stands in dates; a dash is in ranges
    """,
    re.VERBOSE,
)


_MARKED = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
_HINTS = re.compile(r"[`/\\_@()=<>&|^*+-]|\.\w|[a-z][A-Z]")
"""Without one of these there is no token: most prompts aren't searched any further."""


class CodeGuard:
    """See the module."""

    name = "code"
    version = 1
    most = 0.0
    passes_equal = True

    def parse(self, text: Text) -> tuple[str, ...]:
        """The code tokens, without backticks and white space, in order."""
        if text.is_prose:
            return ()
        plain = text.plain_with_backticks
        return (*code_tokens(plain), *(f"`{span}" for span in marked(plain)))

    def compare(self, pair: Pair) -> GuardVerdict:
        """Veto when each side has a token that the other hasn't, or both mark code and not the same."""
        asked, stored = pair.parses(self)
        marks, stored_marks = (tuple(token for token in side if token[0] == "`") for side in (asked, stored))
        if marks and stored_marks and sorted(marks) != sorted(stored_marks):
            return vetoed(self.name, f"request has {marks[0]}`, entry has {stored_marks[0]}`")
        asked, stored = (tuple(token for token in side if token[0] != "`") for side in (asked, stored))
        return differing(self.name, unmatched(asked, stored), unmatched(stored, asked), pair)


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
