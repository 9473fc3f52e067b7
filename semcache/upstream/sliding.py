"""Counts over the last stretch of time: pure, its time is given."""

from __future__ import annotations

from collections import deque

_SLOTS = 20


class SlidingCounts:
    """How many there were in the last `window_s` seconds, and how many of them were marked, to a twentieth of it.

    Times are monotonic seconds; one that is earlier than the last counts as the last.
    """

    def __init__(self, window_s: float) -> None:
        self._slot_s = window_s / _SLOTS
        self._slots: deque[list[int]] = deque()
        self._total = self._marked = 0

    def add(self, now_s: float, *, total: int = 0, marked: int = 0) -> None:
        """Count `total` more, and `marked` of them or of earlier ones."""
        self._expire(now_s)
        slots, number = self._slots, int(now_s / self._slot_s)
        if not slots or slots[-1][0] < number:
            slots.append([number, 0, 0])
        slots[-1][1] += total
        slots[-1][2] += marked
        self._total += total
        self._marked += marked

    def read(self, now_s: float) -> tuple[int, int]:
        """All, and the marked ones."""
        self._expire(now_s)
        return self._total, self._marked

    def clear(self) -> None:
        """Forget everything."""
        self._slots.clear()
        self._total = self._marked = 0

    def _expire(self, now_s: float) -> None:
        slots, oldest = self._slots, int(now_s / self._slot_s) - _SLOTS + 1
        while slots and slots[0][0] < oldest:
            _, total, marked = slots.popleft()
            self._total -= total
            self._marked -= marked
