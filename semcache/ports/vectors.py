"""Stored vectors, from which the index is derived."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from semcache.model import Vector


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

    def other_embedders(self) -> Sequence[str]:
        """Return the fingerprints of other embedders than the store's own whose vectors are stored, the latest first.

        It is empty once all of them have gone. Any thread may call this.
        """
        ...

    async def texts(self, partition: bytes, limit: int) -> Mapping[int, str | None]:
        """Return the compared texts of up to `limit` entries with a vector in the partition, by id, lowest first.

        The text is None where there is a vector and no readable entry. Entries that have expired are among them.
        """
        ...

    async def reembed(self, partition: bytes, target: bytes, vectors: Mapping[int, Vector | None]) -> int:
        """Move entries from a partition of another embedder to one of the store's own, durably, in one commit.

        Each keeps its id. An entry that has gone or left `partition` meanwhile isn't moved.

        Args:
            partition: where the entries' vectors lie.
            target: the partition of the same requests under the store's own embedder.
            vectors: unit vectors (dimension,) of that embedder by entry id; None takes an entry's vector away, so that
                only its exact key finds it.

        Returns:
            How many entries have their new vector.

        Raises:
            StoreFullError: nothing was moved.
            OverloadedError: too many writes wait; nothing was moved.
            ShuttingDownError: the store is closed.
        """
        ...
