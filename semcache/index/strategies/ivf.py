"""Search by inverted lists for large partitions on a CPU: 8-bit codes propose, exact cosines decide."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semcache.index.rows import Rows
from semcache.index.strategies.flat import Flat
from semcache.index.strategies.ivf_codes import IvfCodes
from semcache.index.strategies.rescoring import rescore
from semcache.model import Neighbour


class Ivf:
    """Candidates from the nearest lists, rescored exactly.

    Args:
        codes: a filled index over the same entries as `rows`.
        rows: the partition's vectors.
        nprobe: lists searched for each query.
        overfetch: candidates for each wanted neighbour.
        flat: exact search of the same rows, for a query whose lists hold fewer than `k` entries. That is rare: `k` is
            then near the partition's size.
    """

    def __init__(self, codes: IvfCodes, rows: Rows, *, nprobe: int, overfetch: int, flat: Flat) -> None:
        self._codes = codes
        self._rows = rows
        self._nprobe = nprobe
        self._overfetch = overfetch
        self._flat = flat

    @property
    def trained_for(self) -> int:
        """Vectors in the partition when this index was trained."""
        return self._codes.trained_for

    def search(self, queries: NDArray[np.float32], k: int) -> list[list[Neighbour]]:
        """Return the `k` nearest proposed entries of each unit vector (m, dimension) with exact cosines."""
        proposed = self._codes.candidates(queries, self._overfetch * k, self._nprobe)
        candidates = [[entry_id for entry_id in row if entry_id >= 0] for row in proposed.tolist()]
        if any(len(row) < k for row in candidates):
            return self._flat.search(queries, k)
        return rescore(self._rows, queries, candidates, k)

    def add(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Add vectors (n, dimension) under ids that aren't there yet."""
        self._codes.add(ids, vectors)

    def remove(self, entry_id: int) -> None:
        """Remove a vector; an unknown id is ignored."""
        self._codes.remove([entry_id])
