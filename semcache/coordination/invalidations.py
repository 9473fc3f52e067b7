"""Invalidations, remembered so that an answer in flight before one isn't stored after it."""

from __future__ import annotations

from collections import deque

from semcache.model import Entry, Selector

_MAX_REMEMBERED = 1_000
"""Selectors kept; an answer in flight across more of them isn't stored."""


class Invalidations:
    """Counts invalidations as generations and knows what the latest ones named.

    Attributes:
        generation: how many there have been.
    """

    def __init__(self) -> None:
        self._latest: deque[Selector] = deque(maxlen=_MAX_REMEMBERED)
        self.generation = 0

    def add(self, selector: Selector) -> int:
        """Count an invalidation; return the new generation."""
        self.generation += 1
        self._latest.append(selector)
        return self.generation

    def name_since(self, generation: int, entry: Entry) -> bool:
        """Return whether one after `generation` names `entry`; True also when there were too many to remember."""
        missed = self.generation - generation
        if missed > len(self._latest):
            return True
        return any(self._latest[-position].matches(entry) for position in range(1, missed + 1))
