"""Code: `--force` isn't `--dry-run`, /etc/hosts isn't /etc/passwd, == isn't !=, foo() isn't bar(), a.com isn't b.com.

Evidence: a flag, a path or a symbol is exact by its nature, and a tokenizer for prose cuts it to pieces that look
alike. At most one in a thousand true pairs of the English sets has such a difference.
"""

from __future__ import annotations

from semcache.decision.guards.guard import differing, vetoed
from semcache.decision.pair import Pair
from semcache.model import GuardVerdict
from semcache.text.numbers import unmatched
from semcache.text.texts import Text


class CodeGuard:
    """See the module."""

    name = "code"
    version = 1
    most = 0.0
    passes_equal = True

    def parse(self, text: Text) -> tuple[str, ...]:
        """The code tokens, without backticks and white space, in order."""
        return (*text.code_tokens, *(f"`{span}" for span in text.marked_code))

    def compare(self, pair: Pair) -> GuardVerdict:
        """Veto when each side has a token that the other hasn't, or both mark code and not the same."""
        asked, stored = pair.parses(self)
        marks, stored_marks = (tuple(token for token in side if token[0] == "`") for side in (asked, stored))
        if marks and stored_marks and sorted(marks) != sorted(stored_marks):
            return vetoed(self.name, f"request has {marks[0]}`, entry has {stored_marks[0]}`")
        asked, stored = (tuple(token for token in side if token[0] != "`") for side in (asked, stored))
        return differing(self.name, unmatched(asked, stored), unmatched(stored, asked), pair)
