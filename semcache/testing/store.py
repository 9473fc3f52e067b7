"""A store in memory that behaves as the real one does: the same answers, limits and errors, no disk, no thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from semcache.errors import NotFoundError, SemcacheError, ShuttingDownError
from semcache.model import (
    Changes,
    Entry,
    LedgerHour,
    LedgerRecord,
    Rejection,
    Selector,
    ServedHit,
    Status,
    Vector,
)
from semcache.ports import Clock
from semcache.settings import StoreSettings
from semcache.store import embedders, eviction
from semcache.store.codec import encode_entry, encode_record, encode_served
from semcache.store.layout import entry_bytes
from semcache.store.ledger import HourName, merged, rolled_up
from semcache.store.transaction import MAX_REJECTIONS


class MemoryStore:
    """An `EntryStore` without a disk. Each write is one commit, made before its first await ends.

    Attributes:
        fail_writes: set to an error (a StoreFullError, say), every awaited write raises it and changes nothing.
        closed: after `close`.
    """

    def __init__(self, clock: Clock, settings: StoreSettings | None = None, *, embedder_fingerprint: str = "") -> None:
        self.fail_writes: SemcacheError | None = None
        self.closed = False
        self._clock = clock
        self._settings = settings or StoreSettings()
        self._entries: dict[int, Entry] = {}
        self._exact: dict[bytes, int] = {}
        self._vectors: dict[bytes, dict[int, Vector]] = {}
        self._embedder_fingerprint = embedder_fingerprint
        self._made_by: dict[int, str] = {}
        self._served: dict[str, ServedHit] = {}
        self._records: list[LedgerRecord] = []
        self._hours: dict[HourName, LedgerHour] = {}
        self._access: dict[int, eviction.Access] = {}
        self._bytes: dict[int, int] = {}
        self._entry_bytes = 0
        self._next_id = 1
        self._listeners: list[Callable[[Changes], None]] = []
        self._added: dict[int, tuple[bytes, int, Vector]] = {}
        self._removed: list[tuple[bytes, int, bytes]] = []
        self._rewritten: dict[int, None] = {}
        self._evictions = 0
        self._expirations = 0
        self._commits = 0
        self._failed_commits = 0

    # -- reading

    def get(self, entry_id: int) -> Entry | None:
        """The entry, unless it is gone or expired."""
        entry = self._entries.get(entry_id)
        return entry if entry is not None and entry.expires_s > self._clock.wall() else None

    def find_exact(self, exact_key: bytes) -> Entry | None:
        """The live entry under an exact key."""
        return self.get(self._exact.get(exact_key, 0))

    def has_vectors(self, partition: bytes) -> bool:
        """Whether any vector lies in the partition."""
        return bool(self._vectors.get(partition))

    def count_vectors(self, partition: bytes) -> int:
        """How many vectors lie in the partition."""
        return len(self._vectors.get(partition, ()))

    def vectors(self, partition: bytes) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """All vectors of a partition: ids (n,) ascending, and vectors (n, dimension)."""
        rows = sorted(self._vectors.get(partition, {}).items())
        if not rows:
            return np.empty(0, dtype=np.int64), np.empty((0, 0), dtype=np.float32)
        return np.array([entry_id for entry_id, _ in rows], dtype=np.int64), np.stack([vector for _, vector in rows])

    def served(self, hit_id: str) -> ServedHit | None:
        """A hit as it was served, while it is remembered."""
        hit = self._served.get(hit_id)
        return hit if hit is not None and hit.at_s + self._settings.served_ttl_s > self._clock.wall() else None

    def entries(self, tenant: str, after: int, limit: int) -> Sequence[Entry]:
        """Up to `limit` live entries of a tenant with an id above `after`, by id."""
        ids = sorted(entry_id for entry_id in self._entries if entry_id > after)
        live = (entry for entry_id in ids if (entry := self.get(entry_id)) is not None and entry.tenant == tenant)
        return [entry for entry, _ in zip(live, range(limit), strict=False)]

    def ledger_hours(self, tenant: str | None, start_s: float, end_s: float) -> Iterator[LedgerHour]:
        """Rollup rows whose hour starts in [start, end), of one tenant or of all, by hour."""
        for name, hour in sorted(self._hours.items()):
            if start_s <= name[0] < end_s and tenant in {None, hour.tenant}:
                yield hour

    def ledger_records(self, tenant: str | None, start_s: float, end_s: float) -> Iterator[LedgerRecord]:
        """Log lines in [start, end), of one tenant or of all, oldest first."""
        for record in sorted(self._records, key=lambda record: (int(record.at_s * 1_000_000), record.request_id)):
            if start_s <= record.at_s < end_s and tenant in {None, record.tenant}:
                yield record

    # -- noting

    def subscribe(self, listener: Callable[[Changes], None]) -> None:
        """Call `listener` after each write that changed entries, before its writer is told."""
        self._listeners.append(listener)

    def record(self, record: LedgerRecord, served: ServedHit | None = None) -> None:
        """Note a request in the log and the rollup; the line of a hit counts as a use of its entry."""
        encode_record(record)
        if record.uses_entry:
            access = self._access.get(record.entry_id, eviction.NO_ACCESS)
            self._access[record.entry_id] = access.plus(eviction.access_of(record))
        if served is not None:
            encode_served(served)
            self._served[served.hit_id] = served
        self._log(record)

    def _log(self, record: LedgerRecord) -> None:
        self._records.append(record)
        for name, hour in rolled_up([record]).items():
            self._hours[name] = merged(self._hours[name], hour) if name in self._hours else hour

    # -- writing

    async def put(self, entry: Entry, vector: Vector | None, record: LedgerRecord | None = None) -> Entry:
        """Store `entry`, replacing the one under its exact key; returns it with its id."""
        encode_entry(entry)
        if record is not None:
            encode_record(record)
        self._begin()
        replaced = self._delete(self._exact.get(entry.exact_key, 0))
        if replaced is not None and replaced.rejections and replaced.text == entry.text:
            entry = replace(entry, rejections=(replaced.rejections + entry.rejections)[-MAX_REJECTIONS:])
        entry = replace(entry, entry_id=self._next_id)
        self._next_id += 1
        self._entries[entry.entry_id] = entry
        self._exact[entry.exact_key] = entry.entry_id
        if vector is not None:
            self._put_vector(entry, vector)
        self._measure(entry)
        if record is not None:
            self._log(record)
        self._evict(keep=entry.entry_id)
        await self._commit()
        return entry

    async def record_durably(self, record: LedgerRecord) -> None:
        """Note a request."""
        encode_record(record)
        self._begin()
        self._log(record)
        await self._commit()

    async def reject(self, hit_id: str, rejection: Rejection, verdict: str, record: LedgerRecord | None = None) -> bool:
        """Remember that the entry behind `hit_id` is wrong for such requests; an exact hit's entry is deleted."""
        self._begin()
        hit = self._remembered(hit_id)
        entry = self._entries.get(hit.entry_id)
        if entry is not None:
            if hit.status is Status.EXACT_HIT or hit.exact_key == entry.exact_key:
                self._delete(entry.entry_id)
            else:
                entry = replace(entry, rejections=(*entry.rejections, rejection)[-MAX_REJECTIONS:])
                self._entries[entry.entry_id] = entry
                self._rewritten[entry.entry_id] = None
                self._measure(entry)
        self._served[hit_id] = hit._replace(verdict=verdict)
        news = hit.verdict != verdict
        if news and record is not None:
            self._log(record)
        await self._commit()
        return news

    async def confirm(self, hit_id: str, verdict: str) -> None:
        """Remember a verdict that needs no action, unless there is one."""
        self._begin()
        hit = self._remembered(hit_id)
        if not hit.verdict:
            self._served[hit_id] = hit._replace(verdict=verdict)
        await self._commit()

    async def invalidate(self, selector: Selector, *, apply: bool) -> int:
        """How many live entries match; with `apply` they are gone when it returns."""
        self._begin()
        named = [entry for entry in self._entries.values() if selector.matches(entry)]
        count = sum(entry.expires_s > self._clock.wall() for entry in named)
        if apply:
            for entry in named:
                self._delete(entry.entry_id)
        await self._commit()
        return count

    async def sweep(self) -> int:
        """Delete what has ended; returns how many entries that were."""
        self._begin()
        now_s = self._clock.wall()
        ended = [entry.entry_id for entry in self._entries.values() if entry.expires_s <= now_s]
        for entry_id in ended:
            self._delete(entry_id)
        self._expirations += len(ended)
        served_ttl_s, log_ttl_s = self._settings.served_ttl_s, self._settings.log_ttl_s
        self._served = {name: hit for name, hit in self._served.items() if hit.at_s + served_ttl_s > now_s}
        self._records = [record for record in self._records if record.at_s >= now_s - log_ttl_s]
        await self._commit()
        return len(ended)

    async def flush(self) -> None:
        """Nothing waits here."""
        self._begin()
        await self._commit()

    @property
    def durable_through_s(self) -> float:
        """Now: nothing waits here."""
        return self._clock.wall()

    def stats(self) -> Mapping[str, int]:
        """Counts and bytes, under the real store's names."""
        return {
            "entries": len(self._entries),
            "inert": self._inert(),
            "bytes": self._entry_bytes,
            "entry_bytes": self._entry_bytes,
            "history_bytes": 0,
            "file_bytes": self._entry_bytes,
            "map_size_bytes": self._settings.map_size_bytes,
            "max_bytes": self._settings.max_bytes,
            "max_entries": self._settings.max_entries,
            "evictions": self._evictions,
            "expirations": self._expirations,
            "pending": 0,
            "damaged": 0,
            "commits": self._commits,
            "failed_commits": self._failed_commits,
            "notes_dropped": 0,
            "history_dropped": 0,
        }

    async def close(self) -> None:
        """Refuse further writes."""
        self.closed = True

    def reopen(self, embedder_fingerprint: str = "") -> None:
        """As after a restart, perhaps under another embedder: what was put is there, and writes are taken again."""
        self.closed = False
        self._embedder_fingerprint = embedder_fingerprint
        embedders.warn_of_inert(self._inert())

    def _inert(self) -> int:
        current = self._embedder_fingerprint
        return sum(name not in {"", current} for name in self._made_by.values()) if current else 0

    # -- within one write

    def _begin(self) -> None:
        if self.closed:
            raise ShuttingDownError("the store is closed.", hint="Another replica answers.")
        if self.fail_writes is not None:
            self._failed_commits += 1
            raise self.fail_writes

    async def _commit(self) -> None:
        self._commits += 1
        changes = Changes(tuple(self._added.values()), tuple(self._removed), tuple(self._rewritten))
        self._added, self._removed, self._rewritten = {}, [], {}
        if changes.added or changes.removed or changes.rewritten:
            for listener in self._listeners:
                listener(changes)
        # The real store always suspends its writers: what must hold while others run is tested here too.
        await asyncio.sleep(0)

    def _remembered(self, hit_id: str) -> ServedHit:
        hit = self.served(hit_id)
        if hit is None:
            raise NotFoundError(
                "no hit with this id is remembered.", hint="Verdicts are taken for as long as store.served_ttl_s says."
            )
        return hit

    def _put_vector(self, entry: Entry, vector: Vector) -> None:
        kept = np.array(vector, dtype=np.float32)
        kept.flags.writeable = False
        self._vectors.setdefault(entry.partition, {})[entry.entry_id] = kept
        self._made_by[entry.entry_id] = self._embedder_fingerprint
        self._added[entry.entry_id] = (entry.partition, entry.entry_id, kept)

    def _measure(self, entry: Entry) -> None:
        vector = self._vectors.get(entry.partition, {}).get(entry.entry_id)
        size = entry_bytes(entry, len(encode_entry(entry)), 0 if vector is None else vector.nbytes)
        self._entry_bytes += size - self._bytes.get(entry.entry_id, 0)
        self._bytes[entry.entry_id] = size

    def _delete(self, entry_id: int) -> Entry | None:
        entry = self._entries.pop(entry_id, None)
        if entry is None:
            return None
        if self._exact.get(entry.exact_key) == entry_id:
            del self._exact[entry.exact_key]
        rows = self._vectors.get(entry.partition, {})
        rows.pop(entry_id, None)
        self._made_by.pop(entry_id, None)
        if not rows:
            self._vectors.pop(entry.partition, None)
        self._access.pop(entry_id, None)
        self._entry_bytes -= self._bytes.pop(entry_id)
        self._added.pop(entry_id, None)
        self._rewritten.pop(entry_id, None)
        self._removed.append((entry.partition, entry_id, entry.exact_key))
        return entry

    def _evict(self, *, keep: int) -> None:
        limit_bytes = eviction.limit_bytes(self._settings.max_bytes, self._settings.map_size_bytes)
        now_s = self._clock.wall()
        standings = (
            eviction.standing_of(entry, self._access.get(entry_id, eviction.NO_ACCESS), self._bytes[entry_id], now_s)
            for entry_id, entry in self._entries.items()
            if entry_id != keep
        )
        if len(self._entries) <= self._settings.max_entries and self._entry_bytes <= limit_bytes:
            return
        for standing in eviction.by_worth(standings, self._settings.eviction):
            if len(self._entries) <= self._settings.max_entries and self._entry_bytes <= limit_bytes:
                return
            self._delete(standing.entry_id)
            self._evictions += 1
