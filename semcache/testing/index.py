"""An index for tests that compares with every vector; the real one must agree with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from semcache.errors import ShuttingDownError
from semcache.model import Changes, IndexStats, Neighbour, Vector

Load = Callable[[bytes], tuple[NDArray[np.int64], NDArray[np.float32]]]
"""All vectors of a partition: ids (n,) and unit vectors (n, dimension)."""


class BruteForceIndex:
    """Nearest neighbours by comparing with every vector of the partition, on the event loop.

    Args:
        load: reads a partition's vectors from a store; without it partitions start empty.
    """

    def __init__(self, load: Load | None = None) -> None:
        self._load = load
        self._partitions: dict[bytes, dict[int, Vector]] = {}
        self._failure: Exception | None = None
        self._closed = False

    def fail_next(self, error: Exception) -> None:
        """Let the next search raise `error`."""
        self._failure = error

    async def search(self, partition: bytes, vector: Vector, k: int) -> Sequence[Neighbour]:
        """Return up to `k` nearest entries by cosine, nearest first, the older first among equals.

        Raises:
            ShuttingDownError: the index is closed.
            ValueError: `k` is below 1.
            Exception: the error that `fail_next` was given, or that the load raised.
        """
        if k < 1:
            raise ValueError(f"a search takes k ≥ 1, not {k}")
        if self._closed:
            raise ShuttingDownError("the index is closed and takes no more searches")
        failure, self._failure = self._failure, None
        await asyncio.sleep(0)
        if failure is not None:
            raise failure
        neighbours = [
            Neighbour(entry_id, float(np.clip(stored @ vector, -1.0, 1.0)))
            for entry_id, stored in self._loaded(partition).items()
        ]
        return sorted(neighbours, key=lambda neighbour: (-neighbour.similarity, neighbour.entry_id))[:k]

    def apply(self, changes: Changes) -> None:
        """Add, then remove, in the partitions that were searched before."""
        for partition, entry_id, vector in changes.added:
            if partition in self._partitions:
                self._partitions[partition][entry_id] = vector
        for partition, entry_id, _ in changes.removed:
            self._partitions.get(partition, {}).pop(entry_id, None)

    def queue_depth(self) -> int:
        """Return 0: searches never wait."""
        return 0

    def stats(self) -> IndexStats:
        """Return how many partitions and vectors are in memory."""
        return IndexStats(partitions=len(self._partitions), vectors=sum(map(len, self._partitions.values())))

    async def close(self) -> None:
        """Forget everything; later searches are refused."""
        self._closed = True
        self._partitions.clear()

    def _loaded(self, partition: bytes) -> dict[int, Vector]:
        vectors = self._partitions.get(partition)
        if vectors is None:
            vectors = {}
            if self._load is not None:
                ids, rows = self._load(partition)
                vectors = dict(zip(ids.tolist(), rows, strict=True))
            self._partitions[partition] = vectors
        return vectors
