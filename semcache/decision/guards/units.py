"""Compare quantities by dimension: "1 km" is "1000 m" and isn't "1 mile"; "$20" isn't "€20", "5 GB" isn't "5 Gb".

Evidence: among fow-cache's traps a changed quantity is the most frequent change of a number. At most one in a thousand
true pairs of PAWS, Banking77 and fow-cache has another quantity in each text (benchmarks/README.md).
"""

from __future__ import annotations

from semcache.decision.guards.guard import ValuesGuard
from semcache.text.texts import Text


class UnitsGuard(ValuesGuard):
    """Vetoes another quantity."""

    name = "units"
    feature = "units/1"

    def read(self, text: Text) -> tuple[str, ...]:
        """Return the quantities in order, as "dimension value" in the dimension's base unit."""
        return text.numbers.quantities
