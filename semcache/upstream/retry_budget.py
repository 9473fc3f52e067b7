"""How many tries beyond their first all calls together may make: what keeps trouble from becoming a storm."""

from __future__ import annotations

from semcache.settings import RetrySettings
from semcache.upstream.sliding import SlidingCounts


class RetryBudget:
    """Extra tries over a sliding window: `budget_ratio` of its calls, and `budget_floor` where that is more.

    A call that asks a target of doubtful health stakes one of them, so that it can go on to another when that fails.
    """

    def __init__(self, settings: RetrySettings) -> None:
        self._ratio = settings.budget_ratio
        self._floor = settings.budget_floor
        self._counts = SlidingCounts(settings.budget_window_s)
        self._staked = 0

    def called(self, now_s: float) -> None:
        """A call makes its first try."""
        self._counts.add(now_s, total=1)

    def allows(self, now_s: float) -> bool:
        """Whether there is an extra try left that nobody has staked."""
        return self._left(now_s) >= 1 + self._staked

    def stake(self) -> None:
        """Put one by, until `unstake`."""
        self._staked += 1

    def unstake(self) -> None:
        """It is over, won or lost."""
        self._staked -= 1

    def take(self, now_s: float) -> bool:
        """Make one, if there is one left."""
        allowed = self._left(now_s) >= 1
        if allowed:
            self._counts.add(now_s, marked=1)
        return allowed

    def _left(self, now_s: float) -> float:
        calls, extra = self._counts.read(now_s)
        return max(self._floor, self._ratio * calls) - extra
