"""One partition in memory: exact rows always, and by size a FAISS index over them that proposes candidates."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
import structlog
from numpy.typing import NDArray

from semcache.index import bfloat16
from semcache.index.gpu import DeviceFlat
from semcache.index.ivf import IvfCodes
from semcache.index.nearest import contenders, neighbours
from semcache.index.rows import Rows
from semcache.model import Neighbour

_log = structlog.get_logger(__name__)
_RETRAIN_GROWTH = 4
"""An IVF index is trained anew when the partition has grown by this factor: its lists have become too long."""
_PRODUCT_FROM = 2
"""Queries from which a matrix product beats FAISS. Measured on 10,000 × 384 floats, one thread: 2 queries take 0.5 ms
and 1.15 ms, 32 take 2.2 ms and 9.8 ms, since FAISS hands its BLAS the few queries as the long side."""
_SMALL_PRODUCT = 2048
"""Rows × queries up to which OpenBLAS multiplies matrices where they stand, on processors with AVX-512; larger ones it
copies first, and for few queries that takes longer than the product: 4 queries 1.0 ms instead of 0.55, 16 queries 1.4
instead of 1.1. Elsewhere it makes no difference."""
_FEW_QUERIES = 32
"""Queries up to which products so small are worth it: 32 take 1.8 ms instead of 2.1, 48 take 2.7 either way."""
_PRODUCT_CELLS = 1 << 22
"""Similarities in memory at once: 16 MiB."""
_ROUNDED_FROM = 4096
"""Vectors from which bfloat16 products come first. Fewer lie in the processor's cache, where float32 is faster: a query
among 1,000 takes 0.05 ms and 32 take 0.33, in bfloat16 0.11 and 0.51; among 4,000 it is 0.26 and 1.0, 0.31 and 0.76.
"""
_EXHAUSTIVE_FROM, _EXHAUSTIVE_ROWS = 2, 12_500
"""Queries from which bfloat16 products of all vectors take less than IVF's lists, which are looked through for each
query alone: so many, and one for each so many vectors. Measured with AMX, one thread: 32 queries of 20,000 take 2.0 ms
instead of 9.7, of 100,000 they take 9.4 instead of 19.8; 10 of 100,000 take as long either way."""
_EXHAUSTIVE_MOST = _PRODUCT_CELLS // 32
"""Vectors up to which 32 queries still go in one product."""
_DENSE_SEARCHES = 16
_DENSE, _DENSE_QUERIES = 256, 8
"""A partition is dense when in so many searches in a row more vectors contend than (8 + queries) / 256 of all, as where
all texts share most of their words: to look at them takes longer than float32 does from the start. Of 8,000 vectors one
query may find 3 %, 32 together 15 %, 128 half."""
_SHRINK = 2
"""An index is dropped when the partition has shrunk this far below its limit: a margin, so that it doesn't flap."""


@dataclass(frozen=True, slots=True)
class Plan:
    """From which sizes on a partition is searched in which way.

    Attributes:
        numpy_below: vectors below which a matrix product is enough.
        ivf_above: vectors above which IVF proposes candidates; None for never.
        gpu_from: vectors from which a GPU searches; None without one.
        gpu_empty: makes an empty flat index on the GPU.
        nprobe: lists searched per query.
        overfetch: IVF candidates per wanted neighbour.
        rounded_product: products of bfloat16 vectors, as `Bfloat16Product`; None where float32 is as fast.
        rounded_from: vectors from which they are used.
    """

    numpy_below: int
    ivf_above: int | None
    gpu_from: int | None
    gpu_empty: Callable[[], Any] | None
    nprobe: int
    overfetch: int
    rounded_product: Callable[[NDArray[np.uint16], NDArray[np.uint16]], NDArray[np.float32]] | None = None
    rounded_from: int = _ROUNDED_FROM


