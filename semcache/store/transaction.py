"""One write transaction: all changes of one commit group to entries and ledger, with its counters and `Changes`.

The writer takes over the counters and changes only after the commit has succeeded.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterable
from dataclasses import replace

import lmdb
import numpy as np

from semcache import encryption
from semcache.errors import StoreUnusableError
from semcache.model import Changes, Entry, LedgerHour, LedgerRecord, Rejection, ServedHit, Vector
from semcache.store import damage, embedders, eviction, layout, scanning, seals
from semcache.store.accesses import AccessRows
from semcache.store.codec import encode_entry, encode_hour, encode_served, is_of_older_store
from semcache.store.damage import Damage
from semcache.store.eviction import Access
from semcache.store.layout import Counters, Databases
from semcache.store.rejections import OLDER_TTL_S, RejectionRows, latest
from semcache.store.rollup import HourName, merged, rolled_up
from semcache.store.table import sealed_again

_FOREVER_S = 1e12
"""Wall seconds in the year 33658: later than any row."""
_U32 = struct.Struct(">I")


class WriteTransaction:
    """The changes of one commit group. Used by the writer's thread alone, between `begin` and commit."""

    def __init__(
        self,
        txn: lmdb.Transaction[bytes],
        dbs: Databases,
        counters: Counters,
        access: Callable[[int], Access],
        found_damage: Damage,
    ) -> None:
        self._txn = txn
        self._damage = found_damage
        self._dbs = dbs
        self._rejections = RejectionRows(txn, dbs, found_damage)
        self.access_rows = AccessRows(txn, dbs, found_damage)
        self._access = access
        self._before = counters
        self._next_id = counters.next_entry_id
        self._entries = counters.entries
        self._entry_bytes = counters.entry_bytes
        self._history_bytes = counters.history_bytes
        self._embedder_runs = list(counters.embedder_runs)
        self._added: dict[int, tuple[bytes, int, Vector]] = {}
        self._removed: list[tuple[bytes, int, bytes]] = []
        self._rewritten: dict[int, None] = {}
        self.evicted = 0
        self.expired = 0
        self.reembedded = 0
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

    def _put(self, tenant: str | None, key: bytes, row: bytes, db: lmdb._Database, **options: bool) -> bool:
        """Write a row under the key of its tenant, or of the store itself (None); return whether it was written."""
        return self._txn.put(key, encryption.stored_row(self._txn, tenant, key, row, db), db=db, **options)

    # -- entries

    def entry(self, entry_id: int) -> Entry | None:
        """Return the entry, even an expired one; None when it is gone or damaged."""
        key = layout.pack_id(entry_id)
        return self._undamaged(key, self._txn.get(key, db=self._dbs.entries))

    def _undamaged(self, key: bytes, row: bytes | None) -> Entry | None:
        try:
            return None if row is None else self._damage.read(damage.entry, key, row)
        except StoreUnusableError:  # A newer semcache wrote the row. Its write must not hold up those of others.
            return None

    def put(self, entry: Entry, row: bytes, vector: Vector | None) -> Entry:
        """Store a new entry under the next id, in place of the entry with its exact key; return it with its id.

        Args:
            entry: its `entry_id` is ignored.
            row: `encode_entry(entry)`, made by the caller so that it hears of values that no row can hold.
            vector: unit vector of shape (dimension,), or None.
        """
        old = self._txn.get(entry.exact_key, db=self._dbs.exact)
        replaced = None if old is None else self.delete(layout.unpack_id(old))
        # A rejection says that two requests differ. A fresh answer to one of them doesn't change that.
        rejections = self._rejections.of(entry.tenant, entry.exact_key)
        if replaced is not None and replaced.text == entry.text:
            rejections = [*replaced.rejections, *rejections]
        if rejections:
            entry = replace(entry, rejections=latest((*rejections, *entry.rejections)))
            row = encode_entry(entry)
        entry = replace(entry, entry_id=self._next_id)
        self._next_id += 1
        key, row = layout.pack_id(entry.entry_id), sealed_again(row, entry.entry_id)
        self._put(entry.tenant, key, row, self._dbs.entries, append=True)
        self._txn.put(entry.exact_key, key, db=self._dbs.exact)
        for label in layout.label_keys(entry):
            self._txn.put(label, b"", db=self._dbs.tags)
        self._txn.put(layout.entry_expiry_key(entry), b"", db=self._dbs.expiry)
        vector_bytes = 0 if vector is None else self._put_vector(entry, vector)
        self._entries += 1
        self._entry_bytes += layout.entry_bytes(entry, len(row), vector_bytes)
        return entry

    def _put_vector(self, entry: Entry, vector: Vector) -> int:
        """Write an entry's vector and count it; return the bytes of its row."""
        key = entry.partition + layout.pack_id(entry.entry_id)
        raw = np.ascontiguousarray(vector, dtype=np.float32).tobytes()
        row = seals.sealed_row(key, raw)
        self._put(entry.tenant, key, row, self._dbs.vectors)
        self._added[entry.entry_id] = (entry.partition, entry.entry_id, np.frombuffer(raw, dtype=np.float32))
        self._count_vector(entry.entry_id, entry.embedder, 1)
        return len(row)

    def _count_vector(self, entry_id: int, embedder: str, by: int) -> None:
        at = embedders.position(self._embedder_runs, entry_id, embedder)
        if at is not None:
            self._embedder_runs[at] = self._embedder_runs[at].plus(by)

    def reembed(self, entry_id: int, partition: bytes, target: bytes, vector: Vector | None) -> bool:
        """Move an entry from the partition of another embedder to one of the current embedder, with its new vector.

        The entry keeps its id, its uses and its rejections. One that is gone, or has left the partition, isn't moved; a
        vector that lies there without it is deleted.

        Args:
            entry_id: the entry's.
            partition: where its vector lies.
            target: the partition of the same requests under the current embedder.
            vector: unit vector of shape (dimension,); None takes the entry's vector away, so that only its exact key
                finds it.

        Returns:
            Whether the entry has the new vector.
        """
        key = layout.pack_id(entry_id)
        old_vector = self._txn.pop(partition + key, db=self._dbs.vectors)
        if old_vector is None:
            return False
        row = self._txn.get(key, b"", db=self._dbs.entries)
        entry = self._undamaged(key, row) if row else None
        if entry is None or entry.partition != partition:
            self._count_vector(entry_id, "", -1)
            return False
        self._lose_vector(entry, old_vector)
        if vector is None:
            return False
        if is_of_older_store(row):
            self._keep_older_rejections(entry)
        entry = replace(entry, partition=target, embedder=self._embedder_runs[-1].fingerprint)
        new_row = encode_entry(entry)
        self._put(entry.tenant, key, new_row, self._dbs.entries)
        self._entry_bytes += layout.row_bytes(8, len(new_row)) - layout.row_bytes(8, len(row))
        self._entry_bytes += layout.vector_row_bytes(self._put_vector(entry, vector))
        self._rewritten[entry_id] = None
        self.reembedded += 1
        return True

    def _lose_vector(self, entry: Entry, row: bytes) -> None:
        """Follow that an entry's vector row was deleted while the entry stays."""
        self._count_vector(entry.entry_id, entry.embedder, -1)
        self._entry_bytes = max(0, self._entry_bytes - layout.vector_row_bytes(len(row)))
        self._added.pop(entry.entry_id, None)
        self._removed.append((entry.partition, entry.entry_id, entry.exact_key))

    def delete(self, entry_id: int) -> Entry | None:
        """Delete an entry with all rows that refer to it; return it, or None when it is gone or damaged.

        Of a damaged entry only its own row can be deleted. Readers skip rows that refer to it; `repair` deletes them.
        """
        key = layout.pack_id(entry_id)
        row = self._txn.pop(key, db=self._dbs.entries)
        if row is None:
            return None
        self._entries -= 1
        self._txn.delete(key, db=self._dbs.access)
        entry = self._undamaged(key, row)
        if entry is None:
            self._entry_bytes = max(0, self._entry_bytes - layout.row_bytes(8, len(row)))
            return None
        if self._txn.get(entry.exact_key, db=self._dbs.exact) == key:
            self._txn.delete(entry.exact_key, db=self._dbs.exact)
        if is_of_older_store(row):
            self._keep_older_rejections(entry)
        vector = self._txn.pop(entry.partition + key, db=self._dbs.vectors)
        if vector is not None:
            self._count_vector(entry_id, entry.embedder, -1)
        for label in layout.label_keys(entry):
            self._txn.delete(label, db=self._dbs.tags)
        self._txn.delete(layout.entry_expiry_key(entry), db=self._dbs.expiry)
        self._entry_bytes = max(0, self._entry_bytes - layout.entry_bytes(entry, len(row), len(vector or b"")))
        # An entry that was added in this group too was never visible: subscribers only hear that it was removed.
        self._added.pop(entry_id, None)
        self._rewritten.pop(entry_id, None)
        self._removed.append((entry.partition, entry_id, entry.exact_key))
        return entry

    # -- rejections

    def reject(self, tenant: str, exact_key: bytes, rejection: Rejection, ends_s: float) -> None:
        """Remember until `ends_s` (wall seconds) that two requests of a tenant need different answers.

        The entry of `exact_key` isn't served to the rejection's request, nor that one's entry to this request.
        """
        mirrored = Rejection(exact_key, self._vector_of(exact_key))
        for of, other in ((exact_key, rejection), (rejection.exact_key, mirrored)):
            self._keep_rejection(tenant, of, other, ends_s)
            key, old, entry = self._under(of)
            if entry is not None:
                row = encode_entry(replace(entry, rejections=latest((*entry.rejections, other))))
                self._put(entry.tenant, key, row, self._dbs.entries)
                self._entry_bytes += layout.row_bytes(8, len(row)) - layout.row_bytes(8, len(old))
                self._rewritten[entry.entry_id] = None

    def _keep_older_rejections(self, entry: Entry) -> None:
        """Give rows of their own to the rejections of an entry from before they had any."""
        for rejection in entry.rejections:  # When they were reported isn't known: before the entry's end.
            self._keep_rejection(entry.tenant, entry.exact_key, rejection, entry.expires_s + OLDER_TTL_S)

    def _keep_rejection(self, tenant: str, exact_key: bytes, rejection: Rejection, ends_s: float) -> None:
        self._history_bytes += self._rejections.add(tenant, exact_key, rejection, ends_s)

    def _vector_of(self, exact_key: bytes) -> bytes:
        """Return the embedding of a request whose entry is stored, as float16 bytes; empty where there is none."""
        key, _, entry = self._under(exact_key)
        place = b"" if entry is None else entry.partition + key
        return seals.rounded(place, self._txn.get(place, b"", db=self._dbs.vectors)) if place else b""

    def _under(self, exact_key: bytes) -> tuple[bytes, bytes, Entry | None]:
        """Return key, row and entry of an exact key; the entry is None when there is none, or a damaged one."""
        key = self._txn.get(exact_key, b"", db=self._dbs.exact)
        row = self._txn.get(key, b"", db=self._dbs.entries) if key else b""
        return key, row, self._undamaged(key, row) if row else None

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
