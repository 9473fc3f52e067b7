"""Exact search over all vectors of a partition: bfloat16 products find the contenders, float32 decides among them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semcache.index import bfloat16
from semcache.index.choice import RoundedProduct
from semcache.index.nearest import contenders, neighbours
from semcache.index.rows import Rows
from semcache.index.strategies.flat import product, query_blocks
from semcache.index.tuning import TUNING, IndexTuning
from semcache.model import Neighbour


class Rounded:
    """Compares with every rounded vector, then exactly with those that can be among the nearest. Holds no vectors.

    A partition is dense when most of its vectors are so near to each other that rounding can't tell them apart, as
    where all texts share most of their words. There the second look takes longer than float32 alone.

    Args:
        rows: the partition's vectors, kept split.
        multiply: products of bfloat16 vectors.
        tuning: the numbers that aren't settings.

    Attributes:
        is_too_dense: whether the last `tuning.dense_searches` searches all found the partition dense.
    """

    def __init__(self, rows: Rows, multiply: RoundedProduct, *, tuning: IndexTuning = TUNING) -> None:
        self._rows = rows
        self._multiply = multiply
        self._tuning = tuning
        self._dense_searches = 0
        self.is_too_dense = False

    def search(self, queries: NDArray[np.float32], k: int) -> list[list[Neighbour]]:
        """Return the `k` nearest of each unit vector (m, dimension) with exact cosines, nearest first."""
        found: list[list[Neighbour]] = []
        for block in query_blocks(queries, len(self._rows), self._tuning.product_cells):
            rounded = bfloat16.split(block)[0]
            products = self._multiply(self._rows.rounded, rounded)[: len(self._rows)]
            errors = bfloat16.product_errors(self._rows.rounding_error, block, rounded)
            places = contenders(products, k, errors, groups=self._tuning.groups)
            self._watch_density(len(places), len(block))
            exact = product(self._rows.take(places), block, self._tuning)
            found.extend(neighbours(self._rows.ids[places], np.ascontiguousarray(exact.T), k))
        return found

    def _watch_density(self, contending: int, queries: int) -> None:
        tuning = self._tuning
        dense = contending * tuning.dense_parts > (tuning.dense_queries + queries) * len(self._rows)
        self._dense_searches = self._dense_searches + 1 if dense else 0
        if self._dense_searches >= tuning.dense_searches:
            self.is_too_dense = True
