"""What semcache counts, on one registry that is passed in.

Counters hold the truth; gauges derive from them over a stated window. Labels are bounded: models and task types by an
allow-list with `other`, tokens that code makes up by their number. No label is ever a prompt, a key or a namespace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

from prometheus_client import CollectorRegistry

from semcache.model import (
    HIT_STATUSES,
    NANOUSD_PER_USD,
    CallStats,
    EmbedderStats,
    FrontStats,
    IndexStats,
    LedgerRecord,
    QueueStats,
    Status,
    StoreStats,
    TenantCounts,
)
from semcache.observe.histogram import Series
from semcache.observe.instruments import Instruments
from semcache.observe.tally import OTHER, Count, LabelValues
from semcache.observe.tenants import Tenants
from semcache.observe.watches import Watches
from semcache.observe.window import Window
from semcache.ports import Clock

NO_TASK_TYPE = "none"
"""The label of requests without a task type: Prometheus treats an empty label as a missing one."""

_BREAKER_STATES = ("closed", "half_open", "open")
_MAX_TARGETS = 256
"""Label values for targets, and for budgets: settings name them, and nobody has more."""


_SeriesKey = tuple[Status, str, str, str, str]
"""Status, model, alias, task type and reason: all of a request that chooses a label."""


@dataclass(frozen=True, slots=True)
class _Series:
    """Where a request is counted: its labels are looked up once for all requests like it."""

    requests: Count
    duration: Series
    decisions: Count
    cost: Count
    saved: Count
    overhead: Count
    request_cost: Series


class MetricsOptions(Protocol):
    """The settings that the metrics read (`settings.MetricsSettings` has them)."""

    @property
    def models(self) -> tuple[str, ...]:
        """Models with a label of their own; empty: those that are known."""
        ...

    @property
    def task_types(self) -> tuple[str, ...]:
        """Task types with a label of their own."""
        ...

    @property
    def ratio_window_s(self) -> float:
        """The window of the derived gauges, seconds."""
        ...


class Metrics:
    """What semcache counts; thread-safe.

    The identity: every request is counted once in `semcache_requests_total`, under its one status. So the requests are
    exact + semantic + coalesced + miss + bypass + refresh + stale + error + cancelled.

    Args:
        registry: where all instruments register themselves; one registry takes one `Metrics`.
        settings: the allow-lists of labels, and the window.
        clock: chooses the slot of the window.
        known_models: the models with a label of their own where the settings name none.
        max_remembered: kinds of requests whose label values are remembered. Callers make up models, so the kinds have
            no end; when there are this many, all are forgotten.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        settings: MetricsOptions,
        clock: Clock,
        known_models: Iterable[str],
        *,
        max_remembered: int = 1024,
    ) -> None:
        self._models = frozenset(settings.models or known_models)
        self._task_types = frozenset(settings.task_types)
        self._stage_values, self._reason_values, self._error_values = LabelValues(), LabelValues(), LabelValues()
        self._skipped_values, self._guard_values = LabelValues(), LabelValues()
        self._target_values, self._outcome_values = LabelValues(_MAX_TARGETS), LabelValues()
        self._budget_values = LabelValues(_MAX_TARGETS)
        self._lock = Lock()
        self._watches = Watches(registry)
        self._window = Window(clock, settings.ratio_window_s, self._lock)
        self._instruments = Instruments(
            registry, lock=self._lock, clock=clock, window=self._window, window_s=settings.ratio_window_s
        )
        self._tenants = Tenants()
        self._max_remembered = max_remembered
        self._unpriced = self._instruments.unpriced.count(())
        self._partly_priced = self._instruments.partly_priced.count(())
        self._series: dict[_SeriesKey, _Series] = {}
        self._stages: dict[str, Series] = {}
        self._breakers: set[str] = set()
        self._degraded_reasons: set[str] = set()

    def request_done(self, record: LedgerRecord, stages: Sequence[tuple[str, float]], reason: str) -> None:
        """Count a request that ended: all that is counted once a request, in one step for whoever reads.

        Args:
            record: its line in the ledger. With `requests` of 0 (a caller's Store) only its money is counted.
            stages: (name, seconds).
            reason: why it ended as it did, a stable token; for an error, the error's reason.
        """
        status, requests, usage, spent, saved = record.status, record.requests, record.usage, record.spent, record.saved
        key = (status, record.model, record.alias, record.task_type, reason)
        spent_nanousd, saved_nanousd = spent.total_nanousd, saved.total_nanousd
        with self._lock:
            series = self._series.get(key) or self._open_series(key)
            if requests:
                series.requests.value += requests
                series.decisions.value += requests
                series.duration.add(record.latency_s)
            for stage, seconds in stages:
                (self._stages.get(stage) or self._open_stage(stage)).add(seconds)
            series.cost.value += spent_nanousd
            series.saved.value += saved_nanousd
            series.overhead.value += record.overhead_nanousd
            if usage.input_tokens or usage.output_tokens:
                if spent.priced:
                    series.request_cost.add(spent_nanousd / NANOUSD_PER_USD)
                if not (saved if status in HIT_STATUSES else spent).priced:
                    self._unpriced.value += 1
                    self._tenants.add_unpriced(record.tenant, record.model)
                if spent.partly_priced or saved.partly_priced:
                    self._partly_priced.value += 1
            self._window.add(status, requests, spent_nanousd, saved_nanousd)
            self._tenants.add(record, spent_nanousd, saved_nanousd)

    def _open_series(self, key: _SeriesKey) -> _Series:
        """Return the series of such requests, and remember them. The caller holds the lock."""
        status, model, alias, task_type, reason = key
        labels = self._labels(model, alias, task_type)
        instruments = self._instruments
        series = _Series(
            requests=instruments.requests.count((status, *labels)),
            duration=instruments.duration.series((status,)),
            # `call_failed` counts the reason of an error.
            decisions=Count()
            if status is Status.ERROR
            else instruments.decisions.count((self._reason_values(reason),)),
            cost=instruments.cost.count(labels),
            saved=instruments.saved.count(labels),
            overhead=instruments.overhead.count(labels),
            request_cost=instruments.request_cost.series(labels),
        )
        if len(self._series) >= self._max_remembered:
            self._series.clear()
        self._series[key] = series
        return series

    def _open_stage(self, stage: str) -> Series:
        """Return the series of a stage, and remember it. The caller holds the lock."""
        series = self._instruments.stage_duration.series((self._stage_values(stage),))
        if len(self._stages) >= self._max_remembered:
            self._stages.clear()
        self._stages[stage] = series
        return series

    def counts(self) -> Mapping[Status, int]:
        """Return the requests since the start, by status. Every status is there; their sum is all requests."""
        counts = dict.fromkeys(Status, 0)
        for (status, *_), count in self._instruments.requests.counts().items():
            counts[Status(status)] += count
        return counts

    def spent_nanousd(self) -> int:
        """Return what upstream calls cost since the start, nanodollars."""
        return self._instruments.cost.total()

    def saved_nanousd(self) -> int:
        """Return what hits saved since the start, gross, nanodollars."""
        return self._instruments.saved.total()

    def verdicts(self) -> Mapping[str, int]:
        """Return the reported verdicts since the start, by verdict."""
        return {verdict: count for (verdict,), count in self._instruments.verdicts.counts().items()}

    def tenant_counts(self, tenant: str) -> TenantCounts:
        """Return what one tenant's requests came to since the start."""
        with self._lock:
            return self._tenants.counts(tenant)

    def call_failed(self, reason: str) -> None:
        """Count a call, or an item of a batch, that failed with this reason."""
        self._instruments.errors.add((self._error_values(reason),))

    def guard_vetoed(self, guard: str) -> None:
        """Count a candidate that a guard vetoed."""
        self._instruments.vetoes.add((self._guard_values(guard),))

    def batch_embedded(self, size: int) -> None:
        """Count a forward pass over `size` texts."""
        self._instruments.batch_size.add((), size)

    def upstream_attempted(self, target: str, outcome: str) -> None:
        """Count one try at a target that is over; `outcome` is a stable token (`ok`, `429`, `timeout`, …)."""
        self._instruments.attempts.add((self._target_values(target), self._outcome_values(outcome)))

    def upstream_done(self, target: str, duration_s: float) -> None:
        """Count an upstream call that is over; its seconds include all its tries."""
        self._instruments.upstream_duration.add((self._target_values(target),), duration_s)

    def call_passed(self, target: str, outcome: str) -> None:
        """Count a call that was passed through; `outcome` is its HTTP status or a stable token."""
        self._instruments.passed.add((self._target_values(target), self._outcome_values(outcome)))

    def upstream_swapped(self, target: str) -> None:
        """Count an answer that names another model than was asked for."""
        self._instruments.swaps.add((self._target_values(target),))

    def breaker_changed(self, target: str, state: int) -> None:
        """Set a target's breaker: closed (0), half open (1) or open (2). The first report of a target is no change."""
        label = self._target_values(target)
        if label in self._breakers:
            self._instruments.breaker_changes.add((label, _BREAKER_STATES[state]))
        self._breakers.add(label)
        self._instruments.breaker_state.labels(label).set(state)

    def degraded_changed(self, reason: str) -> None:
        """Set the reason of the degraded mode, a stable token; empty when the mode is off."""
        for known in self._degraded_reasons:
            self._instruments.degraded.labels(known).set(0)
        if reason:
            self._degraded_reasons.add(reason)
            self._instruments.degraded.labels(reason).set(1)

    def verdict_reported(self, verdict: str, tenant: str = "") -> None:
        """Count a verdict, `right` or `wrong`, on a hit; for the tenant too, unless its name is empty."""
        verdict = verdict if verdict in {"right", "wrong"} else OTHER
        self._instruments.verdicts.add((verdict,))
        if tenant:
            with self._lock:
                self._tenants.add_verdict(tenant, verdict)

    def budget_refused(self, budget: str) -> None:
        """Count a call that had no room in a budget."""
        self._instruments.budget_refusals.add((self._budget_values(budget),))

    def budget_warned(self, budget: str) -> None:
        """Count a budget that passed the share at which it warns, for the first time in its period."""
        self._instruments.budget_warnings.add((self._budget_values(budget),))

    def usage_implausible(self) -> None:
        """Count a usage with a count that can't be true."""
        self._instruments.implausible.add(())

    def store_skipped(self, reason: str) -> None:
        """Count an answer that wasn't stored; what follows a colon in the reason isn't told apart."""
        self._instruments.skipped.add((self._skipped_values(reason.partition(":")[0]),))

    def watch_store(self, read: Callable[[], StoreStats]) -> None:
        """Export what `read` returns at each scrape."""
        self._watches.store(read)

    def watch_embedder(self, read: Callable[[], EmbedderStats]) -> None:
        """Export whether the embedder that `read` describes at each scrape has the adapter that was meant."""
        self._watches.embedder(read)

    def watch_index(self, read: Callable[[], IndexStats]) -> None:
        """Export the partitions and vectors by search strategy that `read` returns at each scrape."""
        self._watches.index(read)

    def watch_queues(self, read: Callable[[], Iterable[QueueStats]]) -> None:
        """Export the depth of each queue that `read` returns at each scrape."""
        self._watches.queues(read)

    def watch_calls(self, read: Callable[[], Mapping[str, CallStats]]) -> None:
        """Export the calls of each method that `read` returns at each scrape."""
        self._watches.calls(read)

    def watch_front(self, read: Callable[[], FrontStats]) -> None:
        """Export what the front measures of itself, which `read` returns at each scrape."""
        self._watches.front(read)

    def watch_replaced_texts(self, read: Callable[[], int]) -> None:
        """Export the number of texts told with a replaced character that `read` returns at each scrape."""
        self._watches.replaced_texts(read)

    def watch_budgets(self, read: Callable[[], Mapping[str, float]]) -> None:
        """Export what of each budget is spent or reserved, 0 to 1 and beyond by its name, at each scrape."""
        self._watches.budgets(read)

    def _labels(self, model: str, alias: str, task_type: str) -> tuple[str, str]:
        # Upstreams answer with a dated name of the model. The alias that was asked for then says more than `other`.
        model = model if model in self._models else alias if alias in self._models else OTHER
        return model, task_type if task_type in self._task_types else OTHER if task_type else NO_TASK_TYPE
