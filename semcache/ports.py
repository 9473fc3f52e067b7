"""Protocols for the seams that are heavy or nondeterministic; each has a fake in `semcache.testing`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from semcache.model import (
    Answer,
    Changes,
    Entry,
    LedgerHour,
    LedgerRecord,
    Mode,
    Neighbour,
    Rejection,
    Selector,
    ServedHit,
    UpstreamCall,
    Vector,
)


class Clock(Protocol):
    """Time as a parameter."""

    def monotonic(self) -> float:
        """Seconds that never jump, for durations and deadlines."""
        ...

    def wall(self) -> float:
        """Seconds since 1970, for what is written down; may jump."""
        ...


class Embedder(Protocol):
    """Text in, unit vectors out."""

    @property
    def fingerprint(self) -> str:
        """Names the vector space: weights, pooling, normalisation; not the backend or precision."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    def fits(self, text: str) -> bool:
        """Whether the model reads all of `text`; what it would cut must not be compared by meaning."""
        ...

    def count_tokens(self, text: str) -> int:
        """Tokens of `text` by the model's own tokenizer, uncut: the estimate where an upstream sends no usage."""
        ...

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of shape (len(texts), dimension), unit length, in order.

        Raises:
            OverloadedError: the queue is full.
            EmbeddingFailedError: the model failed on the batch.
        """
        ...

    def queue_depth(self) -> int:
        """Texts waiting for the device or on it."""
        ...

    def keep_batches_small(self, *, small: bool) -> None:
        """Compute fewer texts at once, or as many as usual again: nobody waits for a large batch to end. Idempotent."""
        ...

    def describe(self) -> Mapping[str, str]:
        """Backend, device, precision and model, for people."""
        ...

    async def close(self) -> None:
        """Finish what is queued and free the device."""
        ...


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


class Upstream(Protocol):
    """Where answers come from when the cache has none."""

    def models(self, alias: str) -> frozenset[str] | None:
        """The models that an alias's targets run now, degraded ones left out; None when nothing routes the alias."""
        ...

    def candidates(
        self, alias: str, *, task_type: str = "", complexity: str = "", degraded: bool = False
    ) -> tuple[str, ...]:
        """The models that such a call could be sent to, the likeliest first; empty when nothing routes it."""
        ...

    @property
    def mode(self) -> Mode:
        """The degraded mode now."""
        ...

    def press_budget(self, *, pressed: bool) -> None:
        """A budget over all tenants is nearly spent, or no longer: a condition of the degraded mode."""
        ...

    async def complete(self, call: UpstreamCall) -> Answer:
        """One whole answer.

        Raises:
            UnknownModelError, UpstreamRefusedError, UpstreamTimedOutError, UpstreamError.
            OverLimitError: `call.barred` leaves no model.
        """
        ...

    def stream(self, call: UpstreamCall) -> AsyncIterator[bytes | Answer]:
        """`chat.completion.chunk` JSON as it arrives, without SSE framing; last, the whole Answer."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...
