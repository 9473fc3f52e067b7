"""The exact vectors of one partition, packed: ids beside rows, removal moves the last row into the hole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_GROWTH = 1.0625
"""A larger factor would waste memory that is promised per entry; a large block grows in place (mremap)."""
_MIN_SPARE = 4


class Rows:
    """A growing matrix of unit vectors with their entry ids. Not thread-safe."""

    def __init__(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        count = len(ids)
        self._ids = np.array(ids, dtype=np.int64)
        self._matrix = np.array(vectors, dtype=np.float32, order="C")
        self._row = dict(zip(self._ids.tolist(), range(count), strict=True))
        self._count = count
        if len(self._row) != count:
            raise ValueError("an entry id occurs twice in one partition")

    def __len__(self) -> int:
        return self._count

    def __contains__(self, entry_id: int) -> bool:
        return entry_id in self._row

    @property
    def ids(self) -> NDArray[np.int64]:
        """Entry ids, (n,); a view that the next change invalidates."""
        return self._ids[: self._count]

    @property
    def matrix(self) -> NDArray[np.float32]:
        """Vectors, (n, dimension); a view that the next change invalidates."""
        return self._matrix[: self._count]

    def add(self, entry_id: int, vector: NDArray[np.float32]) -> None:
        """Adds a vector, or replaces the one under the same id."""
        row = self._row.get(entry_id)
        if row is None:
            row = self._count
            self._reserve(row + 1)
            self._ids[row] = entry_id
            self._row[entry_id] = row
            self._count += 1
        self._matrix[row] = vector

    def remove(self, entry_id: int) -> bool:
        """Removes a vector; False when there is none under the id."""
        row = self._row.pop(entry_id, None)
        if row is None:
            return False
        last = self._count - 1
        if row != last:
            moved = int(self._ids[last])
            self._ids[row] = moved
            self._matrix[row] = self._matrix[last]
            self._row[moved] = row
        self._count = last
        return True

    def gather(self, entry_ids: Sequence[int]) -> NDArray[np.float32]:
        """Vectors of ids that are all there, (len(entry_ids), dimension); a copy."""
        rows = np.fromiter((self._row[entry_id] for entry_id in entry_ids), dtype=np.int64, count=len(entry_ids))
        return self._matrix[rows]

    def sample(self, size: int, seed: int) -> NDArray[np.float32]:
        """A copy of `size` vectors drawn without replacement, or of all when there are fewer."""
        if size >= self._count:
            return self.matrix.copy()
        chosen = np.random.default_rng(seed).choice(self._count, size=size, replace=False)
        return self._matrix[np.sort(chosen)]

    def _reserve(self, count: int) -> None:
        if count <= len(self._ids):
            return
        capacity = max(count + _MIN_SPARE, int(count * _GROWTH))
        # No view outlives a call into a partition, so the check for other references would only refuse in vain.
        self._ids.resize(capacity, refcheck=False)
        self._matrix.resize((capacity, self._matrix.shape[1]), refcheck=False)
