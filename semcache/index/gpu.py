"""Exact flat search on a GPU: removed rows are tombstones until the next rebuild, since such an index can't remove."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

_TOMBSTONES = 1024
_TOMBSTONE_SHARE = 0.1
_MAX_K = 2048
"""The most neighbours that faiss finds on a GPU in one search."""


class DeviceFlat:
    """A flat inner-product index that only appends, with ids and tombstones kept beside it. Not thread-safe.

    Args:
        empty: makes an empty index on the device.
        ids: entry ids, (n,).
        vectors: their vectors, (n, dimension).
    """

    def __init__(self, empty: Callable[[], Any], ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        self._index = empty()
        self._ids: list[int] = []
        self._position: dict[int, int] = {}
        self._dead = 0
        self.add(ids, vectors)

    def __len__(self) -> int:
        return len(self._position)

    @property
    def wants_rebuild(self) -> bool:
        """Whether the tombstones cost more than a rebuild."""
        return self._dead > max(_TOMBSTONES, int(_TOMBSTONE_SHARE * len(self._ids)))

    def add(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Adds vectors under ids that aren't there yet."""
        if len(ids) == 0:
            return
        self._index.add(np.ascontiguousarray(vectors))
        for entry_id in ids.tolist():
            self._position[entry_id] = len(self._ids)
            self._ids.append(entry_id)

    def remove(self, entry_id: int) -> None:
        """Buries an id; one that isn't there is ignored."""
        position = self._position.pop(entry_id, None)
        if position is not None:
            self._ids[position] = -1
            self._dead += 1

    def candidates(self, queries: NDArray[np.float32], k: int) -> list[list[int]]:
        """The `k` nearest live ids of each query, or all when there are fewer.

        Fetches a few more than `k`, and again twice as many while tombstones crowd the live ones out.
        """
        wanted = min(k, len(self))
        fetched = min(len(self._ids), _MAX_K, wanted + min(self._dead, 16))
        while True:
            _, positions = self._index.search(queries, max(1, fetched))
            found = [[self._ids[p] for p in row if p >= 0 and self._ids[p] >= 0][:wanted] for row in positions.tolist()]
            if fetched >= min(len(self._ids), _MAX_K) or all(len(row) >= wanted for row in found):
                return found
            fetched = min(len(self._ids), _MAX_K, 2 * fetched)


def gpu_flat_factory(dimension: int) -> Callable[[], Any]:
    """Makes empty flat indexes on the first GPU; one set of scratch memory serves them all."""
    resources = faiss.StandardGpuResources()
    config = faiss.GpuIndexFlatConfig()
    config.device = 0
    config.useFloat16 = False  # flat stays exact; the copy on the host is there for rescoring alone

    def empty() -> Any:
        return faiss.GpuIndexFlatIP(resources, dimension, config)

    return empty