class Partition:
    """The vectors of one partition. Used by the index's worker alone.

    Attributes:
        training: an IVF index is being trained, or failed to be and isn't tried again.
        counted: kind and size as `Residents` last counted them.
    """

    def __init__(self, plan: Plan, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        self._plan = plan
        self._dense = 0  # searches in a row that found too many contenders
        self._rows = Rows(ids, vectors, split=self._splits(len(ids), split=False))
        self._ivf: IvfCodes | None = None
        self._building: _Building | None = None
        self._gpu: DeviceFlat | None = None
        self.training = False
        self.counted = ("", 0)
        self._follow_size()

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def kind(self) -> str:
        """How it is searched now: numpy, flat, ivf or gpu."""
        if self._gpu is not None:
            return "gpu"
        if self._ivf is not None:
            return "ivf"
        return "numpy" if len(self._rows) < self._plan.numpy_below else "flat"

    def search(self, queries: NDArray[np.float32], k: int) -> list[list[Neighbour]]:
        """Up to `k` nearest of each query (m, dimension), by exact cosine."""
        count = len(self._rows)
        k = min(k, count)
        if k == 0:
            return [[] for _ in queries]
        if self._gpu is not None:
            return self._rescore(queries, self._gpu.candidates(queries, k), k)
        if self._ivf is not None and not self._exhaustive_is_faster(len(queries)):
            wanted = self._plan.overfetch * k
            proposed = self._ivf.candidates(queries, wanted, self._plan.nprobe)
            live = [[entry_id for entry_id in row if entry_id >= 0] for row in proposed.tolist()]
            if all(len(row) >= k for row in live):
                return self._rescore(queries, live, k)
            # The lists that were probed held too few: rare (k near the partition's size), and exact search is right.
        ids = self._rows.ids
        if count < self._plan.numpy_below:
            return neighbours(ids, queries @ self._rows.matrix.T, k)
        if not self._rows.split and len(queries) < _PRODUCT_FROM:
            similarities, positions = faiss.knn(queries, self._rows.matrix, k, metric=faiss.METRIC_INNER_PRODUCT)
            return [neighbours(ids[at], row[None, :], k)[0] for at, row in zip(positions, similarities, strict=True)]
        step = max(1, _PRODUCT_CELLS // count)
        found: list[list[Neighbour]] = []
        for start in range(0, len(queries), step):
            found.extend(self._by_product(queries[start : start + step], k))
        return found

    def _exhaustive_is_faster(self, queries: int) -> bool:
        """Whether looking at all vectors takes less time than IVF does, and finds the nearest for certain."""
        count = len(self._rows)
        return self._rows.split and count <= _EXHAUSTIVE_MOST and queries >= _EXHAUSTIVE_FROM + count / _EXHAUSTIVE_ROWS

    def _by_product(self, queries: NDArray[np.float32], k: int) -> list[list[Neighbour]]:
        """Products with the many rows on the left: BLAS is up to three times as fast as with the few queries there."""
        ids, multiply = self._rows.ids, self._plan.rounded_product
        if multiply is None or not self._rows.split:
            rows = self._rows.matrix
        else:
            rounded = bfloat16.split(queries)[0]
            products = multiply(self._rows.rounded, rounded)[: len(ids)]
            errors = bfloat16.product_errors(self._rows.rounding_error, queries, rounded)
            places = contenders(products, k, errors)
            ids, rows = ids[places], self._rows.take(places)
            self._give_rounding_up(len(places), len(queries))
        return neighbours(ids, np.ascontiguousarray(product(rows, queries).T), k)

    def _give_rounding_up(self, contending: int, queries: int) -> None:
        """Joins the vectors for good when time and again too many are as near as rounded products can tell."""
        dense = contending * _DENSE > (_DENSE_QUERIES + queries) * len(self._rows)
        self._dense = self._dense + 1 if dense else 0
        if self._dense == _DENSE_SEARCHES:
            self._plan = dataclasses.replace(self._plan, rounded_product=None)
            self._follow_size()

    def _rescore(
        self, queries: NDArray[np.float32], candidates: Sequence[Sequence[int]], k: int
    ) -> list[list[Neighbour]]:
        found = []
        for query, ids in zip(queries, candidates, strict=True):
            similarities = query[None, :] @ self._rows.gather(ids).T
            found.extend(neighbours(np.array(ids, dtype=np.int64), similarities, k))
        return found

    def add(self, entry_id: int, vector: NDArray[np.float32]) -> None:
        """Adds a vector or replaces the one under the same id."""
        if entry_id in self._rows:
            if np.array_equal(self._rows.gather([entry_id])[0], vector):
                return  # the load's snapshot held it already
            self.remove(entry_id)
        self._rows.add(entry_id, vector)
        ids, vectors = np.array([entry_id], dtype=np.int64), np.asarray(vector, dtype=np.float32)[None, :]
        if self._ivf is not None:
            self._ivf.add(ids, vectors)
        if self._building is not None:
            self._building.add(ids, vectors)
        if self._gpu is not None:
            self._gpu.add(ids, vectors)
        self._follow_size()

    def remove(self, entry_id: int) -> None:
        """Removes a vector; an unknown id is ignored."""
        if not self._rows.remove(entry_id):
            return
        if self._ivf is not None:
            self._ivf.remove([entry_id])
        if self._building is not None:
            self._building.remove(entry_id)
        if self._gpu is not None:
            self._gpu.remove(entry_id)
            if self._gpu.wants_rebuild:
                self._gpu = None
        self._follow_size()

    @property
    def wants_training(self) -> bool:
        """Whether an IVF index should be trained now."""
        above = self._plan.ivf_above
        if above is None or self.training or self._building is not None or len(self._rows) <= above:
            return False
        return self._ivf is None or len(self._rows) > _RETRAIN_GROWTH * self._ivf.trained_for

    def sample(self, size: int) -> NDArray[np.float32]:
        """A copy of some vectors, to train on."""
        return self._rows.sample(size, seed=len(self._rows))

    def begin_filling(self, trained: IvfCodes) -> None:
        """Takes a trained, empty index; `fill` fills it, changes meanwhile reach it at once."""
        self.training = False
        self._building = _Building(trained, self._rows.ids.copy())

    @property
    def filling(self) -> bool:
        """Whether an index is being filled."""
        return self._building is not None

    def fill(self, count: int) -> None:
        """Goes on with the next `count` vectors of the index being filled, and swaps it in when it holds all."""
        building = self._building
        if building is None:
            return
        building.advance(count, self._rows)
        if building.finished:
            self._building = None
            self._ivf = building.codes
            self._follow_size()

    def _splits(self, count: int, *, split: bool) -> bool:
        """Whether so many vectors are split, when they are or aren't now."""
        return self._plan.rounded_product is not None and count * (_SHRINK if split else 1) >= self._plan.rounded_from

    def _follow_size(self) -> None:
        count, plan = len(self._rows), self._plan
        if self._ivf is not None and (plan.ivf_above is None or count * _SHRINK < plan.ivf_above):
            self._ivf = None
        split = self._splits(count, split=self._rows.split)
        if split != self._rows.split:
            self._rows = Rows(self._rows.ids, self._rows.matrix, split=split)
        if plan.gpu_from is None or plan.gpu_empty is None:
            return
        if self._gpu is None and count >= plan.gpu_from:
            try:
                self._gpu = DeviceFlat(plan.gpu_empty, self._rows.ids, self._rows.matrix)
            except RuntimeError as error:  # how faiss reports that the device's memory is full
                _log.warning("index_gpu_failed", vectors=count, error=str(error), effect="searched on the CPU")
                self._plan = dataclasses.replace(plan, gpu_empty=None)
        elif self._gpu is not None and count * _SHRINK < plan.gpu_from:
            self._gpu = None


def product(rows: NDArray[np.float32], queries: NDArray[np.float32]) -> NDArray[np.float32]:
    """Inner products, (rows, queries)."""
    count, few = rows.shape[0], queries.shape[0]
    if not 0 < few <= _FEW_QUERIES:
        return rows @ queries.T
    block = _SMALL_PRODUCT // few
    even = count // block * block
    columns = np.ascontiguousarray(queries.T)
    found = np.empty((count, few), dtype=np.float32)
    np.matmul(rows[:even].reshape(-1, block, rows.shape[1]), columns, out=found[:even].reshape(-1, block, few))
    np.matmul(rows[even:], columns, out=found[even:])
    return found


class _Building:
    """An IVF index between its training and its swap, made in two rounds over a snapshot of the ids.

    The first finds each vector's list, so that the lists are allocated once; the second fills them. Changes since the
    snapshot reach `codes` at once, and the rounds pass over what they touched.
    """

    def __init__(self, codes: IvfCodes, snapshot: NDArray[np.int64]) -> None:
        self.codes = codes
        self._snapshot = snapshot
        self._lists = np.full(len(snapshot), -1, dtype=np.int64)
        self._next = 0
        self._filling = False
        self._added: set[int] = set()  # since the snapshot: already in `codes`

    @property
    def finished(self) -> bool:
        return self._filling and self._next >= len(self._snapshot)

    def add(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        self._added.update(ids.tolist())
        self.codes.add(ids, vectors)

    def remove(self, entry_id: int) -> None:
        self._added.discard(entry_id)
        self.codes.remove([entry_id])

    def advance(self, count: int, rows: Rows) -> None:
        """Goes on with the next `count` ids."""
        chunk = slice(self._next, self._next + count)
        self._next += count
        ids, lists = self._snapshot[chunk], self._lists[chunk]
        wanted = np.array([i in rows and i not in self._added for i in ids.tolist()], dtype=bool)
        if self._filling:
            wanted &= lists >= 0  # what had gone in the first round and came back was added since
        ids = ids[wanted]
        if len(ids) and self._filling:
            self.codes.add_to(lists[wanted], ids, rows.gather(ids.tolist()))
        elif len(ids):
            lists[wanted] = self.codes.lists_of(rows.gather(ids.tolist()))
        if not self._filling and self._next >= len(self._snapshot):
            self.codes.reserve(self._lists[self._lists >= 0])
            self._filling, self._next = True, 0
