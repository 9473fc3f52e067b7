"""Say what the guards add to a pair's cosine, so that training moves only what they leave open."""

from __future__ import annotations

from semcache.decision import Decider
from semcache.model import Effect
from semcache.settings import DecisionSettings


class GuardScores:
    """Asks the shipped guards, and remembers what they said of a pair."""

    def __init__(self) -> None:
        self._decider = Decider(DecisionSettings())
        self._known: dict[tuple[str, str], float | None] = {}

    def shift(self, first: str, second: str) -> float | None:
        """Return what the guards add to the cosine of two texts; None where one vetoes the pair."""
        key = (first, second)
        if key not in self._known:
            added, verdicts = self._decider.compare(second, first, 0.0)
            vetoed = any(verdict.effect is Effect.VETO for verdict in verdicts)
            self._known[key] = None if vetoed else added
        return self._known[key]
