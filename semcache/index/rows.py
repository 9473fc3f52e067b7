"""The exact vectors of one partition, packed: ids beside rows; a removal moves the last row into the hole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semcache.index import bfloat16
from semcache.index.tuning import TUNING


class Rows:
    """A growing matrix of unit vectors with their entry ids. Not thread-safe.

    Args:
        ids: entry ids, (n,), each once.
        vectors: their vectors, (n, dimension); copied.
        split: whether vectors are kept as their bfloat16 and the lower halves of their float32. That takes the same
            memory, gives back the same bits, and offers `rounded`.

    Attributes:
        split: whether they are kept so now.
        rounding_error: of split vectors, the largest of `bfloat16.rounding_errors` so far.

    Raises:
        ValueError: an id occurs twice.
    """

    def __init__(self, ids: NDArray[np.int64], vectors: NDArray[np.float32], *, split: bool = False) -> None:
        count = len(ids)
        self._ids = np.empty(room_for(count), dtype=np.int64)
        self._ids[:count] = ids
        self._row = dict(zip(self._ids[:count].tolist(), range(count), strict=True))
        self._count = count
        if len(self._row) != count:
            raise ValueError("an entry id occurs twice in one partition")
        self._fill(vectors, split=split)

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
        """Vectors, (n, dimension); a view that the next change invalidates, or a copy where they are split."""
        return self.take(slice(0, self._count))

    @property
    def rounded(self) -> NDArray[np.uint16]:
        """Split vectors as bfloat16, (`room_for(n)`, dimension); rows from n on mean nothing."""
        high: NDArray[np.uint16] = self._planes[0]
        return high[: room_for(self._count)]

    def keep(self, *, split: bool) -> None:
        """Change whether the vectors are kept split; nothing happens where they are so already."""
        if split != self.split:
            self._fill(self.matrix, split=split)

    def add(self, entry_id: int, vector: NDArray[np.float32]) -> None:
        """Add a vector, or replace the one under the same id."""
        row = self._row.get(entry_id)
        if row is None:
            row = self._count
            self._reserve(row + 1)
            self._ids[row] = entry_id
            self._row[entry_id] = row
            self._count += 1
        self._write(row, vector)

    def remove(self, entry_id: int) -> bool:
        """Remove a vector; False where there is none under the id."""
        row = self._row.pop(entry_id, None)
        if row is None:
            return False
        last = self._count - 1
        if row != last:
            moved = int(self._ids[last])
            self._ids[row] = moved
            for plane in self._planes:
                plane[row] = plane[last]
            self._row[moved] = row
        self._count = last
        return True

    def gather(self, entry_ids: Sequence[int]) -> NDArray[np.float32]:
        """Return the vectors of ids that are all there, (len(entry_ids), dimension); a copy."""
        rows = np.fromiter((self._row[entry_id] for entry_id in entry_ids), dtype=np.int64, count=len(entry_ids))
        return self.take(rows)

    def take(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """Return vectors by their places in `ids`, (rows, dimension); a copy but for a slice that isn't split."""
        if self.split:
            high, low = self._planes
            return bfloat16.join(high[rows], low[rows])
        vectors: NDArray[np.float32] = self._planes[0][rows]
        return vectors

    def sample(self, size: int, seed: int) -> NDArray[np.float32]:
        """Return a copy of `size` vectors drawn without replacement, or of all where there are fewer."""
        if size >= self._count:
            return self.matrix.copy()
        chosen = np.random.default_rng(seed).choice(self._count, size=size, replace=False)
        return self.take(np.sort(chosen))

    def _fill(self, vectors: NDArray[np.float32], *, split: bool) -> None:
        """Allocate memory for all rows and write `vectors`, (n, dimension), into it."""
        self.split = split
        self.rounding_error = 0.0
        shape = (len(self._ids), vectors.shape[1])
        # Zeros, since the spare rows of `rounded` are multiplied too.
        self._planes: tuple[NDArray[Any], ...] = (
            (np.zeros(shape, np.uint16), np.zeros(shape, np.uint16)) if split else (np.zeros(shape, np.float32),)
        )
        step = TUNING.split_rows
        for start in range(0, self._count, step):
            end = min(start + step, self._count)
            self._write(slice(start, end), vectors[start:end])

    def _write(self, rows: int | slice, vectors: NDArray[np.float32]) -> None:
        if not self.split:
            self._planes[0][rows] = vectors
            return
        vectors = np.atleast_2d(vectors)
        parts = bfloat16.split(vectors)
        for plane, part in zip(self._planes, parts, strict=True):
            plane[rows] = part
        self.rounding_error = max(self.rounding_error, float(bfloat16.rounding_errors(vectors, parts[0]).max()))

    def _reserve(self, count: int) -> None:
        if count <= len(self._ids):
            return
        room = room_for(count)
        # No view outlives a call into a partition: the check for other references would refuse for nothing.
        self._ids.resize(room, refcheck=False)
        for plane in self._planes:
            plane.resize((room, plane.shape[1]), refcheck=False)


def room_for(count: int) -> int:
    """Return the rows that are allocated for `count` vectors: up to a sixteenth more.

    More would waste memory that is promised for each entry, and a large block grows in place (mremap). Few different
    sizes are wanted too, since a bfloat16 product is compiled for each.
    """
    step = max(1, 1 << count.bit_length() >> 5)
    return -(-count // step) * step
