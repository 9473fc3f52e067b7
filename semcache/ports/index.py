"""Nearest neighbours within one partition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from semcache.model import Changes, IndexStats, Neighbour, Vector


class VectorIndex(Protocol):
    """Nearest neighbours within one partition; derived from the store, loaded when first searched."""

    async def search(self, partition: bytes, vector: Vector, k: int) -> Sequence[Neighbour]:
        """Return up to `k` nearest entries by exact cosine, nearest first; none for a partition without vectors.

        Raises:
            OverloadedError: too many searches wait.
            ShuttingDownError: the index is closed.
            ValueError: `k` is below 1 or `vector` has another length.
            Exception: what the store raised when the partition was loaded.
        """
        ...

    def apply(self, changes: Changes) -> None:
        """Follow one commit of the store: add, then remove, in the partitions that are loaded. Never blocks."""
        ...

    def queue_depth(self) -> int:
        """Return how many searches wait."""
        ...

    def stats(self) -> IndexStats:
        """Return how many partitions and vectors are in memory, by the way they are searched and together."""
        ...

    async def close(self) -> None:
        """Stop the workers and free memory."""
        ...
