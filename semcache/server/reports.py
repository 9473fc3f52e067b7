"""What GetStats and GetSavings say."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import semcache
from semcache.costs.accounts import Accounts
from semcache.costs.budgets import Balance, BudgetState
from semcache.finance.savings import SavingsRow
from semcache.model import hit_ratio
from semcache.ports import Clock, Embedder, Store, VectorIndex
from semcache.server.grpc.wire import outgoing
from semcache.settings import Settings
from semcache.v1 import semcache_pb2 as pb

_BUDGET_STATES = {
    BudgetState.OPEN: pb.BUDGET_STATE_OPEN,
    BudgetState.WARNING: pb.BUDGET_STATE_WARNING,
    BudgetState.DEGRADING: pb.BUDGET_STATE_DEGRADING,
    BudgetState.EXHAUSTED: pb.BUDGET_STATE_EXHAUSTED,
}


class Reports:
    """The state of one process, over all tenants."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        store: Store,
        index: VectorIndex,
        embedder: Embedder,
        accounts: Accounts,
        queues: Callable[[], Mapping[str, tuple[int, int]]],
    ) -> None:
        """`queues` gives depth and capacity by name."""
        self._settings = settings
        self._clock = clock
        self._store = store
        self._index = index
        self._embedder = embedder
        self._accounts = accounts
        self._queues = queues
        self._started_s = clock.wall()
        self._started_monotonic_s = clock.monotonic()

    def new_id(self) -> str:
        """An id for a call that is no request."""
        return self._accounts.new_id()

    def stats(self) -> pb.GetStatsResponse:
        """See the proto."""
        metrics, store = self._accounts.metrics, self._store.stats()
        counts, verdicts = metrics.counts(), metrics.verdicts()
        embedder = self._embedder.stats()
        return pb.GetStatsResponse(
            version=semcache.__version__,
            start_time=outgoing.timestamp(self._started_s),
            uptime=outgoing.duration(self._clock.monotonic() - self._started_monotonic_s),
            requests=outgoing.request_counts(counts),
            hit_ratio=hit_ratio(counts),
            entries=store.entries,
            store_bytes=store.used_bytes,
            store_limit_bytes=self._settings.store.max_bytes,
            evictions=store.evictions,
            expirations=store.expirations,
            indexes=_indexes(self._index.stats()),
            queues=[
                pb.QueueStats(name=name, depth=depth, capacity=capacity)
                for name, (depth, capacity) in self._queues().items()
            ],
            embedder=pb.EmbedderInfo(
                model=embedder.model,
                fingerprint=embedder.fingerprint,
                backend=embedder.backend,
                device=embedder.device,
                precision=embedder.precision,
                dimensions=embedder.dimension,
            ),
            unpriced_models=[
                pb.UnpricedModel(model=model, requests=count)
                for model, count in self._accounts.prices.unpriced_models().items()
            ],
            spent_nanousd=metrics.spent_nanousd(),
            saved_nanousd=metrics.saved_nanousd(),
            verdicts_right=verdicts.get("right", 0),
            verdicts_wrong=verdicts.get("wrong", 0),
        )

    def budgets(self, tenant: str) -> list[pb.BudgetStatus]:
        """A tenant's own budgets."""
        return [_budget(balance) for balance in self._accounts.budgets.balances(tenant)]


def _budget(balance: Balance) -> pb.BudgetStatus:
    _, model = balance.scope
    return pb.BudgetStatus(
        name=balance.budget.name,
        period=balance.period.name,
        start_time=outgoing.timestamp(balance.period.start_s),
        reset_time=outgoing.timestamp(balance.period.end_s),
        limit_nanousd=balance.limit_nanousd,
        spent_nanousd=balance.spent_nanousd,
        reserved_nanousd=balance.reserved_nanousd,
        state=_BUDGET_STATES[balance.state],
        model=model or balance.budget.model or "",
    )


def savings_message(row: SavingsRow) -> pb.SavingsRow:
    """A row of a savings report."""
    return pb.SavingsRow(
        period_start_time=None if row.period_start_s is None else outgoing.timestamp(row.period_start_s),
        model=row.model,
        task_type=row.task_type,
        requests=outgoing.request_counts(row.requests),
        spent_usage=outgoing.usage_message(row.spent_usage),
        saved_usage=outgoing.usage_message(row.saved_usage),
        spent_nanousd=row.spent_nanousd,
        spent_input_nanousd=row.spent_input_nanousd,
        spent_cached_input_nanousd=row.spent_cached_input_nanousd,
        spent_output_nanousd=row.spent_output_nanousd,
        saved_nanousd=row.saved_nanousd,
        overhead_nanousd=row.overhead_nanousd,
        saved_net_nanousd=row.net_saved_nanousd,
        unpriced_count=row.unpriced,
        estimated_count=row.estimated,
        savings_percent=row.savings_percent,
        tenant=row.tenant,
        wrong_hits=row.wrong_hits,
    )


def _indexes(stats: Mapping[str, int]) -> list[pb.IndexStats]:
    kinds = sorted(name.removeprefix("vectors_") for name in stats if name.startswith("vectors_"))
    return [
        pb.IndexStats(kind=kind, partitions=stats.get(f"partitions_{kind}", 0), vectors=stats[f"vectors_{kind}"])
        for kind in kinds
    ]
