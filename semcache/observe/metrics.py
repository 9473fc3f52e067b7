"""Every instrument, on one registry that is passed in.

Counters hold the truth; gauges derive from them over a stated window. Labels are bounded: models and task types by an
allow-list with `other`, tokens that code makes up by a number; never a prompt, a key or a namespace.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Lock
from typing import NamedTuple, Protocol

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from semcache.model import HIT_STATUSES, NANOUSD_PER_USD, LedgerRecord, Status, StoreStats
from semcache.observe.histogram import Spread
from semcache.observe.tally import OTHER, LabelValues, Tally
from semcache.observe.watches import Read, Watches
from semcache.observe.window import Window
from semcache.ports import Clock

NO_TASK_TYPE = "none"
"""The label of requests without a task type: an empty label would be no label."""

_DURATION_BUCKETS_S = (
    *(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0),
)
_COST_BUCKETS_USD = (
    *(1e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.03),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
"""From a millionth of a dollar; 0.03 is the target for a request."""
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_COUNTED_TOGETHER = 64
"""Ended requests. One by one, each between two requests that have other code and other data in the processor's caches,
counting takes three times as long (measured, 64 callers)."""
_BREAKER_STATES = ("closed", "half_open", "open")
_IN_RATIO = HIT_STATUSES | {Status.MISS}


class _Ended(NamedTuple):
    """A request that ended, at a moment in monotonic seconds."""

    record: LedgerRecord
    stages: Sequence[tuple[str, float]]
    reason: str
    at_s: float


class _Alike(NamedTuple):
    """What requests have in common that are counted together: whatever chooses a label, or whether something counts."""

    status: Status
    model: str
    alias: str
    task_type: str
    reason: str
    requests: int
    spent_priced: bool
    saved_priced: bool
    used_tokens: bool
    slot: int


class MetricsOptions(Protocol):
    """The settings that matter here (`settings.MetricsSettings` has them)."""

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
        """The window of the derived gauges."""
        ...


class _BeforeScrape(Collector):
    """Has no samples: a registry asks its collectors in their order, and this one comes before those that have."""

    def __init__(self, prepare: Callable[[], None]) -> None:
        self._prepare = prepare

    def describe(self) -> Iterable[Metric]:
        """Nothing."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Nothing, but what follows is up to date."""
        self._prepare()
        return ()


