"""Limits the tries beyond their first that all calls together may make, so that failures don't multiply the load."""

from __future__ import annotations

from semcache.settings import RetrySettings
from semcache.upstream.sliding import SlidingCounts


class RetryBudget:
    """Extra tries over a sliding window: `budget_ratio` of its calls, or `budget_floor` where that is more.

    A call that asks a target that failed lately reserves one extra try, so that it can go on to another target.
    """

    def __init__(self, settings: RetrySettings) -> None:
        self._ratio = settings.budget_ratio
        self._floor = settings.budget_floor
        self._counts = SlidingCounts(settings.budget_window_s)
        self._reserved = 0

    def called(self, now_s: float) -> None:
        """Count a call, at its first try."""
        self._counts.add(now_s, total=1)

    def allows(self, now_s: float) -> bool:
        """Whether there is an extra try that no call has reserved."""
        return self._available(now_s) >= 1 + self._reserved

    def reserve(self) -> None:
        """Reserve an extra try until `release`."""
        self._reserved += 1

    def release(self) -> None:
        """Give a reserved try back."""
        self._reserved -= 1

    def take(self, now_s: float) -> bool:
        """Take an extra try if there is one; returns whether there was."""
        allowed = self._available(now_s) >= 1
        if allowed:
            self._counts.add(now_s, marked=1)
        return allowed

    def _available(self, now_s: float) -> float:
        calls, extra = self._counts.read(now_s)
        return max(self._floor, self._ratio * calls) - extra
