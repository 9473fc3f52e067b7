"""The partitions in memory: loaded when first searched, the least recently searched evicted, counted by kind."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from semcache.index.choice import SearchPlan
from semcache.index.partition import Partition
from semcache.model import IndexSize, IndexStats

Load = Callable[[bytes], tuple[NDArray[np.int64], NDArray[np.float32]]]
"""All vectors of a partition from the store: ids (n,) and unit vectors (n, dimension). Called on the worker thread."""


class Residents:
    """Partitions by key. Changed by the worker alone; the event loop may read `followed`, whose lookup is atomic.

    A partition is *followed* from just before its load takes its snapshot of the store. Changes for other partitions
    can be dropped, since the store commits before it reports a change and a later load sees the commit:

    1. the worker puts the key into `followed`;
    2. the store commits a change and reports it: the change queues behind the load;
    3. the load reads its snapshot, with or without the change;
    4. the worker applies the change. A change that the snapshot held already leaves the partition as it is.

    Args:
        load: reads a partition from the store.
        plan: what the settings want and the machine has.
        dimension: length of a vector.
        max_partitions: partitions that stay.
        max_vectors: vectors that they may hold together; the most recently searched partition stays at any size.
    """

    def __init__(self, load: Load, plan: SearchPlan, *, dimension: int, max_partitions: int, max_vectors: int) -> None:
        self._load = load
        self._plan = plan
        self._dimension = dimension
        self._max_partitions = max_partitions
        self._max_vectors = max_vectors
        self._partitions: OrderedDict[bytes, Partition] = OrderedDict()
        self._vectors = 0
        self._partitions_by_kind: Counter[str] = Counter()
        self._vectors_by_kind: Counter[str] = Counter()
        self._evicted = 0
        self.followed: set[bytes] = set()

    def get(self, key: bytes) -> Partition | None:
        """Return the partition where it is in memory; its place in the order stays."""
        return self._partitions.get(key)

    def loaded(self, key: bytes) -> Partition:
        """Return the partition, from the store where it isn't in memory; it is now the most recently searched.

        Raises:
            Exception: what the load raised; the next search tries again.
        """
        partition = self._partitions.get(key)
        if partition is not None:
            self._partitions.move_to_end(key)
            return partition
        self.followed.add(key)
        try:
            ids, vectors = self._load(key)
            partition = Partition(self._plan, ids, vectors.reshape(len(ids), self._dimension))
        except Exception:
            self.followed.discard(key)
            raise
        self._partitions[key] = partition
        self.count(partition)
        return partition

    def count(self, partition: Partition) -> None:
        """Count a partition as it is now, after every change of its size or kind."""
        self._discount(partition)
        partition.counted = (partition.kind, len(partition))
        self._partitions_by_kind[partition.kind] += 1
        self._vectors_by_kind[partition.kind] += len(partition)
        self._vectors += len(partition)

    def drop(self, key: bytes) -> None:
        """Forget a partition; its next search loads it again."""
        self.followed.discard(key)
        partition = self._partitions.pop(key, None)
        if partition is not None:
            self._discount(partition)

    def evict(self) -> None:
        """Drop the least recently searched partitions until the limits hold."""
        while len(self._partitions) > 1 and (
            len(self._partitions) > self._max_partitions or self._vectors > self._max_vectors
        ):
            self.drop(next(iter(self._partitions)))
            self._evicted += 1

    def clear(self) -> None:
        """Drop all partitions."""
        for key in list(self._partitions):
            self.drop(key)
        self.followed.clear()

    def stats(self) -> IndexStats:
        """Return how many partitions and vectors there are, by kind (numpy, flat, ivf, gpu) and together."""
        return IndexStats(
            partitions=len(self._partitions),
            vectors=self._vectors,
            evicted=self._evicted,
            by_strategy={
                kind: IndexSize(partitions=count, vectors=self._vectors_by_kind[kind])
                for kind, count in self._partitions_by_kind.items()
                if count
            },
        )

    def _discount(self, partition: Partition) -> None:
        """Take back what `count` counted last."""
        kind, size = partition.counted
        if kind:
            self._partitions_by_kind[kind] -= 1
            self._vectors_by_kind[kind] -= size
            self._vectors -= size
