"""Uses of entries, counted in memory until they share a commit that happens anyway."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from semcache.model import LedgerRecord
from semcache.store import eviction
from semcache.store.eviction import Access

_INTERVAL_S = 30.0
"""Seconds between two writes of access statistics."""
_MAX_IN_MEMORY = 10_000
"""Entries whose accesses are counted in memory; with more, they are written before their time."""


class Accesses:
    """What hits have used since the last write of it. The writer's thread uses it."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._touched: dict[int, Access] = {}
        self._saved_s = monotonic()

    def __len__(self) -> int:
        return len(self._touched)

    def count(self, line: LedgerRecord) -> None:
        """Count the use of an entry that a line tells of."""
        if line.uses_entry:
            self._touched[line.entry_id] = self.of(line.entry_id).plus(eviction.access_of(line))

    def of(self, entry_id: int) -> Access:
        """Return what isn't written yet of an entry's uses."""
        return self._touched.get(entry_id, eviction.NO_ACCESS)

    def take(self, *, all_now: bool) -> Mapping[int, Access]:
        """Return what is due to be written, and forget it."""
        now_s = self._monotonic()
        if not (all_now or now_s - self._saved_s >= _INTERVAL_S or len(self._touched) >= _MAX_IN_MEMORY):
            return {}
        self._saved_s = now_s
        touched, self._touched = self._touched, {}
        return touched

    def put_back(self, touched: Mapping[int, Access]) -> None:
        """Count again what was taken and could not be written."""
        for entry_id, access in touched.items():
            self._touched[entry_id] = access.plus(self.of(entry_id))

    def clear(self) -> None:
        """Forget everything."""
        self._touched.clear()
