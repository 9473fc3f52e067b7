"""The one thread that writes: it gathers waiting writes into groups, commits each group synced, answers its callers.

An awaited write waits at most `commit_wait_s` for more writes. Notes (log lines that no caller waits for) are written
with the next group, or alone after `NOTE_WAIT_S`. A failed commit reaches exactly the callers of its group; the notes
of that group are kept for the next.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import structlog

from semcache.errors import OverloadedError, SemcacheError, ShuttingDownError
from semcache.model import Changes, ServedHit
from semcache.ports import Clock
from semcache.settings import StoreSettings
from semcache.store.codec import encode_record
from semcache.store.commit_group import Apply, CommitGroup, Note, Write
from semcache.store.committing import Committer, WriterCounts
from semcache.store.delivery import Delivery
from semcache.store.layout import Counters

_log = structlog.get_logger(__name__)

NOTE_WAIT_S = 0.25
"""Seconds that a note waits for an awaited write to share its commit."""
RETRY_WAIT_S = 1.0
"""Seconds that notes wait after a failed commit, so that a full disk isn't tried a thousand times a second."""


class Writer:
    """Owns the thread that writes, and what waits for it.

    Attributes:
        broken: gets the reason when the disk has failed for so long that the store is given up.
    """

    def __init__(self, committer: Committer, settings: StoreSettings, clock: Clock) -> None:
        self._committer = committer
        self._settings = settings
        self._clock = clock
        self._delivery = Delivery()
        self._changed = threading.Condition()
        self._writes: deque[Write] = deque()
        self._notes: deque[Note] = deque()
        self._urgent = 0
        self._closing = False
        self._busy = False
        self._durable_through_s = clock.wall()
        self._served: dict[str, ServedHit] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self.broken: Future[SemcacheError] = Future()
        self._thread = threading.Thread(target=self._run, name="semcache-store-writer", daemon=True)
        self._thread.start()

    # -- called on the event loop

    def subscribe(self, listener: Callable[[Changes], None]) -> None:
        """Call `listener` on the event loop after each commit that changed entries, before its writers are told."""
        self._delivery.subscribe(listener)

    async def write(
        self,
        apply: Apply,
        *,
        note: Note | None = None,
        urgent: bool = False,
        growth_bytes: int = 0,
        undo: Callable[[], None] | None = None,
    ) -> Any:
        """Do `apply` in the next group; return its result once the group is on disk.

        Args:
            apply: runs on the writer's thread.
            note: a log line of the same commit.
            urgent: start the group without waiting for more writes.
            growth_bytes: what an entry takes of the file; it is refused where this is the ledger's room.
            undo: takes back what `apply` keeps for itself, before it is called again for a group that failed.

        Raises:
            OverloadedError: too many writes wait.
            ShuttingDownError: the store is closed.
            StoreFullError: the map or the disk is full; nothing was written.
            StoreError: the commit failed for another reason; nothing was written.
        """
        loop = asyncio.get_running_loop()
        write = Write(apply, loop.create_future(), note, urgent, growth_bytes, undo)
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
        return self._committer.counters

    @property
    def counts(self) -> WriterCounts:
        """Counts since the store was opened."""
        return self._committer.counts

    @property
    def trouble(self) -> SemcacheError | None:
        """Why the last group could not be written; None while groups are written."""
        return self._committer.trouble

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
            changes = self._committer.commit(group, closing=self._closing)
            if self._committer.trouble is None:
                self._written(group)
            else:
                self._keep(group)
            with self._changed:
                self._busy = False
            # Results come last: a caller that was told that its write is on disk finds it in `durable_through_s` too.
            self._delivery.send(changes, group.results, self._loop)
            if self._committer.broken is not None and not self.broken.done():
                self.broken.set_result(self._committer.broken)

    def _gather(self) -> CommitGroup | None:
        """Wait for the next group and return it; None when the store is closed and nothing waits."""
        with self._changed:
            troubled = self._committer.trouble is not None
            while not (self._writes or self._notes or self._closing or troubled):
                self._changed.wait()
            if not self._writes:
                wait_s = RETRY_WAIT_S if troubled else NOTE_WAIT_S
                self._changed.wait_for(lambda: self._writes or self._closing, wait_s)
            if self._writes:
                self._changed.wait_for(
                    lambda: len(self._writes) >= self._settings.commit_items or self._urgent or self._closing,
                    self._settings.commit_wait_s,
                )
            if self._closing and not self._writes and not self._notes and not self._committer.accesses:
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
            self._committer.accesses.count(note.line)

    def _written(self, group: CommitGroup) -> None:
        for note in group.notes:
            if note.served is not None and self._served.get(note.served.hit_id) is note.served:
                self._served.pop(note.served.hit_id, None)
        with self._changed:
            if group.whole:
                self._durable_through_s = group.drained_at_s
            self._requeue(group.unfinished)

    def _keep(self, group: CommitGroup) -> None:
        """Keep the notes of a group that could not be written for the next one, as far as there is room."""
        with self._changed:
            if self._closing and not group.writes:
                # The store is closing, no caller waits, and the disk refuses: the notes can't be kept.
                self._drop(group.notes)
                self._committer.accesses.clear()
                return
            self._notes.extendleft(reversed(group.notes))
            excess = max(0, len(self._notes) - self._settings.max_queue)
            self._drop([self._notes.popleft() for _ in range(excess)])

    def _drop(self, notes: Sequence[Note]) -> None:
        """Give notes up: count them, and say in the log how much spend is in no ledger now."""
        if not notes:
            return
        self.counts.notes_dropped += len(notes)
        for note in notes:
            if note.served is not None:
                self._served.pop(note.served.hit_id, None)
        spent_nanousd = sum(note.line.spent.total_nanousd for note in notes)
        _log.error("store.lines_lost", lines=len(notes), spent_nanousd=spent_nanousd, error=str(self.trouble))

    def _requeue(self, writes: list[Write]) -> None:
        """Put unfinished writes first in the queue; they go on in the next group without waiting for more writes."""
        for write in writes:
            write.urgent = True
        self._urgent += len(writes)
        self._writes.extendleft(reversed(writes))
