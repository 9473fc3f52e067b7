"""Stored vectors, from which the index is derived."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Vectors(Protocol):
    """Vectors by partition. They are written and deleted with their entries (see `Entries`)."""

    async def has(self, partition: bytes) -> bool:
        """Return whether any vector lies in the partition (32 bytes)."""
        ...

    async def count(self, partition: bytes, after: int, limit: int) -> tuple[int, int]:
        """Count up to `limit` vectors of the partition with an id above `after`; return the number and the last id.

        `after` comes back where there is none. Counting takes a millisecond for a thousand vectors.
        """
        ...

    def load(self, partition: bytes) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Read all vectors of a partition: ids (n,) ascending and unit vectors (n, dimension).

        This blocks for as long as reading takes, so it is called on the index's worker thread, never on the event loop.

        Raises:
            StoreError: the store is closed.
        """
        ...
