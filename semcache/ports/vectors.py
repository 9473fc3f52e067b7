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

    async def count(self, partition: bytes) -> int:
        """Return how many vectors lie in the partition."""
        ...

    def load(self, partition: bytes) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Read all vectors of a partition: ids (n,) ascending and unit vectors (n, dimension).

        This blocks for as long as reading takes, so it is called on the index's worker thread, never on the event loop.

        Raises:
            StoreError: the store is closed.
        """
        ...
