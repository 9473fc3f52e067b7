"""The durable truth in LMDB: short synchronous reads here, every write through the one writer."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Self, TypeVar

import lmdb
import numpy as np
import structlog
from numpy.typing import NDArray

from semcache.errors import NotFoundError, StoreError, StoreUnusableError
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
    format_entry_id,
)
from semcache.ports import Clock
from semcache.settings import StoreSettings
from semcache.store import embedders, layout, opening
from semcache.store.codec import decode_entry, decode_hour, decode_record, decode_served, encode_entry, encode_record
from semcache.store.invalidation import Invalidation
from semcache.store.layout import Counters, Databases
from semcache.store.opening import OwnerLock
from semcache.store.scanning import rows_between
from semcache.store.transaction import WriteTransaction, labelled_ids
from semcache.store.writer import UNFINISHED, Note, Writer

_log = structlog.get_logger(__name__)

_Row = TypeVar("_Row")

SWEEP_ROWS = 256
"""Of each kind in one group, so that a large sweep doesn't hold up a put."""


class LmdbStore:
    """An `EntryStore` on disk; see there for what each method promises. Open it with `open`, close it with `close`.

    Reads may be made from any thread; writes and `note`s from the event loop.
    """

    def __init__(
        self,
        *,
        env: lmdb.Environment,
        dbs: Databases,
        lock: OwnerLock,
        settings: StoreSettings,
        clock: Clock,
        counters: Counters,
    ) -> None:
        """Use `open`."""
        self._env = env
        self._dbs = dbs
        self._lock = lock
        self._settings = settings
        self._clock = clock
        self._writer = Writer(env, dbs, settings, clock, counters)
        self._damaged = 0
        self._closed = False
        self._readers = 0
        self._readers_changed = threading.Condition()

    @classmethod
    def open(
        cls,
        settings: StoreSettings,
        clock: Clock,
        *,
        secret_key_ids: Sequence[str],
        embedder_fingerprint: str = "",
    ) -> Self:
        """Open the store at `settings.path`, making it if it isn't there. Takes milliseconds, however much it holds.

        Args:
            settings: where, how large, how often.
            clock: wall time decides what has expired.
            secret_key_ids: ids of the partition secrets, the current one first, then those kept for reading.
            embedder_fingerprint: recorded, so that vectors of another model can be told of: they are logged here, and
                `stats` counts them.

        Raises:
            StoreUnusableError: another process has it, a newer semcache or another secret wrote it, the disk refuses.
        """
        opening.make_folder(settings.path)
        lock = opening.lock_folder(settings.path)
        try:
            env, dbs = opening.open_environment(settings.path, settings.map_size_bytes, readonly=False)
            try:
                env.reader_check()
                counters = opening.settle_meta(env, dbs, settings.path, secret_key_ids, embedder_fingerprint)
            except BaseException:
                env.close()
                raise
        except BaseException:
            lock.release()
            raise
        embedders.warn_of_inert(embedders.inert(counters.embedder_runs))
        return cls(env=env, dbs=dbs, lock=lock, settings=settings, clock=clock, counters=counters)

    # -- reading

    def get(self, entry_id: int) -> Entry | None:
        """The entry, unless it is gone, expired or damaged."""
        if not 0 < entry_id < 1 << 64:
            return None
        with self._env.begin() as txn:
            row = txn.get(layout.pack_id(entry_id), db=self._dbs.entries)
        return None if row is None else self._live(entry_id, row)

    def find_exact(self, exact_key: bytes) -> Entry | None:
        """The live entry under an exact key (32 bytes)."""
        with self._env.begin() as txn:
            key = txn.get(exact_key, db=self._dbs.exact)
            row = None if key is None else txn.get(key, db=self._dbs.entries)
        if key is None or row is None:
            return None
        entry = self._live(layout.unpack_id(key), row)
        return entry if entry is not None and entry.exact_key == exact_key else None

    def _live(self, entry_id: int, row: bytes) -> Entry | None:
        try:
            entry = decode_entry(entry_id, row)
        except StoreUnusableError:
            raise
        except StoreError as error:
            self._damaged += 1
            _log.error("store.entry_damaged", entry_id=format_entry_id(entry_id), hint=error.hint)
            return None
        return entry if entry.expires_s > self._clock.wall() else None

    def has_vectors(self, partition: bytes) -> bool:
        """Whether any vector lies in the partition."""
        with self._env.begin() as txn, txn.cursor(db=self._dbs.vectors) as cursor:
            return cursor.set_range(partition) and cursor.key().startswith(partition)

    def count_vectors(self, partition: bytes) -> int:
        """How many vectors lie in the partition."""
        with self._env.begin(buffers=True) as txn, txn.cursor(db=self._dbs.vectors) as cursor:
            count = 0
            found = cursor.set_range(partition)
            while found and cursor.key()[: len(partition)] == partition:
                count += 1
                found = cursor.next()
            return count

    def vectors(self, partition: bytes) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """All vectors of a partition, in one pass: ids (n,) ascending, and vectors (n, dimension)."""
        with self._readers_changed:
            if self._closed:
                raise StoreError("the store is closed.")
            self._readers += 1
        try:
            return self._read_vectors(partition)
        finally:
            with self._readers_changed:
                self._readers -= 1
                self._readers_changed.notify_all()

    def _read_vectors(self, partition: bytes) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        # Straight from the map into place: a list of 100,000 byte strings would leave the process as large for good.
        with self._env.begin(buffers=True) as txn, txn.cursor(db=self._dbs.vectors) as cursor:
            lengths: Counter[int] = Counter()
            found = cursor.set_range(partition)
            while found and cursor.key()[: len(partition)] == partition:
                lengths[len(cursor.value())] += 1
                found = cursor.next()
            # One model's vectors are equally long: what isn't as long as most is damaged.
            usual, count = max(
                ((length, n) for length, n in lengths.items() if length and length % 4 == 0),
                key=lambda item: item[1],
                default=(0, 0),
            )
            self._note_damaged(lengths.total() - count)
            ids = np.empty(count, dtype=np.int64)
            vectors = np.empty((count, usual // 4), dtype=np.float32)
            row = 0
            found = count > 0 and cursor.set_range(partition)
            while row < count and found:
                value = cursor.value()
                if len(value) == usual:
                    ids[row] = layout.unpack_id(bytes(cursor.key()[-8:]))
                    vectors[row] = np.frombuffer(value, dtype=np.float32)
                    row += 1
                found = cursor.next()
        return ids, vectors

    def _note_damaged(self, count: int) -> None:
        if count:
            self._damaged += count
            _log.error("store.vectors_damaged", count=count, hint="`semcache check --repair` removes them.")

    def served(self, hit_id: str) -> ServedHit | None:
        """A hit as it was served, while it is remembered."""
        hit = self._writer.noted_served(hit_id)
        if hit is None:
            key = layout.served_key(hit_id)
            if key is None:
                return None
            with self._env.begin() as txn:
                row = txn.get(key, db=self._dbs.served)
            hit = None if row is None else self._decoded(decode_served, row)
        return hit if hit is not None and self._is_remembered(hit) else None

    def _is_remembered(self, hit: ServedHit) -> bool:
        return hit.at_s + self._settings.served_ttl_s > self._clock.wall()

    def _decoded(self, decode: Callable[[bytes], _Row], row: bytes) -> _Row | None:
        try:
            return decode(row)
        except StoreUnusableError:
            raise
        except StoreError as error:
            self._damaged += 1
            _log.error("store.row_damaged", error=str(error))
            return None

    def entries(self, tenant: str, after: int, limit: int) -> Sequence[Entry]:
        """Up to `limit` live entries of a tenant with an id above `after`, by id."""
        prefix = layout.label_key(layout.LABEL_TENANT, tenant, "")
        found: list[Entry] = []
        with self._env.begin() as txn:
            while len(found) < limit:
                ids = labelled_ids(txn, self._dbs, prefix, after, limit - len(found))
                if not ids:
                    break
                for entry_id in ids:
                    row = txn.get(layout.pack_id(entry_id), db=self._dbs.entries)
                    entry = None if row is None else self._live(entry_id, row)
                    if entry is not None and entry.tenant == tenant:
                        found.append(entry)
                after = ids[-1]
        return found

    def ledger_hours(self, tenant: str | None, start_s: float, end_s: float) -> Iterator[LedgerHour]:
        """Rollup rows on disk whose hour starts in [start, end), of one tenant or of all, by hour."""
        first, end = layout.hours_from(start_s), layout.hours_from(end_s)
        for _, row in rows_between(self._env, self._dbs.hours, first, end):
            hour = self._decoded(decode_hour, row)
            if hour is not None and tenant in {None, hour.tenant}:
                yield hour

    def ledger_records(self, tenant: str | None, start_s: float, end_s: float) -> Iterator[LedgerRecord]:
        """Log lines on disk in [start, end), of one tenant or of all, oldest first."""
        first, end = layout.pack_time(start_s), layout.pack_time(end_s) + b"\xff"
        for _, row in rows_between(self._env, self._dbs.log, first, end):
            record = self._decoded(decode_record, row)
            if record is not None and tenant in {None, record.tenant} and start_s <= record.at_s < end_s:
                yield record

    # -- noting

    def subscribe(self, listener: Callable[[Changes], None]) -> None:
        """Call `listener` on the event loop after each commit that changed entries, before its writers are told."""
        self._writer.subscribe(listener)

    def record(self, record: LedgerRecord, served: ServedHit | None = None) -> None:
        """Note a request in the log and the rollup; on disk with the next group, within about 250 ms.

        The line of a hit counts as a use of its entry, for eviction.
        """
        self._writer.note(Note(record, served))

    # -- writing

    async def put(self, entry: Entry, vector: Vector | None, record: LedgerRecord | None = None) -> Entry:
        """Store `entry`, replacing the one under its exact key, with `record` in one commit; returns it with its id.

        Raises:
            StoreFullError: nothing was stored; `record` neither.
            OverloadedError: too many writes wait.
            ValueError: a key that isn't 32 bytes long, or a number out of range.
        """
        row = encode_entry(entry)
        note = None if record is None else Note(record, row=encode_record(record))
        stored: Entry = await self._writer.write(lambda group: group.put(entry, row, vector), note=note)
        return stored

    async def record_durably(self, record: LedgerRecord) -> None:
        """Note a request, returning when it is on disk.

        Raises:
            StoreFullError: it isn't noted.
        """
        await self._writer.write(_nothing, note=Note(record, row=encode_record(record)))

    async def reject(self, hit_id: str, rejection: Rejection, verdict: str, record: LedgerRecord | None = None) -> bool:
        """Remember that the entry behind `hit_id` is wrong for such requests; an exact hit's entry is deleted.

        True, with `record` in the same commit, unless the same verdict was known already.

        Raises:
            NotFoundError: nobody remembers such a hit.
        """
        row = None if record is None else encode_record(record)

        def apply(group: WriteTransaction) -> bool:
            hit = self._remembered(group, hit_id)
            entry = group.entry(hit.entry_id)
            if entry is not None:
                # Wrong for the very request that it was made for: nobody should get it.
                if hit.status is Status.EXACT_HIT or hit.exact_key == entry.exact_key:
                    group.delete(hit.entry_id)
                else:
                    group.add_rejection(hit.entry_id, rejection)
            group.set_verdict(hit, verdict)
            news = hit.verdict != verdict
            if news and record is not None and row is not None:
                group.log([(record, row)])
            return news

        news: bool = await self._writer.write(apply)
        return news

    async def confirm(self, hit_id: str, verdict: str) -> None:
        """Remember a verdict that needs no action, unless there is one: what a rejection did and cost isn't undone.

        Raises:
            NotFoundError: nobody remembers such a hit.
        """

        def apply(group: WriteTransaction) -> None:
            hit = self._remembered(group, hit_id)
            if not hit.verdict:
                group.set_verdict(hit, verdict)

        await self._writer.write(apply)

    def _remembered(self, group: WriteTransaction, hit_id: str) -> ServedHit:
        hit = group.served(hit_id)
        if hit is None or not self._is_remembered(hit):
            raise NotFoundError(
                "no hit with this id is remembered.", hint="Verdicts are taken for as long as store.served_ttl_s says."
            )
        return hit

    async def invalidate(self, selector: Selector, *, apply: bool) -> int:
        """How many live entries match; with `apply` they are gone when it returns. In slices, so that puts go on."""
        work = Invalidation(selector, self._clock.wall(), apply=apply)
        count: int = await self._writer.write(work.step, urgent=True)
        return count

    async def sweep(self) -> int:
        """Delete what has ended (entries, served hits, old log lines), in slices; returns how many entries."""
        self._env.reader_check()  # frees what readers that died without a word hold back
        before = self._writer.counts.expired
        now_s = self._clock.wall()

        def apply(group: WriteTransaction) -> object:
            handled = group.expire(now_s, SWEEP_ROWS)
            trimmed = group.trim_log(now_s - self._settings.log_ttl_s, SWEEP_ROWS)
            return UNFINISHED if handled >= SWEEP_ROWS or trimmed >= SWEEP_ROWS else None

        await self._writer.write(apply, urgent=True)
        return self._writer.counts.expired - before

    async def flush(self) -> None:
        """Everything that was noted is on disk when it returns."""
        await self._writer.write(_nothing, urgent=True)

    # -- about itself

    @property
    def durable_through_s(self) -> float:
        """Wall time up to which the ledger is on disk."""
        return self._writer.durable_through_s

    @property
    def embedder_fingerprints(self) -> frozenset[str]:
        """The embedders whose vectors the store holds, as far as they are known."""
        runs = self._writer.counters.embedder_runs
        return frozenset(run.fingerprint for run in runs if run.vectors and run.fingerprint)

    def stats(self) -> Mapping[str, int]:
        """Counts and bytes; costs microseconds.

        `bytes` is what entries and history take by the store's own account, `file_bytes` what the file has ever needed;
        `inert` are the entries among `entries` whose vectors another embedder made.
        """
        info = self._env.info()
        counters, counts = self._writer.counters, self._writer.counts
        return {
            "entries": counters.entries,
            "inert": embedders.inert(counters.embedder_runs),
            "bytes": counters.entry_bytes + counters.history_bytes,
            "entry_bytes": counters.entry_bytes,
            "history_bytes": counters.history_bytes,
            "file_bytes": (info["last_pgno"] + 1) * self._env.stat()["psize"],
            "map_size_bytes": info["map_size"],
            "max_bytes": self._settings.max_bytes,
            "max_entries": self._settings.max_entries,
            "evictions": counts.evicted,
            "expirations": counts.expired,
            "pending": self._writer.pending,
            "damaged": self._damaged,
            "commits": counts.commits,
            "failed_commits": counts.failed_commits,
            "notes_dropped": counts.notes_dropped,
            "history_dropped": counts.history_dropped,
        }

    async def close(self) -> None:
        """Write what waits and close; a second time does nothing."""
        if self._closed:
            return
        await self._writer.close()
        with self._readers_changed:
            self._closed = True
            self._readers_changed.wait_for(lambda: self._readers == 0)
        self._env.close()
        self._lock.release()


def _nothing(group: WriteTransaction) -> None:
    """The write of a log line is its note."""
    del group
