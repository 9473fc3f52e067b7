"""The one thread that writes: it gathers what waits into groups, commits each group synced, and tells its waiters.

An awaited write waits at most `commit_wait_s` for company; what was only noted (log lines of hits) rides along with the
next group, or goes by itself after `NOTE_WAIT_S`. A failed commit reaches exactly the waiters of its group, and the
notes of that group are kept for the next.
"""

from __future__ import annotations

import asyncio
import copy
import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import lmdb
import structlog

from semcache.errors import OverloadedError, SemcacheError, ShuttingDownError, StoreError, StoreFullError
from semcache.model import Changes, LedgerRecord, ServedHit
from semcache.ports import Clock
from semcache.settings import StoreSettings
from semcache.store import eviction
from semcache.store.codec import encode_record
from semcache.store.eviction import Access
from semcache.store.layout import Counters, Databases
from semcache.store.transaction import WriteTransaction

_log = structlog.get_logger(__name__)

NOTE_WAIT_S = 0.25
"""How long a note waits for an awaited write to ride along with."""
RETRY_WAIT_S = 1.0
"""How long notes wait after a failed commit: a full disk isn't asked a thousand times a second."""
ACCESS_INTERVAL_S = 30.0
"""How often access statistics are written, with a commit that happens anyway."""
MAX_ACCESS_IN_MEMORY = 10_000
HISTORY_ROWS_PER_GROUP = 1024

_FULL_ERRORS = (lmdb.MapFullError, lmdb.DiskError, lmdb.TxnFullError)


class _Unfinished:
    """What `apply` returns when it has more to do than one group should hold."""


UNFINISHED: Final = _Unfinished()

Apply = Callable[[WriteTransaction], Any]
"""A write's work within a group's transaction. Returns its result, or UNFINISHED to be called again in the next group.
A SemcacheError that it raises before it has changed anything is its waiter's alone."""


class Note(NamedTuple):
    """A log line with its row, and the hit that was served with it.

    Who waits for the line brings its row, so that they hear what is wrong with it. The thread makes the others, many at
    once: on the event loop, between two requests, each would cost three times as much.
    """

    record: LedgerRecord
    served: ServedHit | None = None
    row: bytes = b""


@dataclass(eq=False, slots=True)
class Write:
    """An awaited write."""

    apply: Apply
    future: asyncio.Future[Any]
    note: Note | None = None
    urgent: bool = False


@dataclass(slots=True)
class _Group:
    writes: list[Write]
    notes: list[Note]
    drained_at_s: float
    """Wall seconds; everything noted before is in this group or in an earlier one, when `whole`."""
    whole: bool
    results: list[tuple[asyncio.Future[Any], Any, SemcacheError | None]] = field(default_factory=list)
    unfinished: list[Write] = field(default_factory=list)


@dataclass(slots=True)
class WriterCounts:
    """What the writer has done since the store was opened."""

    commits: int = 0
    failed_commits: int = 0
    evicted: int = 0
    expired: int = 0
    notes_dropped: int = 0
    history_dropped: int = 0


