"""The real `VectorIndex`: one worker thread drains what has queued and searches a partition's queries as a batch."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue

import faiss
import numpy as np
import structlog
from numpy.typing import NDArray

from semcache.errors import OverloadedError, ShuttingDownError
from semcache.index.ivf import IvfCodes, samples_for, train
from semcache.index.partition import Partition, Plan
from semcache.index.residents import Residents
from semcache.model import Changes, Neighbour, Vector
from semcache.settings import IndexSettings

_log = structlog.get_logger(__name__)

Load = Callable[[bytes], tuple[NDArray[np.int64], NDArray[np.float32]]]
"""All vectors of a partition from the store: ids (n,) and unit vectors (n, dimension). Called on the worker thread."""

OnSearch = Callable[[int, float], None]
"""Called from the worker thread after each batch with its searches and its seconds."""

_FILL_VECTORS = 1024
"""Vectors added to an index in the making between two batches of searches: about 4 ms."""
_TRAINING_PATIENCE_S = 5.0
_MAX_BATCH = 256
"""Searches answered together; those behind them wait for the next turn."""


@dataclass(frozen=True, slots=True, eq=False)
class _Search:
    partition: bytes
    vector: Vector
    k: int
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Sequence[Neighbour]]


@dataclass(frozen=True, slots=True)
class _Trained:
    """What the training thread made; None when it failed."""

    key: bytes
    partition: Partition
    codes: IvfCodes | None


class _Close:
    """Ends the worker."""


_Message = list[_Search] | Changes | _Trained | _Close


class FaissIndex:
    """Partitions by size, loaded lazily, least recently searched out first. Called on one event loop.

    The worker takes all that has queued in one turn and applies changes before it searches: a search that was submitted
    after `apply` returned sees the change. A partition is *followed* from just before its load's snapshot of the store
    is taken: changes for others are dropped at once, since a later load will see them (the store commits before it
    calls `apply`). Changes that a load saw already are idempotent.

    Args:
        settings: the index section.
        dimension: length of a vector.
        load: see Load.
        plan: from which sizes on a partition is searched in which way.
        monotonic: seconds, for those given to `on_search`.
        on_search: see OnSearch; what it raises is logged and otherwise ignored.
    """

    def __init__(
        self,
        settings: IndexSettings,
        dimension: int,
        load: Load,
        *,
        plan: Plan,
        monotonic: Callable[[], float],
        on_search: OnSearch | None = None,
    ) -> None:
        self._settings = settings
        self._dimension = dimension
        self._load = load
        self._plan = plan
        self._monotonic = monotonic
        self._on_search = on_search
        self._inbox: SimpleQueue[_Message] = SimpleQueue()
        self._depth = 0  # the event loop's own, as is what follows
        self._gathered: list[_Search] = []
        self._closing = False
        # The worker's own, but for `followed`.
        self._residents = Residents(max_partitions=settings.max_partitions, max_vectors=settings.max_vectors)
        self._filling: OrderedDict[bytes, Partition] = OrderedDict()
        self._untrained: OrderedDict[bytes, Partition] = OrderedDict()
        self._trainer: threading.Thread | None = None
        self._stats = self._residents.stats()
        self._worker = threading.Thread(target=self._run, name="semcache-index", daemon=True)
        self._worker.start()

    async def search(self, partition: bytes, vector: Vector, k: int) -> Sequence[Neighbour]:
        """Up to `k` nearest entries by exact cosine, nearest first; empty for a partition without vectors.

        Raises:
            OverloadedError: `settings.max_queue` searches wait already.
            ShuttingDownError: `close` was called.
            ValueError: `k` is below 1 or `vector` has another length.
            Exception: whatever the store raised when the partition was loaded.
        """
        if k < 1 or vector.shape != (self._dimension,):
            raise ValueError(f"a search takes k ≥ 1 and a vector ({self._dimension},), not {k} and {vector.shape}")
        if self._closing:
            raise ShuttingDownError("the index is closing and takes no more searches")
        if self._depth >= self._settings.max_queue:
            raise OverloadedError(
                f"{self._depth} searches wait and index.max_queue is {self._settings.max_queue}",
                retry_after_s=0.2,
                hint="Try again later.",
            )
        loop = asyncio.get_running_loop()
        search = _Search(partition, vector, k, loop, loop.create_future())
        self._depth += 1
        # Those of one turn of the loop go together: each alone would wake the worker, which then answers them in twos
        # and threes, and a search among 32 takes a sixth of one by itself.
        if not self._gathered:
            loop.call_soon(self._hand_over)
        self._gathered.append(search)
        return await search.future

    def _hand_over(self) -> None:
        if self._gathered:
            self._inbox.put(self._gathered)
            self._gathered = []

    def apply(self, changes: Changes) -> None:
        """Hands over what one commit changed in the partitions that are followed. Never blocks."""
        followed = self._residents.followed
        added = tuple(item for item in changes.added if item[0] in followed)
        removed = tuple(item for item in changes.removed if item[0] in followed)
        if (added or removed) and not self._closing:
            self._inbox.put(Changes(added=added, removed=removed))

    def queue_depth(self) -> int:
        """Searches waiting or being answered."""
        return self._depth

    def stats(self) -> Mapping[str, int]:
        """As `Residents.stats`, as last seen; kinds are `numpy`, `flat`, `ivf` and `gpu`."""
        return self._stats

    async def close(self) -> None:
        """Answers what has queued, ends the threads and frees memory."""
        if not self._closing:
            self._closing = True
            self._hand_over()
            self._inbox.put(_Close())
        await asyncio.to_thread(self._worker.join)

    # What follows runs on the worker thread.

    def _run(self) -> None:
        faiss.omp_set_num_threads(self._settings.threads)  # OpenMP keeps this number per thread
        closing = False
        while not closing:
            searches: list[_Search] = []
            changed = False
            for message in self._receive():
                if isinstance(message, list):
                    searches.extend(message)
                elif isinstance(message, Changes):
                    changed = True
                    self._follow(message)
                elif isinstance(message, _Trained):
                    changed = True
                    self._take_trained(message)
                else:
                    closing = True
            for start in range(0, len(searches), _MAX_BATCH):
                self._answer(searches[start : start + _MAX_BATCH])
            filled = self._fill_one()
            if searches or changed or filled:
                self._residents.evict()
                self._train_one()
                self._stats = self._residents.stats()
        if self._trainer is not None:
            self._trainer.join(_TRAINING_PATIENCE_S)  # it can't be interrupted; as a daemon it ends with the process
        self._residents.clear()
        self._filling.clear()
        self._untrained.clear()
        self._stats = self._residents.stats()

    def _receive(self) -> list[_Message]:
        """All that has queued; waits only when no index is being filled."""
        messages: list[_Message] = []
        try:
            messages.append(self._inbox.get(block=not self._filling))
            while True:
                messages.append(self._inbox.get_nowait())
        except Empty:
            return messages

    def _follow(self, changes: Changes) -> None:
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
            # A partition that can't follow would answer wrongly.
            _log.exception("index_change_failed", effect="the partition is loaded anew when next searched")
            self._residents.drop(key)
        else:
            self._note(key, partition)

    def _note(self, key: bytes, partition: Partition) -> None:
        self._residents.note(partition)
        if partition.wants_training:
            self._untrained[key] = partition

    def _answer(self, searches: list[_Search]) -> None:
        started = self._monotonic()
        groups: dict[tuple[bytes, int], list[_Search]] = {}
        for search in searches:
            if not search.future.done():  # who left is skipped
                groups.setdefault((search.partition, search.k), []).append(search)
        replies: list[tuple[_Search, Sequence[Neighbour] | Exception]] = []
        for (key, k), group in groups.items():
            try:
                found = self._loaded(key).search(np.stack([search.vector for search in group]), k)
                replies.extend(zip(group, found, strict=True))
            except Exception as error:  # noqa: BLE001 - whatever it was, every waiter hears of it
                _log.exception("index_search_failed", searches=len(group))
                replies.extend((search, error) for search in group)
        self._residents.evict()
        self._stats = self._residents.stats()  # before the replies: who got an answer finds it counted
        by_loop: dict[asyncio.AbstractEventLoop, int] = Counter(search.loop for search in searches)
        for loop, freed in by_loop.items():
            mine = replies if len(by_loop) == 1 else [reply for reply in replies if reply[0].loop is loop]
            try:
                loop.call_soon_threadsafe(self._deliver, mine, freed)
            except RuntimeError:  # the loop is closed, and with it all who waited
                self._depth -= freed
                _log.debug("index_callers_gone", searches=len(mine))
        if self._on_search is not None and replies:
            try:
                self._on_search(len(replies), self._monotonic() - started)
            except Exception:  # noqa: BLE001 - an observer's defect is not the callers'
                _log.exception("index_observer_failed")

    def _deliver(self, replies: Sequence[tuple[_Search, Sequence[Neighbour] | Exception]], freed: int) -> None:
        """On the event loop."""
        self._depth -= freed
        for search, reply in replies:
            if search.future.done():
                continue
            if isinstance(reply, Exception):
                search.future.set_exception(reply)
            else:
                search.future.set_result(reply)

    def _loaded(self, key: bytes) -> Partition:
        partition = self._residents.touch(key)
        if partition is not None:
            return partition
        self._residents.followed.add(key)  # before the snapshot: from here on no change passes by
        try:
            ids, vectors = self._load(key)
            partition = Partition(self._plan, ids, vectors.reshape(len(ids), self._dimension))
        except Exception:
            self._residents.followed.discard(key)
            raise
        self._residents.put(key, partition)
        self._note(key, partition)
        return partition

    def _train_one(self) -> None:
        """Starts training for one partition that wants it; one at a time, since each takes a core for seconds."""
        while self._trainer is None and self._untrained:
            key, partition = self._untrained.popitem(last=False)
            if self._residents.get(key) is not partition or not partition.wants_training:
                continue
            partition.training = True
            sample = partition.sample(samples_for(len(partition)))
            self._trainer = threading.Thread(
                target=self._train,
                args=(key, partition, sample, len(partition)),
                name="semcache-index-training",
                daemon=True,
            )
            self._trainer.start()

    def _train(self, key: bytes, partition: Partition, sample: NDArray[np.float32], count: int) -> None:
        """On the training thread."""
        started = self._monotonic()
        codes = None
        try:
            codes = train(sample, count, threads=self._settings.threads)
        except Exception:  # noqa: BLE001 - without this index the partition is searched flat
            _log.exception("index_training_failed", vectors=count, effect="the partition is searched flat")
        else:
            _log.info("index_trained", vectors=count, seconds=round(self._monotonic() - started, 2))
        self._inbox.put(_Trained(key, partition, codes))

    def _take_trained(self, trained: _Trained) -> None:
        if self._trainer is not None:
            self._trainer.join()
            self._trainer = None
        # A partition that was evicted meanwhile, and perhaps loaded again, is another object. A failed training leaves
        # `training` set, so that it isn't tried again and again.
        if trained.codes is not None and self._residents.get(trained.key) is trained.partition:
            trained.partition.begin_filling(trained.codes)
            self._filling[trained.key] = trained.partition

    def _fill_one(self) -> bool:
        """The next slice of one index in the making; True when there was one."""
        if not self._filling:
            return False
        key, partition = next(iter(self._filling.items()))
        if self._residents.get(key) is not partition:  # it was evicted
            del self._filling[key]
            return True
        try:
            partition.fill(_FILL_VECTORS)
        except Exception:  # noqa: BLE001 - the worker outlives any partition
            _log.exception("index_filling_failed", effect="the partition is loaded anew when next searched")
            self._residents.drop(key)
            return True
        if not partition.filling:
            del self._filling[key]
            self._note(key, partition)
            _log.info("index_swapped_in", kind=partition.kind, vectors=len(partition))
        return True
