"""Invalidations of this process, remembered so that an answer in flight before one isn't stored after it."""

from __future__ import annotations

from collections import deque

from semcache.model import Entry, Selector

_REMEMBERED = 1_000


class Invalidations:
    """Counts invalidations as generations and knows what the latest named."""

    def __init__(self) -> None:
        self._latest: deque[Selector] = deque(maxlen=_REMEMBERED)
        self.generation = 0
        """How many there were."""

    def add(self, selector: Selector) -> None:
        """One more."""
        self.generation += 1
        self._latest.append(selector)

    def name_since(self, generation: int, entry: Entry) -> bool:
        """Whether one after `generation` names `entry`; True also when there were too many to remember."""
        missed = self.generation - generation
        if missed > len(self._latest):
            return True
        return any(self._latest[-position].matches(entry) for position in range(1, missed + 1))
