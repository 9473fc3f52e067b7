"""Sums over the last stretch of time, for gauges that are derived from counters over a stated window."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from threading import Lock

from semcache.ports import Clock

_SLOTS = 60


@dataclass(slots=True)
class _Slot:
    number: int
    hits: int = 0
    misses: int = 0
    spent_nanousd: int = 0
    saved_nanousd: int = 0


class Window:
    """Hits, misses and money of the last `window_s` seconds, to a sixtieth of it; thread-safe."""

    def __init__(self, clock: Clock, window_s: float) -> None:
        self._clock = clock
        self._slot_s = window_s / _SLOTS
        self._slots: deque[_Slot] = deque(maxlen=_SLOTS)
        self._lock = Lock()

    def slot(self, at_s: float) -> int:
        """The number of the slot that a moment (monotonic seconds) lies in."""
        return int(at_s / self._slot_s)

    def add(self, number: int, *, hits: int, misses: int, spent_nanousd: int, saved_nanousd: int) -> None:
        """Counts into the slot of that number, which is no earlier than the last one's."""
        with self._lock:
            slots = self._slots
            if not slots or slots[-1].number != number:
                slots.append(_Slot(number))
            slot = slots[-1]
            slot.hits += hits
            slot.misses += misses
            slot.spent_nanousd += spent_nanousd
            slot.saved_nanousd += saved_nanousd

    def hit_ratio(self) -> float:
        """Hits / (hits + misses); NaN when there were neither."""
        slots = self._live()
        hits = sum(slot.hits for slot in slots)
        return _ratio(hits, hits + sum(slot.misses for slot in slots))

    def savings_percent(self) -> float:
        """100 × saved / (saved + spent); NaN when there was neither."""
        slots = self._live()
        saved = sum(slot.saved_nanousd for slot in slots)
        return 100 * _ratio(saved, saved + sum(slot.spent_nanousd for slot in slots))

    def _live(self) -> list[_Slot]:
        oldest = self.slot(self._clock.monotonic()) - _SLOTS + 1
        with self._lock:
            return [slot for slot in self._slots if slot.number >= oldest]


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
