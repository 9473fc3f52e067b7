"""Identifiers: order HH-55102 isn't HH-55103, version 3.11.7 isn't 3.11.8, a phone number is itself alone.

Evidence: an identifier names one thing, and embedders barely see its digits (account 12 and 13: cosine .899). No true
pair of the English sets has another identifier on each side.
"""

from __future__ import annotations

from semcache.decision.figures import unmatched
from semcache.decision.guards.guard import differing
from semcache.decision.pair import Pair
from semcache.decision.texts import Text
from semcache.model import GuardVerdict


class IdentifiersGuard:
    """See the module."""

    name = "identifiers"
    version = 1
    most = 0.0

    def parse(self, text: Text) -> tuple[str, ...]:
        """Identifiers, folded, without their dashes."""
        return text.figures.identifiers

    def compare(self, pair: Pair) -> GuardVerdict:
        """Veto when each side has an identifier that the other hasn't."""
        asked, stored = pair.parses(self)
        return differing(self.name, unmatched(asked, stored), unmatched(stored, asked), pair)
