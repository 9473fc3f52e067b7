"""Quantities with a unit, by dimension: "1 km" is "1000 m" and isn't "1 mile", "$20" isn't "€20", "5 GB" isn't "5 Gb".

Evidence: a changed quantity is the commonest change of a figure in fow-cache's traps; at most one in a thousand true
pairs of PAWS, Banking77 and fow-cache has another quantity on each side.
"""

from __future__ import annotations

from semcache.decision.guards.guard import FiguresGuard
from semcache.text.texts import Text


class UnitsGuard(FiguresGuard):
    """See the module."""

    name = "units"
    version = 1

    def parse(self, text: Text) -> tuple[str, ...]:
        """Quantities as "dimension value" in the dimension's base unit, in order."""
        return text.figures.quantities
