"""Sums over the last stretch of time, for the gauges that are derived over a stated window."""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass, field
from threading import Lock

from semcache.model import Status, hit_ratio
from semcache.ports import Clock

_SLOTS = 60
"""Slots in a window: a gauge then forgets at most a sixtieth of its window at once."""


@dataclass(slots=True)
class _Slot:
    """One sixtieth of the window, by its number: requests by status, money in nanodollars."""

    number: int
    requests: Counter[Status] = field(default_factory=Counter)
    spent_nanousd: int = 0
    saved_nanousd: int = 0


class Window:
    """Requests by status and money of the last `window_s` seconds, to a sixtieth of it.

    Args:
        clock: its monotonic seconds choose the slot.
        window_s: the length of the window, seconds.
        lock: guards the slots.
    """

    def __init__(self, clock: Clock, window_s: float, lock: Lock) -> None:
        self._monotonic = clock.monotonic
        self._lock = lock
        self._slot_s = window_s / _SLOTS
        self._slots: deque[_Slot] = deque(maxlen=_SLOTS)

    def __repr__(self) -> str:
        return f"Window(slots={len(self._slots)}, limit={_SLOTS})"

    def add(self, status: Status, requests: int, spent_nanousd: int, saved_nanousd: int) -> None:
        """Count `requests` of one status, and their money in nanodollars, now. The caller holds the lock."""
        number = int(self._monotonic() / self._slot_s)
        slots = self._slots
        if not slots or slots[-1].number != number:
            slots.append(_Slot(number))
        slot = slots[-1]
        slot.requests[status] += requests
        slot.spent_nanousd += spent_nanousd
        slot.saved_nanousd += saved_nanousd

    def hit_ratio(self) -> float:
        """Return hits / (hits + misses); NaN when there were neither; thread-safe."""
        requests: Counter[Status] = Counter()
        with self._lock:
            for slot in self._live():
                requests.update(slot.requests)
        ratio = hit_ratio(requests)
        return math.nan if ratio is None else ratio

    def savings_percent(self) -> float:
        """Return 100 × saved / (saved + spent); NaN when there was neither; thread-safe."""
        with self._lock:
            slots = self._live()
            saved = sum(slot.saved_nanousd for slot in slots)
            total = saved + sum(slot.spent_nanousd for slot in slots)
        return 100 * saved / total if total else math.nan

    def _live(self) -> list[_Slot]:
        oldest = int(self._monotonic() / self._slot_s) - _SLOTS + 1
        return [slot for slot in self._slots if slot.number >= oldest]
