"""Identifiers: order HH-55102 isn't HH-55103, version 3.11.7 isn't 3.11.8, a phone number is itself alone.

Evidence: an identifier names one thing, and embedders barely see its digits (account 12 and 13: cosine .899). No true
pair of the English sets has another identifier on each side.
"""

from __future__ import annotations

from semcache.decision.guards.guard import FiguresGuard
from semcache.text.texts import Text


class IdentifiersGuard(FiguresGuard):
    """See the module."""

    name = "identifiers"
    version = 1

    def parse(self, text: Text) -> tuple[str, ...]:
        """Identifiers, folded, without their dashes."""
        return text.figures.identifiers
