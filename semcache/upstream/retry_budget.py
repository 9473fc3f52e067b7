"""How many tries beyond their first all calls together may make: what keeps trouble from becoming a storm."""

from __future__ import annotations

from semcache.settings import RetrySettings
from semcache.upstream.sliding import SlidingCounts


class RetryBudget:
    """Extra tries over a sliding window: `budget_ratio` of its calls, and `budget_floor` where that is more."""

    def __init__(self, settings: RetrySettings) -> None:
        self._ratio = settings.budget_ratio
        self._floor = settings.budget_floor
        self._counts = SlidingCounts(settings.budget_window_s)

    def called(self, now_s: float) -> None:
        """A call makes its first try."""
        self._counts.add(now_s, total=1)

    def allows(self, now_s: float) -> bool:
        """Whether an extra try could be made now."""
        calls, extra = self._counts.read(now_s)
        return extra + 1 <= max(self._floor, self._ratio * calls)

    def take(self, now_s: float) -> bool:
        """Make one, if it is allowed."""
        allowed = self.allows(now_s)
        if allowed:
            self._counts.add(now_s, marked=1)
        return allowed
