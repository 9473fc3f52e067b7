"""The one thread that writes: it gathers waiting writes into groups, commits each group synced, answers its callers.

An awaited write waits at most `commit_wait_s` for more writes. Notes (log lines that no caller waits for) are written
with the next group, or alone after `NOTE_WAIT_S`. A failed commit reaches exactly the callers of its group; the notes
of that group are kept for the next.
"""

from __future__ import annotations

import asyncio
import copy
import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lmdb
import structlog

from semcache.errors import OverloadedError, SemcacheError, ShuttingDownError, StoreError, StoreFullError
from semcache.model import Changes, ServedHit
from semcache.ports import Clock
from semcache.settings import StoreSettings
from semcache.store import eviction
from semcache.store.codec import encode_record
from semcache.store.commit_group import UNFINISHED, Apply, CommitGroup, Note, Write, WriteResult
from semcache.store.damage import Damage
from semcache.store.delivery import Delivery
from semcache.store.eviction import Access
from semcache.store.layout import Counters, Databases
from semcache.store.transaction import WriteTransaction

_log = structlog.get_logger(__name__)

NOTE_WAIT_S = 0.25
"""Seconds that a note waits for an awaited write to share its commit."""
RETRY_WAIT_S = 1.0
"""Seconds that notes wait after a failed commit, so that a full disk isn't tried a thousand times a second."""
ACCESS_INTERVAL_S = 30.0
"""Seconds between two writes of access statistics; they share a commit that happens anyway."""
MAX_ACCESS_IN_MEMORY = 10_000
"""Entries whose accesses are counted in memory; with more, they are written before their time."""
HISTORY_ROWS_PER_GROUP = 1024
"""Rows of history that one group deletes at most, so that its commit stays short."""

_FULL_ERRORS = (lmdb.MapFullError, lmdb.DiskError, lmdb.TxnFullError)


@dataclass(slots=True)
class WriterCounts:
    """Counts since the store was opened."""

    commits: int = 0
    failed_commits: int = 0
    evicted: int = 0
    expired: int = 0
    notes_dropped: int = 0
    history_dropped: int = 0


