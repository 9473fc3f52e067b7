"""The ports `Entries`, `Vectors`, `Ledger` and `Verdicts` over rows in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from semcache.errors import SemcacheError
from semcache.model import Changes, Entry, LedgerHour, LedgerRecord, Rejection, Selector, ServedHit, Status, Vector
from semcache.ports import EntryPage
from semcache.store.codec import encode_entry, encode_record, encode_served
from semcache.testing.memory import Memory

_FIND_TOLERANCE_S = 1e-3
_PAGE_ROWS = 3
"""Rows of a page: few, so that tests read more than one."""


class MemoryEntries:
    """Stored answers in memory. Reads return without suspending."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    async def find_exact(self, exact_key: bytes, *, expired_s: float = 0.0) -> Entry | None:
        """Return the live entry under an exact key (32 bytes), or one that expired less than `expired_s` s ago."""
        return self._memory.live_entry(self._memory.exact.get(exact_key, 0), expired_s)

    async def get_many(self, entry_ids: Sequence[int]) -> Mapping[int, Entry]:
        """Return the live entries among `entry_ids`, by id; the others are left out."""
        return {entry_id: entry for entry_id in entry_ids if (entry := self._memory.live_entry(entry_id)) is not None}

    async def page(self, tenant: str, after: int, *, tag: str = "") -> EntryPage:
        """Return the next live entries of a tenant with an id above `after`, by id; of those with a tag where named."""
        ids = sorted(entry_id for entry_id in self._memory.entries if entry_id > after)[:_PAGE_ROWS]
        live = [entry for entry_id in ids if (entry := self._memory.live_entry(entry_id)) is not None]
        owned = [entry for entry in live if entry.tenant == tenant and (not tag or tag in entry.tags)]
        return EntryPage(owned, ids[-1] if ids else None)

    async def put(self, entry: Entry, vector: Vector | None, line: LedgerRecord | None = None) -> Entry:
        """Store `entry`, replacing the entry under its exact key, with `line` in one commit; return it with its id.

        Raises:
            ShuttingDownError: the store is closed.
            SemcacheError: what `fail_writes` holds; nothing was stored.
            ValueError: a key that isn't 32 bytes long, or a number out of range.
        """
        encode_entry(entry)
        if line is not None:
            encode_record(line)
        self._memory.begin()
        entry = self._memory.put(entry, vector)
        if line is not None:
            self._memory.log(line)
        self._memory.evict(keep=entry.entry_id)
        await self._memory.commit()
        return entry

    async def invalidate(self, selector: Selector, *, apply: bool) -> int:
        """Return how many live entries `selector` names; with `apply` they are gone when it returns."""
        self._memory.begin()
        named = [entry for entry in self._memory.entries.values() if selector.matches(entry)]
        count = sum(entry.expires_s > self._memory.clock.wall() for entry in named)
        if apply:
            self._memory.delete_all(named)
        await self._memory.commit()
        return count

    def subscribe(self, listener: Callable[[Changes], None]) -> None:
        """Call `listener` after each write that changed entries, before its writer is told."""
        self._memory.listeners.append(listener)


class MemoryVectors:
    """Stored vectors in memory, by partition."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    async def has(self, partition: bytes) -> bool:
        """Return whether any vector lies in the partition (32 bytes)."""
        return bool(self._memory.vectors.get(partition))

    async def count(self, partition: bytes, after: int, limit: int) -> tuple[int, int]:
        """Count up to `limit` vectors of the partition with an id above `after`; return the number and the last id."""
        ids = sorted(entry_id for entry_id in self._memory.vectors.get(partition, ()) if entry_id > after)[:limit]
        return len(ids), max(ids, default=after)

    def load(self, partition: bytes) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return all vectors of a partition: ids (n,) ascending and unit vectors (n, dimension)."""
        rows = sorted(self._memory.vectors.get(partition, {}).items())
        if not rows:
            return np.empty(0, dtype=np.int64), np.empty((0, 0), dtype=np.float32)
        return np.array([entry_id for entry_id, _ in rows], dtype=np.int64), np.stack([vector for _, vector in rows])

    def other_embedders(self) -> Sequence[str]:
        """Return the names of other embedders than the current one whose vectors are stored, the latest first."""
        return self._memory.other_embedders()

    async def texts(self, partition: bytes, limit: int) -> Mapping[int, str | None]:
        """Return the compared texts of up to `limit` entries with a vector in the partition, by id, lowest first."""
        ids = sorted(self._memory.vectors.get(partition, ()))[:limit]
        return {entry_id: self._memory.entries[entry_id].text for entry_id in ids}

    async def reembed(self, partition: bytes, target: bytes, vectors: Mapping[int, Vector | None]) -> int:
        """Move entries from a partition of another embedder to one of the current embedder; return how many were moved.

        Raises:
            ShuttingDownError: the store is closed.
            SemcacheError: what `fail_writes` holds; nothing was moved.
        """
        self._memory.begin()
        moved = [self._memory.reembed(entry_id, partition, target, vector) for entry_id, vector in vectors.items()]
        await self._memory.commit()
        return sum(moved)


