"""Requests that are being answered upstream, for paraphrases of them that arrive meanwhile.

They are kept by partition, as stored entries are: nothing is compared across tenants, models or conversations.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from semcache.coordination.flights import Flight
from semcache.model import KeyedRequest, Vector

Outcome = TypeVar("Outcome")


@dataclass(frozen=True, slots=True, eq=False)
class Twin(Generic[Outcome]):
    """A request whose answer is on its way.

    Attributes:
        keyed: the request.
        flight: the work that brings its answer.
        known_vector: its embedding, unit length, shape (dimension,), where it was known from the start.
        late_vector: the task that embeds it while the upstream works, otherwise.
    """

    keyed: KeyedRequest
    flight: Flight[Outcome]
    known_vector: Vector | None
    late_vector: asyncio.Task[Vector | None] | None

    async def vector(self) -> Vector | None:
        """Wait for its vector; None when it gets none. Cancelling the waiter leaves the embedding alone."""
        if self.known_vector is not None or self.late_vector is None:
            return self.known_vector
        if not self.late_vector.done():
            await asyncio.wait([self.late_vector])
        if self.late_vector.cancelled() or self.late_vector.exception() is not None:
            return None
        return self.late_vector.result()


class Twins(Generic[Outcome]):
    """Twins by partition: at most as many as there are upstream calls. Belongs to the event loop."""

    def __init__(self) -> None:
        self._by_partition: dict[bytes, list[Twin[Outcome]]] = {}

    def of(self, partitions: Sequence[bytes]) -> list[Twin[Outcome]]:
        """Return the twins in any of these partitions, in order of arrival."""
        return [twin for partition in partitions for twin in self._by_partition.get(partition, ())]

    @contextmanager
    def under_way(self, twin: Twin[Outcome]) -> Iterator[None]:
        """Let other requests find `twin` within the block."""
        partition = twin.keyed.partition
        self._by_partition.setdefault(partition, []).append(twin)
        try:
            yield
        finally:
            others = self._by_partition[partition]
            others.remove(twin)
            if not others:
                del self._by_partition[partition]
