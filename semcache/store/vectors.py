"""The port `Vectors` over LMDB: the vectors of a partition lie side by side and are read in one pass."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from semcache.store import layout
from semcache.store.core import Core


class LmdbVectors:
    """Stored vectors on disk, by partition. `load` runs on a worker thread, the others on the event loop."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def has(self, partition: bytes) -> bool:
        """Return whether any vector lies in the partition (32 bytes)."""
        with self._core.env.begin() as txn, txn.cursor(db=self._core.dbs.vectors) as cursor:
            return cursor.set_range(partition) and cursor.key().startswith(partition)

    async def count(self, partition: bytes) -> int:
        """Return how many vectors lie in the partition. This walks over their keys."""
        with self._core.env.begin(buffers=True) as txn, txn.cursor(db=self._core.dbs.vectors) as cursor:
            count = 0
            more = cursor.set_range(partition)
            while more and cursor.key()[: len(partition)] == partition:
                count += 1
                more = cursor.next()
            return count

    def load(self, partition: bytes) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Read all vectors of a partition: ids (n,) ascending and unit vectors (n, dimension).

        A vector whose length differs from that of most is damaged: it is left out and counted.

        Raises:
            StoreError: the store is closed.
        """
        with self._core.long_read():
            return self._load(partition)

    def _load(self, partition: bytes) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        # The vectors go straight from the map into their place. A list of 100,000 byte strings would enlarge the
        # process for good.
        with self._core.env.begin(buffers=True) as txn, txn.cursor(db=self._core.dbs.vectors) as cursor:
            lengths: Counter[int] = Counter()
            more = cursor.set_range(partition)
            while more and cursor.key()[: len(partition)] == partition:
                lengths[len(cursor.value())] += 1
                more = cursor.next()
            usual, count = max(
                ((length, n) for length, n in lengths.items() if length and length % 4 == 0),
                key=lambda item: item[1],
                default=(0, 0),
            )
            self._core.note_damaged_vectors(lengths.total() - count)
            ids = np.empty(count, dtype=np.int64)
            vectors = np.empty((count, usual // 4), dtype=np.float32)
            row = 0
            more = count > 0 and cursor.set_range(partition)
            while row < count and more:
                value = cursor.value()
                if len(value) == usual:
                    ids[row] = layout.unpack_id(bytes(cursor.key()[-8:]))
                    vectors[row] = np.frombuffer(value, dtype=np.float32)
                    row += 1
                more = cursor.next()
        return ids, vectors
