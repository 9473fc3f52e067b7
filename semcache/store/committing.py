"""How one commit group reaches the disk, and what is done when it doesn't.

- No room: entries are refused, and the ledger's lines of the group go into the room that is kept for them.
- Any other failure of the disk or the file: the environment is opened again and the group is written once more.

A group whose commit failed may be on disk all the same, which the number of the last transaction tells: it is never
written twice.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import lmdb
import structlog

from semcache.disk import Environment
from semcache.errors import SemcacheError, StoreError, StoreFullError
from semcache.model import Changes
from semcache.ports import Clock
from semcache.settings import StoreSettings
from semcache.store import eviction, layout
from semcache.store.accesses import Accesses
from semcache.store.commit_group import UNFINISHED, CommitGroup, Note, Write, WriteResult, failed
from semcache.store.damage import Damage
from semcache.store.eviction import Access
from semcache.store.layout import Counters, Databases
from semcache.store.ledger_room import LedgerRoom, full
from semcache.store.transaction import WriteTransaction

_log = structlog.get_logger(__name__)

HISTORY_ROWS_PER_GROUP = 1024
"""Rows of history that one group deletes at most, so that its commit stays short."""
BROKEN_AFTER_S = 10.0
"""Seconds during which every commit must fail before the store is given up: a disk that hangs may come back."""
_LARGEST_EVICTION = 20
"""One group evicts at most a twentieth of the bytes of all entries to make room: deletes copy pages first."""

Room = Callable[[int], int]
"""Takes how many bytes entries want, and returns how many they may take (`LedgerRoom.beyond`)."""
Removed = tuple[bytes, int, bytes]
"""partition, entry id, exact key: as in `Changes.removed`"""


@dataclass(slots=True)
class WriterCounts:
    """Counts since the store was opened."""

    commits: int = 0
    failed_commits: int = 0
    evicted: int = 0
    expired: int = 0
    reembedded: int = 0
    notes_dropped: int = 0
    history_dropped: int = 0


class Committer:
    """Makes every write transaction of a store. The writer's thread uses it.

    Attributes:
        file: begins all transactions.
        settings: those of the store.
        clock: wall time decides what has expired.
        damage: the damaged rows that readers and the writer have met since the store was opened.
        counters: as of the last commit.
        counts: since the store was opened.
        accesses: uses of entries that aren't written yet.
        room: what the ledger has for itself.
        trouble: why the last group failed as a whole; None while groups are written.
        broken: why the store is given up; None while there is hope.
    """

    def __init__(
        self,
        file: Environment[Databases],
        room: LedgerRoom,
        settings: StoreSettings,
        clock: Clock,
        counters: Counters,
        *,
        damage: Damage,
    ) -> None:
        self.file = file
        self.room = room
        self.settings = settings
        self.clock = clock
        self.counters = counters
        self.damage = damage
        self._limit_bytes = eviction.limit_bytes(settings.max_bytes, settings.map_size_bytes)
        self._history_limit_bytes = int(self._limit_bytes * eviction.HISTORY_RATIO)
        self._chance = random.Random(0)  # noqa: S311 - picks samples, guards nothing
        self.accesses = Accesses(clock.monotonic)
        self.counts = WriterCounts()
        self.trouble: SemcacheError | None = None
        self.broken: SemcacheError | None = None
        self._failing_since_s: float | None = None

    def commit(self, group: CommitGroup, *, closing: bool) -> Changes:
        """Write a group and fill its `results`; return the changes to entries. `trouble` says whether it failed."""
        touched = self.accesses.take(all_now=closing)
        refused: list[WriteResult] = []
        failure: SemcacheError | None = None
        changes = Changes()
        for may_repeat in (True, False):
            failure, repeats = None, False
            try:
                changes = self._write(partial(self._fill, group, touched)).changes
                self.counts.commits += 1
            except (lmdb.Error, SemcacheError) as error:
                failure = self.room.translated(error) if isinstance(error, lmdb.Error) else error
                if may_repeat:
                    refused, repeats = self._prepared(group, failure)
            except Exception as error:  # noqa: BLE001 - the thread must outlive any write's failure
                _log.exception("store.group_failed")
                what = f"a write failed ({type(error).__name__}: {error})."
                failure = StoreError(what, hint="The log has the details.")
            if failure is not None:
                self.counts.failed_commits += 1
                _log.error("store.commit_failed", error=str(failure), writes=len(group.writes), notes=len(group.notes))
            if not repeats:
                break
            group.start_again()
        if failure is not None:
            group.fail(failure)
            self.accesses.put_back(touched)
        self._judge(failure)
        if refused or isinstance(failure, StoreFullError):
            # A group without entries adds nothing, and what it rewrote can't be evicted a second time.
            changes = replace(changes, removed=changes.removed + self._make_room())
        group.results += refused
        return changes

    def _prepared(self, group: CommitGroup, failure: SemcacheError) -> tuple[list[WriteResult], bool]:
        """Prepare a group that failed to be written again; return the ends of those that are out, and whether it is."""
        if isinstance(failure, StoreFullError):
            growing = [write for write in group.writes if write.growth_bytes]
            group.writes = [write for write in group.writes if not write.growth_bytes]
            return [failed(write, failure) for write in growing], bool(growing)
        try:
            self.file.reopen()
        except SemcacheError as error:
            _log.error("store.not_reopened", error=str(error))
            return [], False
        return [], True

    def _write(self, fill: Callable[[WriteTransaction, Room], None]) -> WriteTransaction:
        """Let `fill` make changes in one transaction, and return that once it is on disk.

        Raises:
            lmdb.Error: nothing was written.
            StoreError: the store can't be opened again yet.
        """
        transaction: WriteTransaction | None = None
        number = 0
        try:
            with self.file.writing() as (txn, dbs, used_bytes):
                number = txn.id()
                transaction = WriteTransaction(txn, dbs, self.counters, self.accesses.of, self.damage)
                fill(transaction, partial(self.room.beyond, txn, dbs, used_bytes))
                transaction.finish()
                if self.trouble is not None:  # Only a commit that writes tells whether the disk takes writes again.
                    txn.put(layout.META_COUNTERS, transaction.counters.pack(), db=dbs.meta)
        except lmdb.Error:
            if transaction is None or not self.file.is_committed(number):
                raise
        self.counters = transaction.counters
        self.counts.evicted += transaction.evicted
        self.counts.expired += transaction.expired
        self.counts.reembedded += transaction.reembedded
        self.counts.history_dropped += transaction.history_dropped
        return transaction

    def _fill(
        self, group: CommitGroup, touched: Mapping[int, Access], transaction: WriteTransaction, room: Room
    ) -> None:
        """Do all that a group holds within its transaction, then evict and drop what is too much."""
        room_bytes = room(sum(write.growth_bytes for write in group.writes))
        notes = list(group.notes)
        for note in notes:
            if note.served is not None:
                transaction.remember_served(note.served, self.settings.served_ttl_s)
        refused_bytes = 0
        for write in group.writes:
            if write.growth_bytes > max(room_bytes, 0):
                group.results.append(failed(write, full("what is left is kept for the ledger")))
                refused_bytes += write.growth_bytes
                continue
            room_bytes -= write.growth_bytes
            self._apply(transaction, group, write, notes)
        transaction.log((note.line, note.row) for note in notes)
        if touched:
            transaction.access_rows.add(touched)
        if group.writes or room_bytes < 0:
            self._evict(transaction, refused_bytes, refused_bytes - room_bytes)
        transaction.drop_history(self._history_limit_bytes, HISTORY_ROWS_PER_GROUP)

    @staticmethod
    def _apply(transaction: WriteTransaction, group: CommitGroup, write: Write, notes: list[Note]) -> None:
        """Do one write; its line joins `notes` once it has an end."""
        group.begun.append(write)
        try:
            result = write.apply(transaction)
        except SemcacheError as error:
            group.results.append(WriteResult(write.future, None, error))
            return
        if result is UNFINISHED:
            group.unfinished.append(write)
            return
        if write.note is not None:
            notes.append(write.note)
        group.results.append(WriteResult(write.future, result, None))

    def _evict(self, transaction: WriteTransaction, refused_bytes: int, short_bytes: int) -> None:
        """Evict down to the store's limits, and further where room is short.

        For room a store gives up half of its entries at most, unless the ledger's own is nearly used up.

        Args:
            transaction: of the group.
            refused_bytes: what the group's entries would have taken that found no room.
            short_bytes: what they, and the ledger's room, lack; negative where there is enough.
        """
        counters = transaction.counters
        limit_bytes = self._limit_bytes - min(counters.history_bytes, self._history_limit_bytes)
        if short_bytes > 0 and (short_bytes <= counters.entry_bytes // 2 or self.room.is_low):
            largest_bytes = counters.entry_bytes // _LARGEST_EVICTION
            share_bytes = largest_bytes if refused_bytes else min(short_bytes, largest_bytes)
            limit_bytes = min(limit_bytes, counters.entry_bytes - share_bytes - 1)
        self._evict_to(limit_bytes, transaction)

    def _evict_to(self, limit_bytes: int, transaction: WriteTransaction, room: Room | None = None) -> None:
        del room  # Deletes need none.
        transaction.evict(
            limit_bytes=limit_bytes,
            max_entries=self.settings.max_entries,
            policy=self.settings.eviction,
            now_s=self.clock.wall(),
            chance=self._chance,
        )

    def _judge(self, failure: SemcacheError | None) -> None:
        """Note how a group ended; give the store up when the disk has failed every group for long."""
        self.trouble = failure
        if failure is None or isinstance(failure, StoreFullError):
            self._failing_since_s = None
            return
        now_s = self.clock.monotonic()
        if self._failing_since_s is None:
            self._failing_since_s = now_s
        elif now_s - self._failing_since_s >= BROKEN_AFTER_S:
            self.broken = failure

    def _make_room(self) -> tuple[Removed, ...]:
        """After a commit was refused, evict some entries in a transaction of its own; return those that are gone.

        Deletes copy pages before they free any. Where a twentieth of the bytes is too much at once, less may fit.
        """
        entry_bytes, cause = self.counters.entry_bytes, ""
        for share in (1 / _LARGEST_EVICTION, 0.1 / _LARGEST_EVICTION, 0.0):
            limit_bytes = max(0, int(entry_bytes * (1 - share)) - 1)
            try:
                return self._write(partial(self._evict_to, limit_bytes)).changes.removed
            except (lmdb.Error, StoreError) as error:
                cause = str(error)
        _log.warning("store.no_room_made", error=cause)
        return ()