class Metrics:
    """What semcache counts; thread-safe.

    The identity: every request is counted once in `semcache_requests_total`, under its one status, so the requests are
    exact + semantic + coalesced + miss + bypass + refresh + error + cancelled.
    """

    def __init__(
        self, registry: CollectorRegistry, settings: MetricsOptions, clock: Clock, known_models: Iterable[str]
    ) -> None:
        self._models = frozenset(settings.models or known_models)
        self._task_types = frozenset(settings.task_types)
        self._clock = clock
        self._ended: deque[_Ended] = deque()
        self._counting = Lock()
        registry.register(_BeforeScrape(self._count_ended))
        self._window = Window(clock, settings.ratio_window_s)
        self._watches = Watches(registry)
        self._stage_values, self._reason_values, self._error_values = LabelValues(), LabelValues(), LabelValues()
        self._skipped_values, self._guard_values = LabelValues(), LabelValues()
        self._target_values, self._outcome_values = LabelValues(256), LabelValues()
        self._budget_values = LabelValues(256)

        def tally(name: str, documentation: str, *labels: str, units: int = 1) -> Tally:
            return Tally(registry, f"semcache_{name}", documentation, labels, units)

        money = ("model", "task_type")
        self._requests = tally("requests", "Requests by what became of them.", "status", *money)
        self._cost = tally("cost_usd", "What upstream calls cost, in dollars.", *money, units=NANOUSD_PER_USD)
        self._saved = tally(
            "saved_usd", "What upstreams would have charged for hits, in dollars.", *money, units=NANOUSD_PER_USD
        )
        self._unpriced = tally(
            "unpriced_requests", "Requests whose model has no known price; no amount of money includes them."
        )
        self._decisions = tally("decisions", "Requests by the reason of the decision.", "reason")
        self._errors = tally("errors", "Failed requests by the error's reason.", "reason")
        self._vetoes = tally("guard_vetoes", "Candidates that a guard vetoed.", "guard")
        self._attempts = tally("upstream_attempts", "Tries of upstream calls by outcome.", "target", "outcome")
        self._swaps = tally(
            "upstream_other_model",
            "Answers that name another model than was asked for, its dated snapshots aside.",
            "target",
        )
        self._breaker_changes = tally(
            "upstream_breaker_changes", "Changes of targets' breakers by the new state.", "target", "state"
        )
        self._verdicts = tally("verdicts", "Reported verdicts on hits.", "verdict")
        self._overhead = tally(
            "overhead_usd",
            "What saving itself cost at the configured rates, in dollars.",
            *money,
            units=NANOUSD_PER_USD,
        )
        self._budget_refusals = tally("budget_refusals", "Calls that a budget had no room for.", "budget")
        self._budget_warnings = tally("budget_warnings", "Periods in which a budget passed its warning.", "budget")
        self._skipped = tally("store_skipped", "Answers that weren't stored, by reason.", "reason")

        def spread(name: str, documentation: str, *labels: str, buckets: Sequence[float]) -> Spread:
            return Spread(registry, name, documentation, labels, buckets=buckets)

        self._duration = spread(
            "semcache_request_duration_seconds",
            "Time from a request to its end.",
            "status",
            buckets=_DURATION_BUCKETS_S,
        )
        self._stage_duration = spread(
            "semcache_stage_duration_seconds",
            "Time of each stage of a request.",
            "stage",
            buckets=_DURATION_BUCKETS_S,
        )
        self._upstream_duration = spread(
            "semcache_upstream_duration_seconds",
            "Time of an upstream call, retries included.",
            "target",
            buckets=_DURATION_BUCKETS_S,
        )
        self._request_cost = spread(
            "llm_request_cost_usd",
            "What a request cost upstream, in dollars; hits cost 0, requests without a known price are left out.",
            *money,
            buckets=_COST_BUCKETS_USD,
        )
        self._batch_size = spread("semcache_embedding_batch_size", "Texts in one forward pass.", buckets=_BATCH_BUCKETS)
        window = f"over the last {settings.ratio_window_s:g} s; NaN while there were none."
        Gauge("llm_cache_hit_ratio", f"Hits / (hits + misses) {window}", registry=registry).set_function(
            self._window.hit_ratio
        )
        Gauge("llm_cost_savings_percent", f"100 * saved / (saved + spent) {window}", registry=registry).set_function(
            self._window.savings_percent
        )

        self._breaker_state = Gauge(
            "semcache_upstream_breaker_state",
            "A target's breaker: 0 closed, 1 half open, 2 open.",
            ("target",),
            registry=registry,
        )
        self._degraded = Gauge(
            "semcache_degraded_mode",
            "1 while the degraded mode is on for this reason, as of the last upstream call.",
            ("reason",),
            registry=registry,
        )
        self._breakers: set[str] = set()
        self._degraded_reasons: set[str] = set()

    def request_done(self, record: LedgerRecord, stages: Sequence[tuple[str, float]], reason: str) -> None:
        """Counts a request that ended: all that is counted per request. Whoever reads finds it counted.

        Args:
            record: its line in the ledger. `requests` of 0 (a caller's Store) counts its money alone.
            stages: (name, seconds).
            reason: why it ended as it did, a stable token; for an error, the error's reason.
        """
        self._ended.append(_Ended(record, stages, reason, self._clock.monotonic()))
        if len(self._ended) >= _COUNTED_TOGETHER:
            self._count_ended()

    def _count_ended(self) -> None:
        """Count all requests that have ended, those that are alike together."""
        with self._counting:
            groups: defaultdict[_Alike, list[_Ended]] = defaultdict(list)
            while self._ended:
                ended = self._ended.popleft()
                groups[self._alike(ended)].append(ended)
            for alike, group in groups.items():
                self._count(alike, group)

    def _alike(self, ended: _Ended) -> _Alike:
        record = ended.record
        usage = record.usage
        return _Alike(
            record.status,
            record.model,
            record.alias,
            record.task_type,
            ended.reason,
            record.requests,
            record.spent.priced,
            record.saved.priced,
            bool(usage.input_tokens or usage.output_tokens),
            self._window.slot(ended.at_s),
        )

    def _count(self, alike: _Alike, group: Sequence[_Ended]) -> None:
        status = alike.status
        labels = self._labels(alike)
        requests = alike.requests * len(group)
        spent_nanousd = [ended.record.spent.total_nanousd for ended in group]
        saved_nanousd = sum([ended.record.saved.total_nanousd for ended in group])
        if requests:
            self._requests.add((status, *labels), requests)
            self._duration.add_all((status,), [ended.record.latency_s for ended in group])
            if status is not Status.ERROR:  # Its reason is counted with the call's, in `call_failed`.
                self._decisions.add((self._reason_values(alike.reason),), requests)
        self._count_stages(group)
        for amounts, nanousd in (
            (self._cost, sum(spent_nanousd)),
            (self._saved, saved_nanousd),
            (self._overhead, sum([ended.record.overhead_nanousd for ended in group])),
        ):
            if nanousd:
                amounts.add(labels, nanousd)
        if alike.used_tokens:
            if alike.spent_priced:
                self._request_cost.add_all(labels, [nanousd / NANOUSD_PER_USD for nanousd in spent_nanousd])
            if not (alike.saved_priced if status in HIT_STATUSES else alike.spent_priced):
                self._unpriced.add(count=len(group))
        if status in _IN_RATIO or any(spent_nanousd):
            self._window.add(
                alike.slot,
                hits=requests if status in HIT_STATUSES else 0,
                misses=requests if status is Status.MISS else 0,
                spent_nanousd=sum(spent_nanousd),
                saved_nanousd=saved_nanousd,
            )

    def _count_stages(self, group: Sequence[_Ended]) -> None:
        stages: defaultdict[str, list[float]] = defaultdict(list)
        for ended in group:
            for stage, seconds in ended.stages:
                stages[stage].append(seconds)
        for stage, times in stages.items():
            self._stage_duration.add_all((self._stage_values(stage),), times)

    def counts(self) -> Mapping[Status, int]:
        """Requests since the start, by status; every status, and their sum is all requests."""
        self._count_ended()
        counts = dict.fromkeys(Status, 0)
        for (status, *_), count in self._requests.counts().items():
            counts[Status(status)] += count
        return counts

    def hit_ratio(self) -> float | None:
        """(exact + semantic + coalesced) / (requests - bypass - refresh - error - cancelled); None when that is 0."""
        counts = self.counts()
        hits = sum(counts[status] for status in HIT_STATUSES)
        answerable = hits + counts[Status.MISS]
        return hits / answerable if answerable else None

    def spent_nanousd(self) -> int:
        """What upstream calls cost since the start."""
        self._count_ended()
        return self._cost.total()

    def saved_nanousd(self) -> int:
        """What hits saved since the start, gross."""
        self._count_ended()
        return self._saved.total()

    def verdicts(self) -> Mapping[str, int]:
        """Reported verdicts since the start, by verdict."""
        return {verdict: count for (verdict,), count in self._verdicts.counts().items()}

    def call_failed(self, reason: str) -> None:
        """A call, or an item of a batch, failed with this reason."""
        self._errors.add((self._error_values(reason),))

    def guard_vetoed(self, guard: str) -> None:
        """A guard vetoed a candidate."""
        self._vetoes.add((self._guard_values(guard),))

    def batch_embedded(self, size: int) -> None:
        """A forward pass took `size` texts."""
        self._batch_size.add((), size)

    def upstream_attempted(self, target: str, outcome: str) -> None:
        """One try at a target is over; `outcome` is a stable token (`ok`, `429`, `timeout`, …)."""
        self._attempts.add((self._target_values(target), self._outcome_values(outcome)))

    def upstream_done(self, target: str, duration_s: float) -> None:
        """An upstream call is over, all its tries included."""
        self._upstream_duration.add((self._target_values(target),), duration_s)

    def upstream_swapped(self, target: str) -> None:
        """An answer names another model than was asked for."""
        self._swaps.add((self._target_values(target),))

    def breaker_changed(self, target: str, state: int) -> None:
        """A target's breaker is closed (0), half open (1) or open (2) now; the first word on a target is no change."""
        label = self._target_values(target)
        if label in self._breakers:
            self._breaker_changes.add((label, _BREAKER_STATES[state]))
        self._breakers.add(label)
        self._breaker_state.labels(label).set(state)

    def degraded_changed(self, reason: str) -> None:
        """The degraded mode is on for this reason, a stable token, or off when it is empty."""
        for known in self._degraded_reasons:
            self._degraded.labels(known).set(0)
        if reason:
            self._degraded_reasons.add(reason)
            self._degraded.labels(reason).set(1)

    def verdict_reported(self, verdict: str) -> None:
        """A caller judged a hit: `right` or `wrong`."""
        self._verdicts.add((verdict if verdict in {"right", "wrong"} else OTHER,))

    def budget_refused(self, budget: str) -> None:
        """A call had no room in a budget."""
        self._budget_refusals.add((self._budget_values(budget),))

    def budget_warned(self, budget: str) -> None:
        """A budget passed the share at which it warns, for the first time in its period."""
        self._budget_warnings.add((self._budget_values(budget),))

    def store_skipped(self, reason: str) -> None:
        """An answer wasn't stored."""
        self._skipped.add((self._skipped_values(reason),))

    def watch_store(self, read: Callable[[], StoreStats]) -> None:
        """Export what `Store.stats` returns at each scrape."""
        self._watches.store(read)

    def watch_index(self, read: Read) -> None:
        """Export what `VectorIndex.stats` says at each scrape; see `Watches.index` for the keys."""
        self._watches.index(read)

    def watch_queues(self, read: Read) -> None:
        """Export the depth of each queue, by name, at each scrape."""
        self._watches.queues(read)

    def watch_budgets(self, read: Callable[[], Mapping[str, float]]) -> None:
        """Export what of each budget is spent or reserved, by name, at each scrape."""
        self._watches.budgets(read)

    def _labels(self, record: _Alike) -> tuple[str, str]:
        # Upstreams answer with a snapshot's dated name; then the alias that was asked for says more than `other`.
        models = self._models
        model = record.model if record.model in models else record.alias if record.alias in models else OTHER
        task_type = record.task_type
        return model, task_type if task_type in self._task_types else OTHER if task_type else NO_TASK_TYPE
