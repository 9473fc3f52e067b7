"""The writes and notes that share one commit, and their results."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from semcache.errors import SemcacheError
from semcache.model import LedgerRecord, ServedHit
from semcache.store.transaction import WriteTransaction


class _Unfinished:
    """The type of UNFINISHED."""


UNFINISHED: Final = _Unfinished()
"""The result of an `Apply` that has more to do than one group should hold."""

Apply = Callable[[WriteTransaction], Any]
"""The work of a write within a group's transaction. It returns its result, or UNFINISHED to be called again in the next
group. A SemcacheError that it raises before it has changed anything reaches its own caller alone."""


class Note(NamedTuple):
    """A log line with its row, and the hit that was served with it.

    A caller that waits for the line supplies its row, so that it hears of a line that no row can hold. The writer's
    thread encodes the other lines, many at once, which costs a third of encoding each on the event loop.
    """

    line: LedgerRecord
    served: ServedHit | None = None
    row: bytes = b""


@dataclass(eq=False, slots=True)
class Write:
    """An awaited write.

    Attributes:
        apply: runs on the writer's thread.
        future: gets the result, or the error, on the loop that it belongs to.
        note: a log line of the same commit.
        urgent: whether the group starts without waiting for more writes.
        growth_bytes: what an entry takes of the file; 0 for a write that may use the ledger's room.
        undo: takes back what `apply` keeps for itself between groups, when its group is written once more.
    """

    apply: Apply
    future: asyncio.Future[Any]
    note: Note | None = None
    urgent: bool = False
    growth_bytes: int = 0
    undo: Callable[[], None] | None = None


class WriteResult(NamedTuple):
    """The end of one write: its value, or its error."""

    future: asyncio.Future[Any]
    value: Any
    error: SemcacheError | None


@dataclass(slots=True)
class CommitGroup:
    """The writes and notes of one commit.

    Attributes:
        drained_at_s: wall seconds at which the notes were taken from the queue.
        whole: whether everything that was noted before `drained_at_s` is in this group or in an earlier one.
        begun: the writes whose `apply` was called in this attempt to commit.
        results: the ends of the writes, once the group was committed or failed.
        unfinished: the writes that go on in the next group.
    """

    writes: list[Write]
    notes: list[Note]
    drained_at_s: float
    whole: bool
    begun: list[Write] = field(default_factory=list)
    results: list[WriteResult] = field(default_factory=list)
    unfinished: list[Write] = field(default_factory=list)

    def start_again(self) -> None:
        """Forget what a failed attempt to commit the group has come to."""
        for write in self.begun:
            if write.undo is not None:
                write.undo()
        self.begun, self.results, self.unfinished = [], [], []

    def fail(self, failure: SemcacheError) -> None:
        """Let every write end with an error of its own, of one cause."""
        self.results = [failed(write, failure) for write in self.writes]
        self.unfinished = []


def failed(write: Write, failure: SemcacheError) -> WriteResult:
    """Return the end of a write that failed; its error is its own, because each caller adds its traceback."""
    return WriteResult(write.future, None, copy.copy(failure))