class Writer:
    """Owns every write transaction of an environment, and the thread that makes them."""

    def __init__(
        self,
        env: lmdb.Environment,
        dbs: Databases,
        settings: StoreSettings,
        clock: Clock,
        counters: Counters,
        *,
        damage: Damage,
    ) -> None:
        self._env = env
        self._dbs = dbs
        self._settings = settings
        self._clock = clock
        self._counters = counters
        self._damage = damage
        self._limit_bytes = eviction.limit_bytes(settings.max_bytes, settings.map_size_bytes)
        self._history_limit_bytes = int(self._limit_bytes * eviction.HISTORY_RATIO)
        self._chance = random.Random(0)  # noqa: S311 - picks samples, guards nothing
        self._delivery = Delivery()
        self._changed = threading.Condition()
        self._writes: deque[Write] = deque()
        self._notes: deque[Note] = deque()
        self._urgent = 0
        self._closing = False
        self._busy = False
        self._retrying = False
        self._durable_through_s = clock.wall()
        self._served: dict[str, ServedHit] = {}
        self._touched: dict[int, Access] = {}  # Only the writer's thread uses it.
        self._access_saved_s = clock.monotonic()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.counts = WriterCounts()
        self._thread = threading.Thread(target=self._run, name="semcache-store-writer", daemon=True)
        self._thread.start()

    # -- called on the event loop

    def subscribe(self, listener: Callable[[Changes], None]) -> None:
        """Call `listener` on the event loop after each commit that changed entries, before its writers are told."""
        self._delivery.subscribe(listener)

    async def write(self, apply: Apply, *, note: Note | None = None, urgent: bool = False) -> Any:
        """Do `apply` in the next group; return its result once the group is on disk.

        Args:
            apply: runs on the writer's thread.
            note: a log line of the same commit.
            urgent: start the group without waiting for more writes.

        Raises:
            OverloadedError: too many writes wait.
            ShuttingDownError: the store is closed.
            StoreFullError: the map or the disk is full; nothing was written.
            StoreError: the commit failed for another reason; nothing was written.
        """
        loop = asyncio.get_running_loop()
        write = Write(apply, loop.create_future(), note, urgent)
        with self._changed:
            if self._closing:
                raise ShuttingDownError("the store is closed.", hint="Another replica answers.")
            if len(self._writes) >= self._settings.max_queue:
                raise OverloadedError(
                    f"{self._settings.max_queue} writes wait for the store.",
                    hint="Try again, or raise store.max_queue.",
                )
            self._loop = loop
            self._writes.append(write)
            self._urgent += urgent
            if urgent or len(self._writes) in {1, self._settings.commit_items}:
                self._changed.notify()
        return await write.future

    def note(self, note: Note) -> None:
        """Write a log line with the next group. It is dropped and counted when too many wait, as on a full disk."""
        if self._closing or len(self._notes) >= self._settings.max_queue:
            self.counts.notes_dropped += 1
            return
        if note.served is not None:
            self._served[note.served.hit_id] = note.served
        # Appending takes no lock, which would cost as much as all the rest of this method. No note is lost:
        #   1. The thread takes the lock and finds no note.
        #   2. Here, a note is appended and `len(...) == 1` is seen; `notify` needs the lock and so has to wait.
        #   3. The thread waits on the condition, which frees the lock.
        #   4. `notify` wakes the thread, which finds the note.
        # If the append comes before 1, the thread finds the note at once.
        self._notes.append(note)
        if len(self._notes) == 1:
            with self._changed:
                self._changed.notify()

    def noted_served(self, hit_id: str) -> ServedHit | None:
        """Return a served hit that isn't on disk yet."""
        return self._served.get(hit_id)

    @property
    def counters(self) -> Counters:
        """The counters as of the last commit."""
        return self._counters

    @property
    def pending(self) -> int:
        """How many writes and notes wait."""
        return len(self._writes) + len(self._notes)

    @property
    def durable_through_s(self) -> float:
        """Wall seconds up to which everything noted is on disk."""
        with self._changed:
            idle = not (self._busy or self._writes or self._notes)
            return self._clock.wall() if idle else self._durable_through_s

    async def close(self) -> None:
        """Write everything that waits, then end the thread. Later writes raise ShuttingDownError."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join)
        # The results of the last group are callbacks that the loop has queued by now: this lets them run.
        await asyncio.sleep(0)

    # -- the thread

    def _run(self) -> None:
        while (group := self._gather()) is not None:
            self._encode(group)
            changes = self._commit(group)
            with self._changed:
                self._busy = False
            # Results come last: a caller that was told that its write is on disk finds it in `durable_through_s` too.
            self._delivery.send(changes, group.results, self._loop)

    def _gather(self) -> CommitGroup | None:
        """Wait for the next group and return it; None when the store is closed and nothing waits."""
        with self._changed:
            while not (self._writes or self._notes or self._closing):
                self._changed.wait()
            if not self._writes:
                wait_s = RETRY_WAIT_S if self._retrying else NOTE_WAIT_S
                self._changed.wait_for(lambda: self._writes or self._closing, wait_s)
            if self._writes:
                self._changed.wait_for(
                    lambda: len(self._writes) >= self._settings.commit_items or self._urgent or self._closing,
                    self._settings.commit_wait_s,
                )
            if self._closing and not self._writes and not self._notes and not self._touched:
                return None
            writes = [self._writes.popleft() for _ in range(min(len(self._writes), self._settings.commit_items))]
            self._urgent -= sum(write.urgent for write in writes)
            # Notes are taken after the writes, so that a verdict finds the hit that was noted before it.
            drained_at_s = self._clock.wall()
            notes = [self._notes.popleft() for _ in range(len(self._notes))]
            self._busy = True
            return CommitGroup(writes, notes, drained_at_s, whole=not self._writes)

    def _encode(self, group: CommitGroup) -> None:
        """Encode the lines of a group; drop and count those that no row can hold."""
        notes, group.notes = group.notes, []
        for note in notes:
            if note.row:  # The note was encoded for a group that failed.
                group.notes.append(note)
                continue
            try:
                row = encode_record(note.line)
            except ValueError as error:
                self.counts.notes_dropped += 1
                if note.served is not None:
                    self._served.pop(note.served.hit_id, None)
                _log.error("store.note_unwritable", request_id=note.line.request_id, error=str(error))
                continue
            group.notes.append(note._replace(row=row))
            if note.line.uses_entry:
                entry_id = note.line.entry_id
                self._touched[entry_id] = self._access_of(entry_id).plus(eviction.access_of(note.line))

    def _commit(self, group: CommitGroup) -> Changes:
        """Write a group and fill its `results`; return the changes to entries."""
        touched = self._take_touched()
        failure: SemcacheError | None = None
        changes = Changes()
        try:
            with self._env.begin(write=True) as txn:
                transaction = WriteTransaction(txn, self._dbs, self._counters, self._access_of, self._damage)
                self._fill(transaction, group, touched)
                transaction.finish()
            changes = transaction.changes
            self._succeeded(group, transaction)
        except lmdb.Error as error:
            failure = _translated(error)
        except Exception as error:  # noqa: BLE001 - the thread must outlive any write's failure
            _log.exception("store.group_failed")
            failure = StoreError(f"a write failed ({type(error).__name__}: {error}).", hint="The log has the details.")
        if failure is not None:
            self._failed(group, touched, failure)
            if failure.reason == StoreFullError.default_reason:
                changes = self._make_room()
        return changes

    def _fill(self, transaction: WriteTransaction, group: CommitGroup, touched: dict[int, Access]) -> None:
        """Do all that a group holds within its transaction, then evict and drop what is too much."""
        notes = list(group.notes)
        for note in notes:
            if note.served is not None:
                transaction.remember_served(note.served, self._settings.served_ttl_s)
        for write in group.writes:
            try:
                result = write.apply(transaction)
            except SemcacheError as error:
                group.results.append(WriteResult(write.future, None, error))
                continue
            if result is UNFINISHED:
                group.unfinished.append(write)
                continue
            if write.note is not None:
                notes.append(write.note)
            group.results.append(WriteResult(write.future, result, None))
        transaction.log((note.line, note.row) for note in notes)
        if touched:
            transaction.save_access(touched)
        if group.writes:
            transaction.evict(
                limit_bytes=self._limit_bytes - min(transaction.counters.history_bytes, self._history_limit_bytes),
                max_entries=self._settings.max_entries,
                policy=self._settings.eviction,
                now_s=self._clock.wall(),
                chance=self._chance,
            )
        transaction.drop_history(self._history_limit_bytes, HISTORY_ROWS_PER_GROUP)

    def _succeeded(self, group: CommitGroup, transaction: WriteTransaction) -> None:
        self._counters = transaction.counters
        self.counts.commits += 1
        self.counts.evicted += transaction.evicted
        self.counts.expired += transaction.expired
        self.counts.history_dropped += transaction.history_dropped
        for note in group.notes:
            if note.served is not None and self._served.get(note.served.hit_id) is note.served:
                self._served.pop(note.served.hit_id, None)
        with self._changed:
            self._retrying = False
            if group.whole:
                self._durable_through_s = group.drained_at_s
            self._requeue(group.unfinished)

    def _failed(self, group: CommitGroup, touched: dict[int, Access], failure: SemcacheError) -> None:
        self.counts.failed_commits += 1
        _log.error("store.commit_failed", error=str(failure), writes=len(group.writes), notes=len(group.notes))
        group.results = [WriteResult(write.future, None, copy.copy(failure)) for write in group.writes]
        for entry_id, access in touched.items():
            self._touched[entry_id] = access.plus(self._access_of(entry_id))
        with self._changed:
            self._retrying = True
            if self._closing and not group.writes:
                # The store is closing, no caller waits, and the disk refuses: the notes can't be kept.
                self.counts.notes_dropped += len(group.notes)
                self._touched.clear()
                return
            self._notes.extendleft(reversed(group.notes))
            while len(self._notes) > self._settings.max_queue:
                dropped = self._notes.popleft()
                self.counts.notes_dropped += 1
                if dropped.served is not None:
                    self._served.pop(dropped.served.hit_id, None)

    def _requeue(self, writes: list[Write]) -> None:
        """Put unfinished writes first in the queue; they go on in the next group without waiting for more writes."""
        for write in writes:
            write.urgent = True
        self._urgent += len(writes)
        self._writes.extendleft(reversed(writes))

    def _make_room(self) -> Changes:
        """After a commit was refused, evict some entries in a transaction of its own; return its changes.

        Deletes copy pages before they free any. Where a twentieth of the bytes is too much at once, less may fit.
        """
        before = self._counters
        for share in (0.05, 0.005, 0.0):
            try:
                with self._env.begin(write=True) as txn:
                    transaction = WriteTransaction(txn, self._dbs, before, self._access_of, self._damage)
                    transaction.evict(
                        limit_bytes=max(0, int(before.entry_bytes * (1 - share)) - 1),
                        max_entries=self._settings.max_entries,
                        policy=self._settings.eviction,
                        now_s=self._clock.wall(),
                        chance=self._chance,
                    )
                    transaction.finish()
            except lmdb.Error as error:
                _log.warning("store.no_room_made", error=str(error))
                continue
            self._counters = transaction.counters
            self.counts.evicted += transaction.evicted
            return transaction.changes
        return Changes()

    def _take_touched(self) -> dict[int, Access]:
        now_s = self._clock.monotonic()
        due = (
            self._closing
            or now_s - self._access_saved_s >= ACCESS_INTERVAL_S
            or len(self._touched) >= MAX_ACCESS_IN_MEMORY
        )
        if not due:
            return {}
        self._access_saved_s = now_s
        touched, self._touched = self._touched, {}
        return touched

    def _access_of(self, entry_id: int) -> Access:
        return self._touched.get(entry_id, eviction.NO_ACCESS)


def _translated(error: lmdb.Error) -> SemcacheError:
    if isinstance(error, _FULL_ERRORS):
        what = "the disk refused the write" if isinstance(error, lmdb.DiskError) else "its map is full"
        return StoreFullError(
            f"the store can't take more: {what} ({error}).",
            hint="Free disk space, or lower store.max_bytes below the disk's and store.map_size_bytes.",
        )
    return StoreError(
        f"the store's commit failed ({error}).",
        hint="Restart the server; `semcache check` says what is wrong with the store.",
    )
