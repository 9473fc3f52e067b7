"""FAISS's inverted lists with 8-bit codes: training, filling and the ids that they propose."""

from __future__ import annotations

import math
from collections.abc import Iterable

import faiss
import numpy as np
from numpy.typing import NDArray

from semcache.index.tuning import TUNING, IndexTuning


def lists_for(count: int) -> int:
    """Return the number of inverted lists for `count` vectors: the square root.

    Twice as many lists are a fifth faster to search, find less and take 2.3 times as long to train
    (`benchmarks/README.md`, "The index's numbers").
    """
    return max(1, round(math.sqrt(count)))


def samples_for(count: int, tuning: IndexTuning = TUNING) -> int:
    """Return how many of `count` vectors to train on."""
    return min(count, tuning.samples_per_list * lists_for(count))


def train(sample: NDArray[np.float32], count: int, *, threads: int, tuning: IndexTuning = TUNING) -> IvfCodes:
    """Return an empty, trained index for about `count` vectors. Takes seconds of one core: for a thread of its own.

    Args:
        sample: vectors to train on, (n, dimension).
        count: vectors that the index will hold.
        threads: of OpenMP, which keeps this number for each thread.
        tuning: the numbers that aren't settings.
    """
    faiss.omp_set_num_threads(threads)
    dimension = sample.shape[1]
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(dimension),
        dimension,
        lists_for(count),
        faiss.ScalarQuantizer.QT_8bit,
        faiss.METRIC_INNER_PRODUCT,
    )
    index.cp.niter = tuning.training_iterations
    index.cp.min_points_per_centroid = 1
    index.train(sample)
    # A hash table finds an id's place at once; without it a removal scans every list.
    index.set_direct_map_type(faiss.DirectMap.Hashtable)  # type: ignore[attr-defined]  # the stub lacks it
    return IvfCodes(index, trained_for=count, tuning=tuning)


class IvfCodes:
    """A trained IVF index over entry ids. Not thread-safe.

    Args:
        index: FAISS's, trained.
        trained_for: vectors in the partition at its training.
        tuning: the numbers that aren't settings.
    """

    def __init__(self, index: faiss.IndexIVFScalarQuantizer, *, trained_for: int, tuning: IndexTuning = TUNING) -> None:
        self._index = index
        self._tuning = tuning
        self.trained_for = trained_for

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def add(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Add vectors (n, dimension) under ids that aren't there yet."""
        self._index.add_with_ids(vectors, ids)

    def lists_of(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the list that each vector (n, dimension) belongs to, (n,)."""
        _, lists = self._index.quantizer.search(vectors, 1)
        nearest: NDArray[np.int64] = lists[:, 0]
        return nearest

    def reserve(self, lists: NDArray[np.int64]) -> None:
        """Make room for vectors of these lists, once.

        Lists that grow by doubling hold half as much again, and leave their smaller selves in the allocator.
        """
        held = faiss.downcast_InvertedLists(self._index.invlists)  # type: ignore[arg-type]  # it always has lists
        for number, count in enumerate(np.bincount(lists, minlength=self._index.nlist).tolist()):
            size = held.list_size(number)
            held.resize(number, size + count + count // self._tuning.list_slack_parts + 1)
            held.resize(number, size)

    def add_to(self, lists: NDArray[np.int64], ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Add vectors (n, dimension) under new ids to the lists that `lists_of` returned; all arrays contiguous."""
        self._index.add_core(len(ids), faiss.swig_ptr(vectors), faiss.swig_ptr(ids), faiss.swig_ptr(lists))

    def remove(self, ids: Iterable[int]) -> None:
        """Remove ids; unknown ones are ignored."""
        self._index.remove_ids(faiss.IDSelectorArray(np.fromiter(ids, dtype=np.int64)))

    def candidates(self, queries: NDArray[np.float32], count: int, nprobe: int) -> NDArray[np.int64]:
        """Return ids near each query, (m, count), filled up with -1."""
        self._index.nprobe = min(nprobe, int(self._index.nlist))
        _, ids = self._index.search(queries, min(count, max(1, len(self))))
        proposed: NDArray[np.int64] = ids
        return proposed
