"""Exact search over all vectors of a partition by float32 products on the CPU."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from semcache.index.choice import NearestOne
from semcache.index.nearest import neighbours
from semcache.index.rows import Rows
from semcache.index.tuning import TUNING, IndexTuning
from semcache.model import Neighbour


class Flat:
    """Compares with every vector. Reads the partition's rows and holds none.

    Args:
        rows: the partition's vectors.
        numpy_below: vectors below which one plain product is fastest.
        nearest_one: search of one query among more vectors; None for numpy's.
        tuning: the numbers that aren't settings.
    """

    def __init__(
        self, rows: Rows, *, numpy_below: int, nearest_one: NearestOne | None = None, tuning: IndexTuning = TUNING
    ) -> None:
        self._rows = rows
        self._numpy_below = numpy_below
        self._nearest_one = nearest_one
        self._tuning = tuning

    def search(self, queries: NDArray[np.float32], k: int) -> list[list[Neighbour]]:
        """Return the `k` nearest of each unit vector (m, dimension) with exact cosines, nearest first."""
        ids, rows = self._rows.ids, self._rows.matrix
        if len(ids) < self._numpy_below:
            return neighbours(ids, queries @ rows.T, k)
        if len(queries) == 1 and self._nearest_one is not None:
            similarities, places = self._nearest_one(queries, rows, k)
            return neighbours(ids[places[0]], similarities, k)
        if len(queries) == 1:
            return neighbours(ids, np.vecdot(rows, queries)[None, :], k)
        found: list[list[Neighbour]] = []
        for block in query_blocks(queries, len(ids), self._tuning.product_cells):
            found.extend(neighbours(ids, np.ascontiguousarray(product(rows, block, self._tuning).T), k))
        return found


def query_blocks(queries: NDArray[np.float32], count: int, cells: int) -> Iterator[NDArray[np.float32]]:
    """Yield the queries in blocks whose products with `count` rows have at most `cells` cells, or one by one."""
    step = max(1, cells // count)
    for start in range(0, len(queries), step):
        yield queries[start : start + step]


def product(
    rows: NDArray[np.float32], queries: NDArray[np.float32], tuning: IndexTuning = TUNING
) -> NDArray[np.float32]:
    """Return the inner products of rows (n, dimension) and queries (m, dimension), (n, m).

    The many rows stand on the left, where BLAS is up to three times as fast as with the few queries there. For few
    queries the product is made in blocks of rows so small that OpenBLAS doesn't copy them first.
    """
    count, few = rows.shape[0], queries.shape[0]
    if not 0 < few <= tuning.block_queries:
        return rows @ queries.T
    block = tuning.block_cells // few
    even = count // block * block
    columns = np.ascontiguousarray(queries.T)
    products = np.empty((count, few), dtype=np.float32)
    np.matmul(rows[:even].reshape(-1, block, rows.shape[1]), columns, out=products[:even].reshape(-1, block, few))
    np.matmul(rows[even:], columns, out=products[even:])
    return products
