"""Compare identifiers: order HH-55102 isn't HH-55103, version 3.11.7 isn't 3.11.8, and so with phone numbers.

Evidence: an identifier names one thing, and embedding models barely see its digits (account 12 and account 13 have a
cosine of .899). No true pair of the English sets has another identifier in each text (benchmarks/README.md).
"""

from __future__ import annotations

from semcache.decision.guards.guard import ValuesGuard
from semcache.text.texts import Text


class IdentifiersGuard(ValuesGuard):
    """Vetoes another identifier."""

    name = "identifiers"
    feature = "identifiers/1"

    def read(self, text: Text) -> tuple[str, ...]:
        """Return the identifiers, folded, without dashes."""
        return text.numbers.identifiers
