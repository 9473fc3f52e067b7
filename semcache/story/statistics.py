"""What the cache tells of itself: its entries, its state, and what was spent and saved."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

import semcache
from semcache.coordination import Flights
from semcache.finance.savings import Savings, SavingsAnswer, SavingsQuery
from semcache.model import Changes, Entry, IndexStats, QueueStats, Snapshot, StoreStats, TenantCounts, hit_ratio
from semcache.story.outcomes import Outcome
from semcache.story.rooms import Rooms


class Statistics:
    """Reads what others have counted; counts nothing itself."""

    def __init__(self, rooms: Rooms, flights: Flights[Outcome]) -> None:
        """Note when the process started."""
        self._settings = rooms.settings
        self._clock = rooms.clock
        self._store = rooms.store
        self._index = rooms.index
        self._embedder = rooms.embedder
        self._accounts = rooms.accounts
        self._coordination = rooms.coordination
        self._long_work = rooms.long_work
        self._calls_in_flight = rooms.calls_in_flight
        self._flights = flights
        self._started_s = self._clock.wall()
        self._started_monotonic_s = self._clock.monotonic()

    async def entries(self, tenant: str, tag: str) -> AsyncGenerator[Entry, None]:
        """Yield a tenant's live entries by id, read page by page with everything else in between.

        Args:
            tenant: whose entries.
            tag: where it isn't empty, only entries with this tag.
        """
        last_id: int | None = 0
        while last_id is not None:
            await self._long_work.pause(tenant)
            page, last_id = await self._store.entries.page(tenant, last_id, tag=tag)
            for entry in page:
                yield entry

    def subscribe(self, listener: Callable[[Changes], None]) -> None:
        """Call `listener` on the event loop after each commit that changed entries."""
        self._store.entries.subscribe(listener)

    async def savings(self, query: SavingsQuery) -> SavingsAnswer:
        """Sum up what was spent and saved in a window; everything that a caller was told of before is in it."""
        await self._store.ledger.flush()

        def summed() -> Savings:
            return query.sum(self._store.ledger.hours(query.sole_tenant, query.start_s, query.end_s))

        # On a worker thread: years of hours take a second to read, and another to add up.
        return SavingsAnswer(await asyncio.to_thread(summed), self._store.ledger.durable_through_s)

    def queues(self) -> Sequence[QueueStats]:
        """Return depth and capacity of every queue."""
        settings, sizes = self._settings, self._coordination.sizes()
        return (
            QueueStats("calls", self._calls_in_flight(), settings.server.max_in_flight),
            QueueStats("embedding", self._embedder.queue_depth(), settings.embedding.max_queue),
            QueueStats("index", self._index.queue_depth(), settings.index.max_queue),
            QueueStats("store", self._store.stats().pending, settings.store.max_queue),
            QueueStats("flights", len(self._flights), settings.server.max_in_flight),
            QueueStats("lookups", sizes["lookups"], settings.limits.pending_lookups),
        )

    def snapshot(self, tenant: str | None) -> Snapshot:
        """Return the state of this process: of one tenant what is its own, for None of all tenants together."""
        metrics = self._accounts.metrics
        if tenant is None:
            counted = TenantCounts(
                requests=metrics.counts(),
                spent_nanousd=metrics.spent_nanousd(),
                saved_nanousd=metrics.saved_nanousd(),
                unpriced_models=self._accounts.prices.unpriced_models(),
                verdicts=metrics.verdicts(),
            )
        else:
            counted = metrics.tenant_counts(tenant)
        whole = tenant is None
        return Snapshot(
            whole=whole,
            version=semcache.__version__,
            started_s=self._started_s,
            uptime_s=self._clock.monotonic() - self._started_monotonic_s,
            requests=counted.requests,
            hit_ratio=hit_ratio(counted.requests),
            store=self._store.stats() if whole else StoreStats(),
            index=self._index.stats() if whole else IndexStats(),
            queues=tuple(self.queues()) if whole else (),
            embedder=self._embedder.stats(),
            unpriced_models=counted.unpriced_models,
            spent_nanousd=counted.spent_nanousd,
            saved_nanousd=counted.saved_nanousd,
            verdicts=counted.verdicts,
        )
