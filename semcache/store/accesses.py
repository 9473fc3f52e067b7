"""Uses of entries: counted in memory until they share a commit that happens anyway, and the rows that have them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import lmdb

from semcache.model import LedgerRecord
from semcache.store import eviction, layout
from semcache.store.damage import Damage
from semcache.store.eviction import Access
from semcache.store.layout import Databases

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


class AccessRows:
    """The rows of `access`, as one write transaction sees them."""

    def __init__(self, txn: lmdb.Transaction[bytes], dbs: Databases, damage: Damage) -> None:
        """Prepare it over a transaction; damaged rows are reported to `damage` and count as none."""
        self._txn = txn
        self._dbs = dbs
        self._damage = damage

    def add(self, touched: Mapping[int, Access]) -> None:
        """Add accesses that were counted in memory to the stored ones; entries that are gone are left out."""
        for entry_id, access in touched.items():
            key = layout.pack_id(entry_id)
            with self._txn.cursor(db=self._dbs.entries) as cursor:
                if not cursor.set_key(key):
                    continue
            total = self.of(key).plus(access)
            self._txn.put(key, eviction.pack_access(key, total), db=self._dbs.access)

    def of(self, key: bytes) -> Access:
        """Return the stored accesses of an entry by its key."""
        row = self._txn.get(key, db=self._dbs.access)
        access = eviction.NO_ACCESS if row is None else eviction.unpack_access(key, row)
        if access is None:
            self._damage.note([f"access {key.hex()}"], "its checksum doesn't match its bytes.")
        return access or eviction.NO_ACCESS
