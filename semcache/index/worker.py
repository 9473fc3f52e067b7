"""The index's thread: it drains the queue, applies changes, then searches a partition's queries as one batch."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue

import numpy as np
import structlog

from semcache.index.partition import Partition
from semcache.index.residents import Residents
from semcache.index.training import Trained, Training
from semcache.index.tuning import IndexTuning
from semcache.model import Changes, IndexStats, Neighbour, Vector

_log = structlog.get_logger(__name__)

OnSearch = Callable[[int, float], None]
"""Called from the worker thread after each batch with its searches and its seconds."""


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """One search that waits for its answer."""

    partition: bytes
    vector: Vector
    k: int
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Sequence[Neighbour]]


@dataclass(frozen=True, slots=True)
class Close:
    """Ends the worker after the messages before it."""


Message = list[Search] | Changes | Trained | Close
SearchReply = tuple[Search, Sequence[Neighbour] | Exception]

Deliver = Callable[[Sequence[SearchReply], int], None]
"""Takes the replies for one event loop, and how many of its searches have left the queue, abandoned ones included."""


class Worker:
    """Owns the partitions. All of it but the constructor, `put` and `join` runs on its thread.

    A turn takes everything that has queued and applies changes before it searches. So a search that was submitted
    after a change sees it.

    Args:
        residents: the partitions in memory.
        deliver: takes replies; called on the event loop of the searches, or here when that loop is closed.
        threads: of one training.
        tuning: the numbers that aren't settings.
        monotonic: seconds, for those given to `on_search`.
        on_search: what it raises is logged and otherwise ignored.
        on_start: called first on the thread, for a library that keeps settings by thread.
    """

    def __init__(
        self,
        residents: Residents,
        deliver: Deliver,
        *,
        threads: int,
        tuning: IndexTuning,
        monotonic: Callable[[], float],
        on_search: OnSearch | None,
        on_start: Callable[[], None] | None,
    ) -> None:
        self._residents = residents
        self._deliver = deliver
        self._tuning = tuning
        self._monotonic = monotonic
        self._on_search = on_search
        self._on_start = on_start
        self._inbox: SimpleQueue[Message] = SimpleQueue()
        self._training = Training(residents, self._inbox.put, threads=threads, monotonic=monotonic, tuning=tuning)
        self.stats: IndexStats = residents.stats()
        """As of the last turn; replaced, never changed."""
        self._thread = threading.Thread(target=self._run, name="semcache-index", daemon=True)
        self._thread.start()

    @property
    def idle(self) -> bool:
        """Whether no message waits."""
        return self._inbox.empty()

    def put(self, message: Message) -> None:
        """Queue a message, from any thread."""
        self._inbox.put(message)

    def join(self) -> None:
        """Wait until the thread has ended."""
        self._thread.join()

    def _run(self) -> None:
        if self._on_start is not None:
            self._on_start()
        closing = False
        while not closing:
            closing = self._turn(self._receive())
        self._training.close()
        self._residents.clear()
        self.stats = self._residents.stats()

    def _receive(self) -> list[Message]:
        """Return all that has queued; wait for the first message only when no index is being filled."""
        messages: list[Message] = []
        try:
            messages.append(self._inbox.get(block=not self._training.filling))
            while True:
                messages.append(self._inbox.get_nowait())
        except Empty:
            return messages

    def _turn(self, messages: Sequence[Message]) -> bool:
        """Handle messages, then fill an index a little; return whether one of the messages was `Close`."""
        searches: list[Search] = []
        closing = changed = False
        for message in messages:
            if isinstance(message, list):
                searches.extend(message)
            elif isinstance(message, Changes):
                changed = True
                self._apply(message)
            elif isinstance(message, Trained):
                changed = True
                self._training.take(message)
            else:
                closing = True
        for start in range(0, len(searches), self._tuning.max_batch):
            self._answer(searches[start : start + self._tuning.max_batch])
        filled = self._training.fill_next()
        if searches or changed or filled:
            self._residents.evict()
            self._training.start_next()
            self.stats = self._residents.stats()
        return closing

    def _apply(self, changes: Changes) -> None:
        # Removals last: within one commit an entry may come and go, never go and come back under its id.
        for key, entry_id, vector in changes.added:
            self._change(key, partial(Partition.add, entry_id=entry_id, vector=vector))
        for key, entry_id, _ in changes.removed:
            self._change(key, partial(Partition.remove, entry_id=entry_id))

    def _change(self, key: bytes, change: Callable[[Partition], None]) -> None:
        partition = self._residents.get(key)
        if partition is None:
            return
        try:
            change(partition)
        except Exception:  # noqa: BLE001 - the worker outlives any partition
            # A partition that misses a change would answer wrongly.
            _log.exception("index.change_failed", effect="the partition is loaded again when next searched")
            self._residents.drop(key)
        else:
            self._note(key, partition)

    def _note(self, key: bytes, partition: Partition) -> None:
        """Follow what a load, a change or a search did to a partition's size and kind."""
        self._residents.count(partition)
        self._training.request(key, partition)

    def _answer(self, searches: Sequence[Search]) -> None:
        started_s = self._monotonic()
        replies = self._replies(searches)
        self._residents.evict()
        self.stats = self._residents.stats()  # before the replies: a caller with an answer finds its partition counted
        by_loop = Counter(search.loop for search in searches)
        for loop, freed in by_loop.items():
            own = replies if len(by_loop) == 1 else [reply for reply in replies if reply[0].loop is loop]
            try:
                loop.call_soon_threadsafe(self._deliver, own, freed)
            except RuntimeError:  # the loop is closed, and its callers are gone
                self._deliver((), freed)
                _log.debug("index.callers_gone", searches=len(own))
        if self._on_search is not None and replies:
            try:
                self._on_search(len(replies), self._monotonic() - started_s)
            except Exception:  # noqa: BLE001 - an observer's defect isn't the callers'
                _log.exception("index.observer_failed")

    def _replies(self, searches: Sequence[Search]) -> list[SearchReply]:
        """Search each partition once for all queries with the same `k`; abandoned searches get no reply."""
        groups: dict[tuple[bytes, int], list[Search]] = {}
        for search in searches:
            if not search.future.done():
                groups.setdefault((search.partition, search.k), []).append(search)
        replies: list[SearchReply] = []
        for (key, k), group in groups.items():
            try:
                partition = self._residents.loaded(key)
                neighbours = partition.search(np.stack([search.vector for search in group]), k)
                replies.extend(zip(group, neighbours, strict=True))
            except Exception as error:  # noqa: BLE001 - whatever it was, every waiter gets it
                _log.exception("index.search_failed", searches=len(group))
                replies.extend((search, error) for search in group)
            else:
                self._note(key, partition)
        return replies
