"""From candidate rows to neighbours: exact cosines, nearest first, the older entry first among equals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semcache.index.tuning import TUNING
from semcache.model import MAX_SIMILARITY, Neighbour


def neighbours(ids: NDArray[np.int64], similarities: NDArray[np.float32], k: int) -> list[list[Neighbour]]:
    """Return the `k` nearest of the candidates for each query.

    Args:
        ids: entry ids, (c,).
        similarities: their cosines, (queries, c).
        k: how many.
    """
    if len(similarities) == 1 and len(ids) <= 4 * k:  # as among the contenders of one query
        pairs = sorted(zip(similarities[0].tolist(), ids.tolist(), strict=True), key=lambda pair: (-pair[0], pair[1]))
        return [[Neighbour(entry_id, _cosine(product)) for product, entry_id in pairs[:k]]]
    if len(ids) <= 4 * k:
        return sorted_neighbours(np.broadcast_to(ids, similarities.shape), similarities, k)
    if k <= TUNING.few_neighbours:
        places = _largest(similarities, k)
    else:
        places = np.argpartition(-similarities, k - 1, axis=1)[:, :k]
    return sorted_neighbours(ids[places], np.take_along_axis(similarities, places, axis=1), k)


def sorted_neighbours(ids: NDArray[np.int64], similarities: NDArray[np.float32], k: int) -> list[list[Neighbour]]:
    """Return the `k` nearest of each query's own candidates, clipped to [-1, 1]: rounding carries cosines past it.

    A product that no two unit vectors have (above `MAX_SIMILARITY`, or NaN) becomes -1: a damaged vector is far away.

    Args:
        ids: entry ids, (queries, c).
        similarities: their cosines, (queries, c).
        k: how many.
    """
    order = np.lexsort((ids, -similarities), axis=1)[:, :k]
    every = np.arange(len(order))[:, None]
    products = similarities[every, order]
    nearest = np.clip(np.where(products <= MAX_SIMILARITY, products, np.float32(-1)), np.float32(-1), np.float32(1))
    return [
        [Neighbour(entry_id, similarity) for entry_id, similarity in zip(row_ids, row, strict=True)]
        for row_ids, row in zip(ids[every, order].tolist(), nearest.tolist(), strict=True)
    ]


def contenders(
    products: NDArray[np.float32], k: int, errors: NDArray[np.float32], *, groups: int = TUNING.groups
) -> NDArray[np.int64]:
    """Return the rows that can be among the `k` nearest of any query, ascending.

    The rows are divided into groups. The k-th largest of the groups' largest products is at most the k-th largest of
    all. A row that lies further below it than twice the query's error isn't among the nearest.

    Args:
        products: approximations of the cosines, (rows, queries).
        k: neighbours wanted, at most the rows.
        errors: by how much each query's products can differ from its cosines, (queries,).
        groups: groups of rows; at least 4 for each neighbour are made.
    """
    count = len(products)
    groups = min(count, max(groups, 4 * k))
    even = count // groups * groups
    grouped = products[:even].reshape(-1, groups, products.shape[1])
    largest = np.maximum.reduce(grouped, axis=0)
    least = np.partition(largest, groups - k, axis=0)[groups - k] - 2 * errors
    if products.shape[1] == 1:
        return np.flatnonzero(products[:, 0] >= least[0])
    near, query = np.nonzero(largest >= least)
    layer, place = np.nonzero(grouped[:, near, query] >= least[query])
    contending = np.zeros(count, dtype=bool)
    contending[layer * groups + near[place]] = True
    np.logical_or.reduce(products[even:] >= least, axis=1, out=contending[even:])
    return np.flatnonzero(contending)


def _cosine(product: float) -> float:
    """Return a product clipped to [-1, 1]; -1 for one that no two unit vectors have, above all NaN."""
    return max(-1.0, min(1.0, product)) if product <= MAX_SIMILARITY else -1.0


def _largest(similarities: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Return where the `k` largest of each row are, largest first, (rows, k)."""
    remaining = similarities.copy()
    places = np.empty((len(remaining), k), dtype=np.int64)
    every = np.arange(len(remaining))
    for rank in range(k):
        places[:, rank] = remaining.argmax(axis=1)
        remaining[every, places[:, rank]] = -np.inf
    return places
