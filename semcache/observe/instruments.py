"""Every metric that semcache counts itself: its name, help text, labels and buckets.

Dashboards and alerts are built on these. `tests/golden/metrics_page.txt` pins them, in the order in which they are
registered here.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

from prometheus_client import CollectorRegistry, Gauge

from semcache.model import NANOUSD_PER_USD
from semcache.observe.histogram import Histogram
from semcache.observe.tally import Tally
from semcache.observe.window import Window
from semcache.ports import Clock

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

_MONEY = ("model", "task_type")
"""The labels of every metric in dollars."""


class Instruments:
    """The instruments on one registry.

    Args:
        registry: where the instruments register themselves.
        lock: guards the counters, the histograms and the window. Whoever holds it changes several in one step.
        clock: its wall-clock seconds become the `_created` samples.
        window: what the derived gauges read at each scrape.
        window_s: the length of the window, seconds, for the help texts.
    """

    def __init__(
        self, registry: CollectorRegistry, *, lock: Lock, clock: Clock, window: Window, window_s: float
    ) -> None:
        self._registry = registry
        self._lock = lock
        self._wall = clock.wall
        self._define_counters()
        self._define_histograms()
        self._define_gauges(window, window_s)

    def _define_counters(self) -> None:
        tally = self._tally
        self.requests = tally("requests", "Requests by what became of them.", "status", *_MONEY)
        self.cost = tally("cost_usd", "What upstream calls cost, in dollars.", *_MONEY, units=NANOUSD_PER_USD)
        self.saved = tally(
            "saved_usd", "What upstreams would have charged for hits, in dollars.", *_MONEY, units=NANOUSD_PER_USD
        )
        self.unpriced = tally(
            "unpriced_requests", "Requests whose model has no known price; no amount of money includes them."
        )
        self.partly_priced = tally(
            "partly_priced_requests",
            "Requests whose amount of money lacks the right price of a part, or of the service tier.",
        )
        self.decisions = tally("decisions", "Requests by the reason of the decision.", "reason")
        self.errors = tally("errors", "Failed requests by the error's reason.", "reason")
        self.vetoes = tally("guard_vetoes", "Candidates that a guard vetoed.", "guard")
        self.attempts = tally("upstream_attempts", "Tries of upstream calls by outcome.", "target", "outcome")
        self.swaps = tally(
            "upstream_other_model",
            "Answers that name another model than was asked for, its dated snapshots aside.",
            "target",
        )
        self.breaker_changes = tally(
            "upstream_breaker_changes", "Changes of targets' breakers by the new state.", "target", "state"
        )
        self.verdicts = tally("verdicts", "Reported verdicts on hits.", "verdict")
        self.overhead = tally(
            "overhead_usd",
            "What saving itself cost, in dollars: at the configured rates, and calls of verifiers and judges, which "
            "semcache_cost_usd has too.",
            *_MONEY,
            units=NANOUSD_PER_USD,
        )
        self.budget_refusals = tally("budget_refusals", "Calls that a budget had no room for.", "budget")
        self.budget_warnings = tally("budget_warnings", "Periods in which a budget passed its warning.", "budget")
        self.implausible = tally("implausible_usages", "Usages with a count that can't be true; it was estimated.")
        self.skipped = tally("store_skipped", "Answers that weren't stored, by reason.", "reason")
        self.judged = tally("judge_questions", "Requests that the judge could decide, by what came of it.", "result")
        self.judge_cost = tally("judge_cost_usd", "What calls to the judge cost, in dollars.", units=NANOUSD_PER_USD)
        self.passed = tally(
            "http_passed",
            "Calls of unknown paths by target and outcome. No other metric, no budget and no ledger counts them.",
            "target",
            "outcome",
        )

    def _define_histograms(self) -> None:
        histogram = self._histogram
        self.duration = histogram(
            "semcache_request_duration_seconds",
            "Time from a request to its end.",
            "status",
            buckets=_DURATION_BUCKETS_S,
        )
        self.stage_duration = histogram(
            "semcache_stage_duration_seconds",
            "Time of each stage of a request.",
            "stage",
            buckets=_DURATION_BUCKETS_S,
        )
        self.upstream_duration = histogram(
            "semcache_upstream_duration_seconds",
            "Time of an upstream call, retries included.",
            "target",
            buckets=_DURATION_BUCKETS_S,
        )
        self.judge_duration = histogram(
            "semcache_judge_duration_seconds",
            "Time of a call to the judge, also after its request has gone on.",
            buckets=_DURATION_BUCKETS_S,
        )
        self.request_cost = histogram(
            "llm_request_cost_usd",
            "What a request cost upstream, in dollars; hits cost 0, requests without a known price are left out.",
            *_MONEY,
            buckets=_COST_BUCKETS_USD,
        )
        self.batch_size = histogram(
            "semcache_embedding_batch_size", "Texts in one forward pass.", buckets=_BATCH_BUCKETS
        )

    def _define_gauges(self, window: Window, window_s: float) -> None:
        registry = self._registry
        stated = f"over the last {window_s:g} s; NaN while there were none."
        Gauge("llm_cache_hit_ratio", f"Hits / (hits + misses) {stated}", registry=registry).set_function(
            window.hit_ratio
        )
        Gauge("llm_cost_savings_percent", f"100 * saved / (saved + spent) {stated}", registry=registry).set_function(
            window.savings_percent
        )
        self.breaker_state = Gauge(
            "semcache_upstream_breaker_state",
            "A target's breaker: 0 closed, 1 half open, 2 open.",
            ("target",),
            registry=registry,
        )
        self.degraded = Gauge(
            "semcache_degraded_mode",
            "1 while the degraded mode is on for this reason, as of the last upstream call.",
            ("reason",),
            registry=registry,
        )

    def _tally(self, name: str, documentation: str, *labels: str, units: int = 1) -> Tally:
        return Tally(self._registry, f"semcache_{name}", documentation, labels, units=units, lock=self._lock)

    def _histogram(self, name: str, documentation: str, *labels: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(self._registry, name, documentation, labels, buckets=buckets, lock=self._lock, wall=self._wall)
