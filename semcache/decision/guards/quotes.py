"""Compare quotations: translate "good morning" isn't translate "good night".

Evidence: a quotation is itself the object of the request, so another quotation is another request. 1.3 % of PAWS's true
pairs differ in a quotation, by its punctuation (benchmarks/README.md). Quotation marks in one text only say little, so
they don't count.
"""

from __future__ import annotations

from semcache.decision.guards.guard import passed, vetoed
from semcache.decision.pair import Pair
from semcache.model import GuardVerdict
from semcache.text.texts import Text


class QuotesGuard:
    """Vetoes another quotation."""

    name = "quotes"
    feature = "quotes/2"
    max_lift = 0.0
    passes_equal = True

    def read(self, text: Text) -> tuple[str, ...]:
        """Return the quotations in order, as `text.quotations.find_quotations` writes them."""
        return text.quotations

    def compare(self, pair: Pair) -> GuardVerdict:
        """Veto when each text has a quotation that the other lacks."""
        asked, stored = pair.features(self.feature)
        asked_only = [quotation for quotation in asked if quotation not in stored]
        stored_only = [quotation for quotation in stored if quotation not in asked]
        if asked_only and stored_only:
            return vetoed(self.name, f"request quotes {asked_only[0]}, entry quotes {stored_only[0]}")
        return passed(self.name)