class Writer:
    """Owns every write transaction of an environment."""

    def __init__(
        self, env: lmdb.Environment, dbs: Databases, settings: StoreSettings, clock: Clock, counters: Counters
    ) -> None:
        self._env = env
        self._dbs = dbs
        self._settings = settings
        self._clock = clock
        self._counters = counters
        self._limit_bytes = eviction.limit_bytes(settings.max_bytes, settings.map_size_bytes)
        self._history_limit_bytes = int(self._limit_bytes * eviction.HISTORY_RATIO)
        self._chance = random.Random(0)  # noqa: S311 - picks samples, guards nothing
        self._listeners: list[Callable[[Changes], None]] = []
        self._changed = threading.Condition()
        self._writes: deque[Write] = deque()
        self._notes: deque[Note] = deque()
        self._urgent = 0
        self._closing = False
        self._busy = False
        self._retrying = False
        self._durable_through_s = clock.wall()
        self._served: dict[str, ServedHit] = {}
        self._touched: dict[int, Access] = {}  # the thread's own
        self._access_saved_s = clock.monotonic()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.counts = WriterCounts()
        self._thread = threading.Thread(target=self._run, name="semcache-store-writer", daemon=True)
        self._thread.start()

    # -- called on the event loop

    def subscribe(self, listener: Callable[[Changes], None]) -> None:
        """Call `listener` on the event loop after each commit that changed entries, before its waiters are told."""
        self._listeners.append(listener)

    async def write(self, apply: Apply, *, note: Note | None = None, urgent: bool = False) -> Any:
        """Do `apply` in the next group and return its result once that is on disk.

        Args:
            apply: runs on the writer's thread.
            note: a log line of the same commit.
            urgent: don't wait for company.

        Raises:
            OverloadedError: too many writes wait.
            ShuttingDownError: the store is closed.
            StoreFullError: the map or the disk is full; nothing of it was written.
            StoreError: the commit failed otherwise; nothing of it was written.
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
        """Write a log line with the next group. When too many wait (a disk full for long) it is dropped and counted."""
        if self._closing or len(self._notes) >= self._settings.max_queue:
            self.counts.notes_dropped += 1
            return
        if note.served is not None:
            self._served[note.served.hit_id] = note.served
        # Without the lock, which would cost as much as the rest: the thread takes notes one by one, and looks for the
        # first while it holds the lock, so that it either sees this one or is waiting when it is told.
        self._notes.append(note)
        if len(self._notes) == 1:
            with self._changed:
                self._changed.notify()

    def noted_served(self, hit_id: str) -> ServedHit | None:
        """A served hit that isn't on disk yet."""
        return self._served.get(hit_id)

    @property
    def counters(self) -> Counters:
        """As of the last commit."""
        return self._counters

    @property
    def pending(self) -> int:
        """Writes and notes that wait."""
        return len(self._writes) + len(self._notes)

    @property
    def durable_through_s(self) -> float:
        """Wall seconds up to which every note is on disk."""
        with self._changed:
            idle = not (self._busy or self._writes or self._notes)
            return self._clock.wall() if idle else self._durable_through_s

    async def close(self) -> None:
        """Write all that waits, then end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join)
        # Its last group's waiters are told by callbacks that are queued by now: let them run.
        await asyncio.sleep(0)

    # -- the thread

    def _run(self) -> None:
        while (group := self._gather()) is not None:
            self._encode(group)
            changes = self._commit(group)
            with self._changed:
                self._busy = False
            self._deliver(group, changes)  # Last: who is told that it is on disk finds that the store says so, too.

    def _gather(self) -> _Group | None:
        """The next group, as soon as it is due; None when the store is closed and nothing waits."""
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
            # Notes come before the writes that were made after them: a verdict finds the hit that it is about.
            drained_at_s = self._clock.wall()
            notes = [self._notes.popleft() for _ in range(len(self._notes))]
            self._busy = True
            return _Group(writes, notes, drained_at_s, whole=not self._writes)

    def _encode(self, group: _Group) -> None:
        notes, group.notes = group.notes, []
        for note in notes:
            if note.row:  # of a group that failed
                group.notes.append(note)
                continue
            record = note.record
            try:
                row = encode_record(record)
            except ValueError as error:
                self.counts.notes_dropped += 1
                if note.served is not None:
                    self._served.pop(note.served.hit_id, None)
                _log.error("store.note_unwritable", request_id=record.request_id, error=str(error))
                continue
            group.notes.append(Note(record, note.served, row))
            if record.uses_entry:
                self._touched[record.entry_id] = self._access_of(record.entry_id).plus(eviction.access_of(record))

    def _commit(self, group: _Group) -> Changes:
        """Write a group; what its waiters are to be told is in it afterwards, what changed is returned."""
        touched = self._take_touched()
        failure: SemcacheError | None = None
        changes = Changes()
        try:
            with self._env.begin(write=True) as txn:
                transaction = WriteTransaction(txn, self._dbs, self._counters, self._access_of)
                self._fill(transaction, group, touched)
                transaction.finish()
            changes = transaction.changes
            self._succeeded(group, transaction)
        except lmdb.Error as error:
            failure = _translated(error)
        except Exception as error:  # noqa: BLE001 - the thread outlives whatever one group holds
            _log.exception("store.group_failed")
            failure = StoreError(f"a write failed ({type(error).__name__}: {error}).", hint="The log has the details.")
        if failure is not None:
            self._failed(group, touched, failure)
            if failure.reason == StoreFullError.default_reason:
                changes = self._make_room()
        return changes

    def _fill(self, transaction: WriteTransaction, group: _Group, touched: dict[int, Access]) -> None:
        notes = list(group.notes)
        for note in notes:
            if note.served is not None:
                transaction.remember_served(note.served, self._settings.served_ttl_s)
        for write in group.writes:
            try:
                result = write.apply(transaction)
            except SemcacheError as error:
                group.results.append((write.future, None, error))
                continue
            if result is UNFINISHED:
                group.unfinished.append(write)
                continue
            if write.note is not None:
                notes.append(write.note)
            group.results.append((write.future, result, None))
        transaction.log((note.record, note.row) for note in notes)
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

    def _succeeded(self, group: _Group, transaction: WriteTransaction) -> None:
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

    def _failed(self, group: _Group, touched: dict[int, Access], failure: SemcacheError) -> None:
        self.counts.failed_commits += 1
        _log.error("store.commit_failed", error=str(failure), writes=len(group.writes), notes=len(group.notes))
        group.results = [(write.future, None, copy.copy(failure)) for write in group.writes]
        for entry_id, access in touched.items():
            self._touched[entry_id] = access.plus(self._access_of(entry_id))
        with self._changed:
            self._retrying = True
            if self._closing and not group.writes:
                # Nobody waits any more and the disk refuses: what is left can't be kept.
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
        """Long work goes on in the next group, without waiting for company."""
        for write in writes:
            write.urgent = True
        self._urgent += len(writes)
        self._writes.extendleft(reversed(writes))

    def _make_room(self) -> Changes:
        """After a refusal: a small transaction that only deletes, so that the next group may fit.

        Deletes copy pages before they free any: when a twentieth is too much at once, less may fit.
        """
        before = self._counters
        for share in (0.05, 0.005, 0.0):
            try:
                with self._env.begin(write=True) as txn:
                    transaction = WriteTransaction(txn, self._dbs, before, self._access_of)
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

    def _deliver(self, group: _Group, changes: Changes) -> None:
        """One callback per group and loop: the listeners, then the waiters."""
        loops = {future.get_loop(): None for future, _, _ in group.results}
        if changes != Changes() and not loops and self._loop is not None:
            loops = {self._loop: None}
        for position, loop in enumerate(loops):
            results = [result for result in group.results if result[0].get_loop() is loop]
            try:
                loop.call_soon_threadsafe(self._tell, changes if position == 0 else Changes(), results)
            except RuntimeError:
                _log.warning("store.waiters_gone", waiters=len(results))  # the loop was closed under them

    def _tell(self, changes: Changes, results: list[tuple[asyncio.Future[Any], Any, SemcacheError | None]]) -> None:
        if changes.added or changes.removed or changes.rewritten:
            for listener in self._listeners:
                try:
                    listener(changes)
                except Exception:  # noqa: BLE001 - one listener's failure is not the waiters'
                    _log.exception("store.listener_failed")
        for future, result, error in results:
            if future.done():
                continue  # its caller left
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)


def _translated(error: lmdb.Error) -> SemcacheError:
    if isinstance(error, _FULL_ERRORS):
        what = "the disk refused the write" if isinstance(error, lmdb.DiskError) else "its map is full"
        return StoreFullError(
            f"the store can't take more: {what} ({error}).",
            hint="Free disk space, or lower store.max_bytes below the disk's and store.map_size_bytes.",
        )
    return StoreError(
        f"the store's commit failed ({error}).", hint="Restart the server; `semcache check` audits the store."
    )
