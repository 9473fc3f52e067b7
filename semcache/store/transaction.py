"""One write transaction: all changes of one commit group to entries and ledger, with its counters and `Changes`.

The writer takes over the counters and changes only after the commit has succeeded.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterable

import lmdb

from semcache import encryption
from semcache.model import Changes, LedgerHour, LedgerRecord, ServedHit
from semcache.store import damage, embedders, eviction, layout, scanning
from semcache.store.accesses import AccessRows
from semcache.store.codec import encode_hour, encode_served
from semcache.store.damage import Damage
from semcache.store.entry_changes import EntryChanges
from semcache.store.eviction import Access
from semcache.store.layout import Counters, Databases
from semcache.store.rollup import HourName, merged, rolled_up

_FOREVER_S = 1e12
"""Wall seconds in the year 33658: later than any row."""
_U32 = struct.Struct(">I")


class WriteTransaction(EntryChanges):
    """The changes of one commit group. Used by the writer's thread alone, between `begin` and commit."""

    def __init__(
        self,
        txn: lmdb.Transaction[bytes],
        dbs: Databases,
        counters: Counters,
        access: Callable[[int], Access],
        found_damage: Damage,
    ) -> None:
        super().__init__(txn, dbs, counters, found_damage)
        self.access_rows = AccessRows(txn, dbs, found_damage)
        self._access = access
        self._before = counters
        self.evicted = 0
        self.expired = 0
        self.history_dropped = 0

    # -- the group's results

    @property
    def counters(self) -> Counters:
        """The counters after this transaction."""
        return Counters(
            self._next_id, self._entries, self._entry_bytes, self._history_bytes, tuple(self._embedder_runs)
        )

    @property
    def changes(self) -> Changes:
        """The changes to entries, for everything that is derived from the store."""
        return Changes(tuple(self._added.values()), tuple(self._removed), tuple(self._rewritten))

    def finish(self) -> None:
        """Write the counters, if they changed. This is the last step before the commit."""
        counters = self.counters
        if counters != self._before:
            self._txn.put(layout.META_COUNTERS, counters.pack(), db=self._dbs.meta)
        if counters.embedder_runs != self._before.embedder_runs:
            self._txn.put(layout.META_RUNS, embedders.pack_runs(counters.embedder_runs), db=self._dbs.meta)

    # -- the ledger and served hits

    def log(self, lines: Iterable[tuple[LedgerRecord, bytes]]) -> None:
        """Write log lines, each with its row (`encode_record`), and add them to the rollup."""
        written = []
        for line, row in lines:
            written.append(line)
            key = layout.pack_time(line.at_s) + layout.log_name(line.request_id)
            repetition = 0
            while not self._put(line.tenant, key + _U32.pack(repetition), row, self._dbs.log, overwrite=False):
                repetition += 1
            self._history_bytes += layout.row_bytes(len(key) + _U32.size, len(row))
        for name, hour in rolled_up(written).items():
            key = layout.hour_key(hour)
            old = self._txn.get(key, db=self._dbs.hours)
            total = hour if old is None else self._added_up(key, old, name, hour)
            self._put(None, key, encode_hour(total), self._dbs.hours)

    def _added_up(self, key: bytes, old: bytes, name: HourName, hour: LedgerHour) -> LedgerHour:
        before = self._damage.read(damage.ledger_hour, key, old)
        if before is not None:
            return merged(before, hour)
        # The log has all lines of the hour, the new ones among them.
        return scanning.hours_from_log(self._txn, self._dbs, name[0], self._damage).get(name, hour)

    def remember_served(self, served: ServedHit, ttl_s: float) -> None:
        """Keep a hit for a later verdict, for `ttl_s` seconds; do nothing for an id that no key can hold."""
        key = layout.served_key(served.hit_id)
        if key is None:
            return
        row = encode_served(served)
        if not self._put(served.tenant, key, row, self._dbs.served, overwrite=False):
            self._forget(key)
            self._put(served.tenant, key, row, self._dbs.served)
        self._txn.put(layout.served_expiry_key(served, ttl_s), b"", db=self._dbs.expiry)
        self._history_bytes += layout.served_bytes(len(key), len(row))

    def _forget(self, key: bytes) -> None:
        """Delete a served hit. Its row of `expiry` stays, and deletes nothing when its time comes."""
        row = self._txn.pop(key, db=self._dbs.served)
        if row is not None:
            self._history_bytes = max(0, self._history_bytes - layout.served_bytes(len(key), len(row)))

    def served(self, hit_id: str) -> ServedHit | None:
        """Return a hit as it was served, even one that is no longer remembered; None when its row is damaged."""
        key = layout.served_key(hit_id)
        row = None if key is None else self._txn.get(key, db=self._dbs.served)
        return None if key is None or row is None else self._damage.read(damage.served_hit, key, row)

    def set_verdict(self, served: ServedHit, verdict: str) -> None:
        """Write the verdict into the served hit."""
        key = layout.served_key(served.hit_id)
        if key is not None:
            row = encode_served(served._replace(verdict=verdict))
            stored = encryption.stored_row(self._txn, served.tenant, key, row, self._dbs.served)
            old = self._txn.replace(key, stored, db=self._dbs.served)
            self._history_bytes += layout.served_bytes(len(key), len(row)) - layout.served_bytes(
                len(key), len(old or b"")
            )

    # -- expiry

    def expire(self, now_s: float, limit: int, *, entries_until_s: float | None = None) -> int:
        """Delete up to `limit` entries that expired until `entries_until_s`, and as many served hits and rejections.

        Args:
            now_s: wall seconds.
            limit: rows of each kind.
            entries_until_s: wall seconds, earlier than `now_s` where expired entries are kept; None: `now_s`.

        Returns:
            How many rows of `expiry` it handled.
        """
        due = self.due(layout.EXPIRES_ENTRY, now_s if entries_until_s is None else entries_until_s, limit)
        for key in due:
            entry_id = layout.unpack_id(key)
            entry = self.entry(entry_id)
            # A row of `expiry` that doesn't match its entry (after damage or a repair) is deleted alone.
            if entry is None or layout.entry_expiry_key(entry) == key:
                self.delete(entry_id)
                self.expired += entry is not None
            self._txn.delete(key, db=self._dbs.expiry)
        return len(due) + self._forget_served(now_s, limit) + self._forget_rejections(now_s, limit)

    def withdraw(self, key: bytes) -> None:
        """Delete the vector of the entry behind a row of `expiry`: it is kept for its exact key alone.

        A search would find it among its nearest neighbours, in the place of an entry that may be served.
        """
        entry = self.entry(layout.unpack_id(key))
        if entry is None or layout.entry_expiry_key(entry) != key:
            return
        vector = self._txn.pop(entry.partition + key[-8:], db=self._dbs.vectors)
        if vector is not None:
            self._lose_vector(entry, vector)

    def due(self, kind: bytes, until_s: float, limit: int, *, first: bytes = b"") -> list[bytes]:
        """Return up to `limit` rows of `expiry` of a kind, from `first` on, whose time is over at `until_s`."""
        return scanning.due_rows(self._txn, self._dbs, first or kind, kind + layout.pack_time(until_s), limit)

    def _forget_served(self, until_s: float, limit: int) -> int:
        due = self.due(layout.EXPIRES_SERVED, until_s, limit)
        for key in due:
            self._forget(key[9:])
            self._txn.delete(key, db=self._dbs.expiry)
        return len(due)

    def _forget_rejections(self, until_s: float, limit: int) -> int:
        due = self.due(layout.EXPIRES_REJECTION, until_s, limit)
        for key in due:
            self._history_bytes = max(0, self._history_bytes - self._rejections.delete(key[9:]))
            self._txn.delete(key, db=self._dbs.expiry)
        return len(due)

    def trim_log(self, before_s: float, limit: int) -> int:
        """Delete up to `limit` of the oldest log lines from before `before_s` (wall seconds); return how many.

        Their rollup stays.
        """
        end = layout.pack_time(before_s)
        trimmed = 0
        with self._txn.cursor(db=self._dbs.log) as cursor:
            while trimmed < limit and cursor.first() and cursor.key()[:8] < end:
                size = layout.row_bytes(len(cursor.key()), len(cursor.value()))
                self._history_bytes = max(0, self._history_bytes - size)
                cursor.delete()
                trimmed += 1
        return trimmed

    # -- limits

    def drop_history(self, limit_bytes: int, max_rows: int) -> None:
        """Delete the oldest log lines and served hits, at most `max_rows` of each, until `limit_bytes` hold them.

        Rejections go last, those that end first before the others: a forgotten one serves a wrong answer again.
        """
        dropped = 1
        while dropped and max_rows > 0 and self._history_bytes > limit_bytes:
            step = min(max_rows, 64)
            dropped = self.trim_log(_FOREVER_S, step) + self._forget_served(_FOREVER_S, step)
            dropped = dropped or self._forget_rejections(_FOREVER_S, step)
            self.history_dropped += dropped
            max_rows -= step

    def evict(self, *, limit_bytes: int, max_entries: int, policy: str, now_s: float, chance: random.Random) -> None:
        """Delete the entries of least worth until both limits hold; entries that this group has put stay.

        Args:
            limit_bytes: bytes that entries may take.
            max_entries: number of entries.
            policy: name in `eviction.POLICIES`.
            now_s: wall seconds.
            chance: source of randomness for the sample.
        """
        while self._entries and (self._entries > max_entries or self._entry_bytes > limit_bytes):
            mean_bytes = max(1, self._entry_bytes // self._entries)
            excess_bytes = max(0, self._entry_bytes - limit_bytes)
            victims = max(self._entries - max_entries, -(-excess_bytes // mean_bytes), 1)
            with self._txn.cursor(db=self._dbs.entries) as cursor:
                ids = eviction.sample_of(cursor, self._entries, self._before.next_entry_id - 1, victims, chance)
            standings = [standing for entry_id in ids if (standing := self._standing(entry_id, now_s))]
            before = self._entries
            for standing in eviction.by_worth(standings, policy)[:victims]:
                if self._entries <= max_entries and self._entry_bytes <= limit_bytes:
                    return
                self.delete(standing.entry_id)
                self.evicted += 1
            if self._entries == before:
                return

    def _standing(self, entry_id: int, now_s: float) -> eviction.Standing | None:
        key = layout.pack_id(entry_id)
        row = self._txn.get(key, db=self._dbs.entries)
        if row is None:
            return None
        entry = self._undamaged(key, row)
        if entry is None:
            # A damaged entry is worth nothing: it is evicted before all others.
            return eviction.Standing(entry_id, 0, 0, float("inf"), max(len(row), 1))
        with self._txn.cursor(db=self._dbs.vectors) as cursor:
            vector_bytes = len(cursor.value()) if cursor.set_key(entry.partition + key) else 0
        access = self.access_rows.of(key).plus(self._access(entry_id))
        return eviction.standing_of(entry, access, layout.entry_bytes(entry, len(row), vector_bytes), now_s)

    def labelled_ids(self, prefix: bytes, after: int, limit: int) -> list[int]:
        """Return up to `limit` ids above `after` whose entries carry a label, by id."""
        return scanning.labelled_ids(self._txn, self._dbs, prefix, after, limit)
