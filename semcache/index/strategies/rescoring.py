"""Exact cosines of proposed candidates, for strategies that only propose."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from semcache.index.nearest import neighbours
from semcache.index.rows import Rows
from semcache.model import Neighbour


def rescore(
    rows: Rows, queries: NDArray[np.float32], candidates: Sequence[Sequence[int]], k: int
) -> list[list[Neighbour]]:
    """Return the `k` nearest of each query among its candidates, by exact cosine.

    Args:
        rows: the partition's vectors.
        queries: unit vectors, (m, dimension).
        candidates: ids for each query, all of them in `rows`.
        k: neighbours wanted.
    """
    found = []
    for query, ids in zip(queries, candidates, strict=True):
        similarities = query[None, :] @ rows.gather(ids).T
        found.extend(neighbours(np.array(ids, dtype=np.int64), similarities, k))
    return found
