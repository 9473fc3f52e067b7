"""Exact search of all vectors by FAISS on a GPU; removed rows are tombstones, since such an index can't remove."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from semcache.index.rows import Rows
from semcache.index.strategies.rescoring import rescore
from semcache.index.tuning import TUNING, IndexTuning
from semcache.model import Neighbour

_FAISS_MAX_K = 2048
"""Neighbours: more aren't found by FAISS in one search on a GPU."""


class FaissGpu:
    """A flat inner-product index that only appends, with ids and tombstones kept beside it. Not thread-safe.

    Args:
        empty: makes an empty index on the device.
        rows: the partition's vectors; all of them are copied to the device.
        tuning: the numbers that aren't settings.

    Raises:
        RuntimeError: the device's memory is full; `add`, `remove` and `search` raise it as well.
    """

    def __init__(self, empty: Callable[[], Any], rows: Rows, *, tuning: IndexTuning = TUNING) -> None:
        self._empty = empty
        self._rows = rows
        self._tuning = tuning
        self._build()

    def search(self, queries: NDArray[np.float32], k: int) -> list[list[Neighbour]]:
        """Return the `k` nearest of each unit vector (m, dimension), rescored exactly on the CPU.

        It fetches a few more than `k`, and twice as many again while tombstones crowd the live entries out. At most
        2,048 rows are fetched: beyond that a query gets fewer than `k` neighbours.
        """
        limit = min(len(self._ids), _FAISS_MAX_K)
        fetched = min(limit, k + min(self._dead, 16))
        while True:
            _, places = self._index.search(queries, max(1, fetched))
            candidates = [
                [self._ids[place] for place in row if place >= 0 and self._ids[place] >= 0][:k]
                for row in places.tolist()
            ]
            if fetched >= limit or all(len(row) >= k for row in candidates):
                return rescore(self._rows, queries, candidates, k)
            fetched = min(limit, 2 * fetched)

    def add(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Add vectors (n, dimension) under ids that aren't there yet."""
        if len(ids) == 0:
            return
        self._index.add(np.ascontiguousarray(vectors))
        for entry_id in ids.tolist():
            self._place[entry_id] = len(self._ids)
            self._ids.append(entry_id)

    def remove(self, entry_id: int) -> None:
        """Bury an id, and build the index again when the tombstones cost more than that; unknown ids are ignored."""
        place = self._place.pop(entry_id, None)
        if place is None:
            return
        self._ids[place] = -1
        self._dead += 1
        if self._dead > max(self._tuning.tombstones, int(self._tuning.tombstone_share * len(self._ids))):
            self._build()

    def _build(self) -> None:
        self._index: Any = None  # the old index's memory is free before the new one takes its own
        self._index = self._empty()
        self._ids: list[int] = []
        self._place: dict[int, int] = {}
        self._dead = 0
        self.add(self._rows.ids, self._rows.matrix)


def gpu_flat_factory(dimension: int) -> Callable[[], Any]:
    """Return a function that makes empty flat indexes on the first GPU; they share one scratch memory.

    The vectors stay float32, so that the search is exact.
    """
    resources = faiss.StandardGpuResources()
    config = faiss.GpuIndexFlatConfig()
    config.device = 0
    config.useFloat16 = False

    def empty() -> Any:
        return faiss.GpuIndexFlatIP(resources, dimension, config)

    return empty
