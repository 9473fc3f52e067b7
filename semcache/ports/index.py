"""Nearest neighbours within one partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from semcache.model import Changes, Neighbour, Vector


class VectorIndex(Protocol):
    """Nearest neighbours within one partition; derived from the store, loaded when first searched."""

    async def search(self, partition: bytes, vector: Vector, k: int) -> Sequence[Neighbour]:
        """Up to `k` nearest entries by exact cosine, nearest first; empty for a partition without vectors."""
        ...

    def apply(self, changes: Changes) -> None:
        """Follow one commit of the store: add and remove in the partitions that are loaded. Never blocks."""
        ...

    def queue_depth(self) -> int:
        """Searches waiting."""
        ...

    def stats(self) -> Mapping[str, int]:
        """Partitions and vectors in memory, by kind of index."""
        ...

    async def close(self) -> None:
        """Stop the workers and free memory."""
        ...
