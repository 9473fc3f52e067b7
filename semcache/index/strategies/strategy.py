"""What every way of searching a partition can do."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from semcache.model import Neighbour


class Strategy(Protocol):
    """One way to search one partition. Not thread-safe."""

    def search(self, queries: NDArray[np.float32], k: int) -> list[list[Neighbour]]:
        """Return the `k` nearest of each unit vector (m, dimension) with exact cosines, nearest first.

        `k` is at least 1 and at most the vectors in the partition.
        """
        ...


class HoldingStrategy(Strategy, Protocol):
    """A strategy with its own copy of the vectors, which therefore follows every change of the partition."""

    def add(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Add vectors (n, dimension) under ids that aren't there yet, after the partition's rows have them."""
        ...

    def remove(self, entry_id: int) -> None:
        """Remove a vector, after the partition's rows have; an unknown id is ignored."""
        ...
