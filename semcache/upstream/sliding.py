"""Counts over the last stretch of time. Pure: the time is an argument."""

from __future__ import annotations

from collections import deque

_SLOTS = 20
"""Slots in a window: counts then expire in steps of a twentieth of it."""


class SlidingCounts:
    """How many events the last `window_s` seconds had, and how many of them were marked, to a twentieth of the window.

    Times are monotonic seconds. A time earlier than the last one counts as the last one.
    """

    def __init__(self, window_s: float) -> None:
        self._slot_s = window_s / _SLOTS
        self._slots: deque[list[int]] = deque()
        self._total = self._marked = 0

    def add(self, now_s: float, *, total: int = 0, marked: int = 0) -> None:
        """Count `total` more events, and mark `marked` of them or of earlier ones."""
        self._expire(now_s)
        slots, number = self._slots, int(now_s / self._slot_s)
        if not slots or slots[-1][0] < number:
            slots.append([number, 0, 0])
        slots[-1][1] += total
        slots[-1][2] += marked
        self._total += total
        self._marked += marked

    def read(self, now_s: float) -> tuple[int, int]:
        """Return the number of events and of marked ones."""
        self._expire(now_s)
        return self._total, self._marked

    def clear(self) -> None:
        """Forget all events."""
        self._slots.clear()
        self._total = self._marked = 0

    def _expire(self, now_s: float) -> None:
        slots, oldest = self._slots, int(now_s / self._slot_s) - _SLOTS + 1
        while slots and slots[0][0] < oldest:
            _, total, marked = slots.popleft()
            self._total -= total
            self._marked -= marked
