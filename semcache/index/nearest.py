"""From candidate rows to neighbours: exact cosines, nearest first, the older entry first among equals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semcache.model import Neighbour

_FEW = 10
"""Neighbours up to which looking for the largest again and again is faster: 5 of 10,000 take 7 µs instead of 18."""
_GROUPS = 200
"""Groups of rows whose largest are compared first: fewer are less telling, more cost more to look through."""


def neighbours(ids: NDArray[np.int64], similarities: NDArray[np.float32], k: int) -> list[list[Neighbour]]:
    """The `k` nearest of the candidates for each query, clipped to [-1, 1]: rounding carries cosines past their range.

    Args:
        ids: entry ids, (c,).
        similarities: their cosines, (queries, c).
        k: how many.
    """
    if len(similarities) == 1 and len(ids) <= 4 * k:  # as among the contenders of one query
        found = sorted(zip(similarities[0].tolist(), ids.tolist(), strict=True), key=lambda one: (-one[0], one[1]))
        return [[Neighbour(entry_id, max(-1.0, min(1.0, similarity))) for similarity, entry_id in found[:k]]]
    every = np.arange(len(similarities))[:, None]
    if len(ids) > 4 * k:
        places = _largest(similarities, k) if k <= _FEW else np.argpartition(-similarities, k - 1, axis=1)[:, :k]
        ids, similarities = ids[places], similarities[every, places]
    else:
        ids = np.broadcast_to(ids, similarities.shape)
    order = np.lexsort((ids, -similarities), axis=1)[:, :k]
    nearest = np.minimum(np.maximum(similarities[every, order], np.float32(-1)), np.float32(1))
    return [
        [Neighbour(entry_id, similarity) for entry_id, similarity in zip(row_ids, row, strict=True)]
        for row_ids, row in zip(ids[every, order].tolist(), nearest.tolist(), strict=True)
    ]


def contenders(products: NDArray[np.float32], k: int, errors: NDArray[np.float32]) -> NDArray[np.int64]:
    """The rows that can be among the `k` nearest of any query, ascending; no others of use are left out.

    The k-th largest of the groups' largest is at most the k-th largest of all, so that a row further below it than
    twice the query's error isn't among the nearest.

    Args:
        products: what approximates the cosines, (rows, queries).
        k: at most the rows.
        errors: by how much each query's products can differ from its cosines, (queries,).
    """
    count = len(products)
    groups = min(count, max(_GROUPS, 4 * k))
    even = count // groups * groups
    grouped = products[:even].reshape(-1, groups, products.shape[1])
    largest = np.maximum.reduce(grouped, axis=0)
    least = np.partition(largest, groups - k, axis=0)[groups - k] - 2 * errors
    if products.shape[1] == 1:
        return np.flatnonzero(products[:, 0] >= least[0])
    near, query = np.nonzero(largest >= least)
    layer, place = np.nonzero(grouped[:, near, query] >= least[query])
    found = np.zeros(count, dtype=bool)
    found[layer * groups + near[place]] = True
    np.logical_or.reduce(products[even:] >= least, axis=1, out=found[even:])
    return np.flatnonzero(found)


def _largest(similarities: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Where the `k` largest of each row are, largest first, (rows, k)."""
    left = similarities.copy()
    found = np.empty((len(left), k), dtype=np.int64)
    every = np.arange(len(left))
    for rank in range(k):
        found[:, rank] = left.argmax(axis=1)
        left[every, found[:, rank]] = -np.inf
    return found
