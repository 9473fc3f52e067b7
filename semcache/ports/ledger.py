"""The request log and its rollup by the hour. It is local to its node, whatever holds the entries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from semcache.errors import SemcacheError
from semcache.model import LedgerHour, LedgerRecord, ServedHit


class Ledger(Protocol):
    """Lines of requests, durable in groups or at once.

    `hours` and `records` block while they read: short windows may be read on the event loop, long ones belong on a
    worker thread.
    """

    def record(self, line: LedgerRecord, served: ServedHit | None = None) -> None:
        """Note a request; durable with the next commit group, within about 250 ms.

        The line of a hit counts as a use of its entry, for eviction. `served` is kept for a later verdict.
        """
        ...

    async def record_durably(self, line: LedgerRecord) -> None:
        """Note a request and return when it is on disk: for spend, which is durable before its answer leaves.

        Raises:
            StoreFullError: it isn't noted.
            OverloadedError: too many writes wait; it isn't noted.
        """
        ...

    async def find(self, request_id: str, at_s: float) -> LedgerRecord | None:
        """Return the line of a request that was logged at `at_s` (wall seconds, to the millisecond), once on disk."""
        ...

    def hours(self, tenant: str | None, start_s: float, end_s: float) -> Iterator[LedgerHour]:
        """Yield rollup rows whose hour starts in [start, end), of one tenant or of all, by hour."""
        ...

    def records(self, tenant: str | None, start_s: float, end_s: float) -> Iterator[LedgerRecord]:
        """Yield log lines in [start, end), of one tenant or of all, oldest first."""
        ...

    async def flush(self) -> None:
        """Return when everything that was noted is on disk.

        Raises:
            StoreFullError: the disk has no room for it; it stays noted.
        """
        ...

    @property
    def trouble(self) -> SemcacheError | None:
        """Why lines can't be written at the moment; None while they can."""
        ...

    @property
    def durable_through_s(self) -> float:
        """Wall time, in seconds, up to which everything noted is on disk."""
        ...
