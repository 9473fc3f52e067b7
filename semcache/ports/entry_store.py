"""The durable store as one protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from semcache.model import Changes, Entry, LedgerHour, LedgerRecord, Rejection, Selector, ServedHit, Vector


class EntryStore(Protocol):
    """The durable truth. Reads are synchronous and short; an awaited write is durable when it returns."""

    def get(self, entry_id: int) -> Entry | None:
        """The entry, unless it is gone or expired."""
        ...

    def find_exact(self, exact_key: bytes) -> Entry | None:
        """The live entry under an exact key."""
        ...

    def has_vectors(self, partition: bytes) -> bool:
        """Whether any vector lies in the partition."""
        ...

    def count_vectors(self, partition: bytes) -> int:
        """Vectors in a partition."""
        ...

    def vectors(self, partition: bytes) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """All vectors of a partition: ids (n,) and unit vectors (n, dimension). Called from worker threads too."""
        ...

    def served(self, hit_id: str) -> ServedHit | None:
        """A hit as it was served, while it is remembered."""
        ...

    def entries(self, tenant: str, after: int, limit: int) -> Sequence[Entry]:
        """Up to `limit` live entries of a tenant with an id above `after`, by id."""
        ...

    def ledger_hours(self, tenant: str | None, start_s: float, end_s: float) -> Iterator[LedgerHour]:
        """Rollup rows whose hour starts in [start, end), of one tenant or of all."""
        ...

    def ledger_records(self, tenant: str | None, start_s: float, end_s: float) -> Iterator[LedgerRecord]:
        """Log lines in [start, end), of one tenant or of all, oldest first."""
        ...

    def subscribe(self, listener: Callable[[Changes], None]) -> None:
        """Call `listener` on the event loop after each commit that changed entries, before its writers are told."""
        ...

    async def put(self, entry: Entry, vector: Vector | None, record: LedgerRecord | None = None) -> Entry:
        """Store `entry` (replacing the one under its exact key) with `record` in one commit; returns it with its id.

        Raises:
            StoreFullError: nothing was stored; `record` neither.
        """
        ...

    def record(self, record: LedgerRecord, served: ServedHit | None = None) -> None:
        """Note a request in the log and the rollup; durable with the next commit group.

        The line of a hit counts as a use of its entry, for eviction.
        """
        ...

    async def record_durably(self, record: LedgerRecord) -> None:
        """The same, returning when it is on disk: for spend, which is durable before its answer leaves."""
        ...

    async def reject(self, hit_id: str, rejection: Rejection, verdict: str, record: LedgerRecord | None = None) -> bool:
        """Remember that the entry behind `hit_id` is wrong for such requests, durably.

        True, with `record` in the same commit, unless the same verdict was known already.
        """
        ...

    async def confirm(self, hit_id: str, verdict: str) -> None:
        """Remember a verdict that needs no action, durably, unless there is one: what a rejection did isn't undone."""
        ...

    async def invalidate(self, selector: Selector, *, apply: bool) -> int:
        """How many live entries match; with `apply` they are gone when it returns."""
        ...

    async def flush(self) -> None:
        """Everything that was noted is on disk when it returns."""
        ...

    @property
    def durable_through_s(self) -> float:
        """Wall time up to which the ledger is on disk."""
        ...

    def stats(self) -> Mapping[str, int]:
        """Entries, bytes used, map size, evictions, expirations, pending writes."""
        ...

    async def close(self) -> None:
        """Flush and close."""
        ...