class MemoryLedger:
    """Lines of requests in memory; each is there at once."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def record(self, line: LedgerRecord, served: ServedHit | None = None) -> None:
        """Note a request; the line of a hit counts as a use of its entry. `served` is kept for a later verdict."""
        encode_record(line)
        if line.uses_entry:
            self._memory.use(line)
        if served is not None:
            encode_served(served)
            self._memory.served[served.hit_id] = served
        self._memory.log(line)

    async def record_durably(self, line: LedgerRecord) -> None:
        """Note a request.

        Raises:
            ShuttingDownError: the store is closed.
            SemcacheError: what `fail_writes` holds; it isn't noted.
        """
        encode_record(line)
        self._memory.begin()
        self._memory.log(line)
        await self._memory.commit()

    async def find(self, request_id: str, at_s: float) -> LedgerRecord | None:
        """Return the oldest line of a request that was logged within a millisecond of `at_s` (wall seconds)."""
        lines = self.records(None, at_s - _FIND_TOLERANCE_S, at_s + _FIND_TOLERANCE_S)
        return next((line for line in lines if line.request_id == request_id), None)

    def hours(self, tenant: str | None, start_s: float, end_s: float) -> Iterator[LedgerHour]:
        """Yield rollup rows whose hour starts in [start, end), of one tenant or of all, by hour."""
        for name, hour in sorted(self._memory.hours.items()):
            if start_s <= name[0] < end_s and tenant in {None, hour.tenant}:
                yield hour

    def records(self, tenant: str | None, start_s: float, end_s: float) -> Iterator[LedgerRecord]:
        """Yield log lines in [start, end), of one tenant or of all, oldest first."""
        for line in sorted(self._memory.lines, key=lambda line: (int(line.at_s * 1_000_000), line.request_id)):
            if start_s <= line.at_s < end_s and tenant in {None, line.tenant}:
                yield line

    async def flush(self) -> None:
        """Return after one commit: nothing waits in memory.

        Raises:
            ShuttingDownError: the store is closed.
            SemcacheError: what `fail_writes` holds.
        """
        self._memory.begin()
        await self._memory.commit()

    @property
    def trouble(self) -> SemcacheError | None:
        """Return what `fail_writes` holds."""
        return self._memory.fail_writes

    @property
    def durable_through_s(self) -> float:
        """Wall time now, in seconds: nothing waits in memory."""
        return self._memory.clock.wall()


class MemoryVerdicts:
    """Served hits in memory."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    async def served(self, hit_id: str) -> ServedHit | None:
        """Return a hit as it was served, while it is remembered."""
        return self._memory.remembered(hit_id)

    async def rejections(self, tenant: str, exact_key: bytes) -> Sequence[Rejection]:
        """Return the requests for which a request's answer is wrong by a verdict."""
        return self._memory.rejections_of(tenant, exact_key)

    async def reject(self, hit_id: str, rejection: Rejection, verdict: str, line: LedgerRecord | None = None) -> bool:
        """Remember that the answer behind `hit_id` is wrong for such requests; an exact hit's entry is deleted.

        Returns:
            True, with `line` in the same commit, unless the same verdict was known already.

        Raises:
            NotFoundError: no such hit is remembered.
        """
        self._memory.begin()
        hit = self._memory.judged(hit_id)
        entry = self._memory.entries.get(hit.entry_id)
        entry_key = hit.entry_key if entry is None else entry.exact_key
        if hit.status is Status.EXACT_HIT or hit.exact_key == entry_key:
            self._memory.delete(hit.entry_id)
        elif entry_key:
            self._memory.reject(hit.tenant, entry_key, rejection)
        self._memory.served[hit_id] = hit._replace(verdict=verdict)
        is_new = hit.verdict != verdict
        if is_new and line is not None:
            self._memory.log(line)
        await self._memory.commit()
        return is_new

    async def confirm(self, hit_id: str, verdict: str) -> None:
        """Remember a verdict that needs no action, unless there is one.

        Raises:
            NotFoundError: no such hit is remembered.
        """
        self._memory.begin()
        hit = self._memory.judged(hit_id)
        if not hit.verdict:
            self._memory.served[hit_id] = hit._replace(verdict=verdict)
        await self._memory.commit()
