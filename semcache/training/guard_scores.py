"""Say what the guards add to a pair's cosine, so that training moves only what they leave open."""

from __future__ import annotations

from functools import lru_cache

from semcache.decision import Decider
from semcache.model import is_vetoed
from semcache.settings import DecisionSettings

_REMEMBERED_PAIRS = 65_536
"""Pairs whose score is remembered: some tens of MB. A step has some hundreds, most of which seldom come back."""


class GuardScores:
    """Asks the shipped guards, and remembers what they said of the pairs that were asked about last.

    Args:
        remembered_pairs: how many pairs are remembered.
    """

    def __init__(self, remembered_pairs: int = _REMEMBERED_PAIRS) -> None:
        self._decider = Decider(DecisionSettings())
        self._remembered = lru_cache(remembered_pairs)(self._ask)

    def shift(self, first: str, second: str) -> float | None:
        """Return what the guards add to the cosine of two texts; None where one vetoes the pair."""
        return self._remembered(first, second)

    def _ask(self, first: str, second: str) -> float | None:
        added, verdicts = self._decider.compare(second, first, 0.0)
        return None if is_vetoed(verdicts) else added
