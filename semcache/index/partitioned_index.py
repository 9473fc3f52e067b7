"""The real `VectorIndex`: its event-loop half, which queues searches and changes for the worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from semcache.errors import OverloadedError, ShuttingDownError
from semcache.index.choice import SearchPlan
from semcache.index.residents import Load, Residents
from semcache.index.worker import Close, OnSearch, Search, SearchReply, Worker
from semcache.model import Changes, IndexStats, Neighbour, Vector
from semcache.settings import IndexSettings


class PartitionedIndex:
    """Partitions by size, loaded when first searched, evicted when long unsearched. Called on one event loop.

    A search that is submitted after `apply` returned sees the change (`Worker`). Changes of partitions that aren't in
    memory are dropped at once, since a later load reads them from the store (`Residents`).

    Args:
        settings: the index section.
        dimension: length of a vector.
        load: reads a partition from the store; called on the worker thread.
        plan: what the settings want and the machine has.
        monotonic: seconds, for those given to `on_search`.
        on_search: called from the worker thread after each batch with its searches and its seconds.
        on_start: called first on the worker thread.
    """

    def __init__(
        self,
        settings: IndexSettings,
        dimension: int,
        load: Load,
        *,
        plan: SearchPlan,
        monotonic: Callable[[], float] = time.monotonic,
        on_search: OnSearch | None = None,
        on_start: Callable[[], None] | None = None,
    ) -> None:
        self._max_queue = settings.max_queue
        self._dimension = dimension
        self._depth = 0
        self._gathered: list[Search] = []
        self._closing = False
        residents = Residents(
            load,
            plan,
            dimension=dimension,
            max_partitions=settings.max_partitions,
            max_vectors=settings.max_vectors,
        )
        self._followed = residents.followed
        self._worker = Worker(
            residents,
            self._deliver,
            threads=settings.threads,
            tuning=plan.tuning,
            monotonic=monotonic,
            on_search=on_search,
            on_start=on_start,
        )

    async def search(self, partition: bytes, vector: Vector, k: int) -> Sequence[Neighbour]:
        """Return up to `k` nearest entries by exact cosine, nearest first; none for a partition without vectors.

        Raises:
            OverloadedError: `index.max_queue` searches wait already.
            ShuttingDownError: `close` was called.
            ValueError: `k` is below 1 or `vector` has another length.
            Exception: what the store raised when the partition was loaded.
        """
        if k < 1 or vector.shape != (self._dimension,):
            raise ValueError(f"a search takes k ≥ 1 and a vector ({self._dimension},), not {k} and {vector.shape}")
        if self._closing:
            raise ShuttingDownError("the index is closing and takes no more searches")
        if self._depth >= self._max_queue:
            raise OverloadedError(
                f"{self._depth} searches wait and index.max_queue is {self._max_queue}",
                retry_after_s=0.2,
                hint="Try again later.",
            )
        loop = asyncio.get_running_loop()
        search = Search(partition, vector, k, loop, loop.create_future())
        self._depth += 1
        # The searches of one turn of the loop go together. Each alone would wake the worker, which would then search
        # in batches of two and three; among 32 a search takes a sixth of the time that it takes alone.
        if not self._gathered:
            loop.call_soon(self._hand_over)
        self._gathered.append(search)
        return await search.future

    def apply(self, changes: Changes) -> None:
        """Queue what one commit changed in the partitions that are followed. Never blocks."""
        followed = self._followed
        added = tuple(item for item in changes.added if item[0] in followed)
        removed = tuple(item for item in changes.removed if item[0] in followed)
        if (added or removed) and not self._closing:
            self._worker.put(Changes(added=added, removed=removed))

    def queue_depth(self) -> int:
        """Return how many searches wait or are being answered."""
        return self._depth

    def stats(self) -> IndexStats:
        """Return the sizes as of the worker's last turn, by kind: `numpy`, `flat`, `ivf` and `gpu`."""
        return self._worker.stats

    async def close(self) -> None:
        """Answer what has queued, end the threads and free memory."""
        if not self._closing:
            self._closing = True
            self._hand_over()
            self._worker.put(Close())
        await asyncio.to_thread(self._worker.join)

    def _hand_over(self) -> None:
        if self._gathered:
            self._worker.put(self._gathered)
            self._gathered = []

    def _deliver(self, replies: Sequence[SearchReply], freed: int) -> None:
        self._depth -= freed
        for search, reply in replies:
            if search.future.done():
                continue
            if isinstance(reply, Exception):
                search.future.set_exception(reply)
            else:
                search.future.set_result(reply)
