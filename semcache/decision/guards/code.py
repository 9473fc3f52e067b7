"""Compare code: `--force` isn't `--dry-run`, /etc/hosts isn't /etc/passwd, == isn't !=, foo() isn't bar().

Evidence: a flag, a path or a symbol is exact by nature, and a tokenizer for prose cuts it into pieces that look alike.
At most one in a thousand true pairs of the English sets has such a difference (benchmarks/README.md).
"""

from __future__ import annotations

from semcache.decision.guards.guard import judge_difference, vetoed
from semcache.decision.pair import Pair
from semcache.model import GuardVerdict
from semcache.text.numbers import unmatched
from semcache.text.texts import Text


class CodeGuard:
    """Vetoes another code token or other code in backticks."""

    name = "code"
    feature = "code/1"
    max_lift = 0.0
    passes_equal = True

    def read(self, text: Text) -> tuple[str, ...]:
        """Return the code tokens in order, then each span in backticks, with one backtick before it."""
        return (*text.code_tokens, *(f"`{span}" for span in text.marked_code))

    def compare(self, pair: Pair) -> GuardVerdict:
        """Veto when each text has a token that the other lacks, or when both mark code and it differs."""
        asked, stored = pair.features(self.feature)
        spans, stored_spans = (tuple(token for token in side if token[0] == "`") for side in (asked, stored))
        if spans and stored_spans and sorted(spans) != sorted(stored_spans):
            return vetoed(self.name, f"request has {spans[0]}`, entry has {stored_spans[0]}`")
        asked, stored = (tuple(token for token in side if token[0] != "`") for side in (asked, stored))
        return judge_difference(self.name, unmatched(asked, stored), unmatched(stored, asked), pair)
