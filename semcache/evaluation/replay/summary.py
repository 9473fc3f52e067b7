"""Summarises one replay: hits by tier, wrong hits where labels are known, latencies, dollars."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from semcache.evaluation.replay.playing_workload import AnsweredRequest
from semcache.evaluation.statistics.scoring import Proportion
from semcache.model import HIT_STATUSES, NANOUSD_PER_USD, Status


@dataclass(frozen=True, slots=True)
class StatusLatency:
    """The number of requests of one status, and percentiles of their latency (nearest rank), in milliseconds."""

    requests: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class ReplaySummary:
    """The summary of one replay.

    Attributes:
        requests: the number of requests.
        wall_s: seconds from the first request sent to the last answer.
        statuses: the latency of each status that occurred, in the order of `Status`.
        errors: the number of failed calls by reason.
        hits: hits of all cacheable requests (hits and misses): the hit ratio.
        wrong: of all hits with known labels, those whose answer was first stored for another label.
        wrong_by_status: the number of wrong hits by status.
        spent_usd: dollars that the upstream charged.
        saved_usd: dollars that it would have charged for the hits.
        late_p99_ms: the 99th percentile of the delay with which requests were sent, in milliseconds.
        first_failure: the first failed call in words; empty if none failed.
    """

    requests: int
    wall_s: float
    statuses: dict[Status, StatusLatency]
    errors: dict[str, int]
    hits: Proportion
    wrong: Proportion
    wrong_by_status: dict[Status, int]
    spent_usd: float
    saved_usd: float
    late_p99_ms: float
    first_failure: str = ""

    @property
    def all_failed(self) -> bool:
        """Whether there were requests, and every one failed."""
        return self.requests > 0 and sum(self.errors.values()) == self.requests

    @property
    def savings_percent(self) -> float | None:
        """100 × saved / (saved + spent); None if nothing was saved or spent."""
        total = self.saved_usd + self.spent_usd
        return 100 * self.saved_usd / total if total else None


def summarize_replay(answered: Sequence[AnsweredRequest], wall_s: float) -> ReplaySummary:
    """Return the summary of a replay that took `wall_s` seconds."""
    latencies: dict[Status, list[float]] = defaultdict(list)
    for item in answered:
        latencies[item.status].append(item.latency_s)
    hits = sum(len(latencies[status]) for status in HIT_STATUSES)
    judged = wrong_hits(answered)
    return ReplaySummary(
        requests=len(answered),
        wall_s=wall_s,
        statuses={
            status: StatusLatency(len(values), percentile_ms(values, 50), percentile_ms(values, 99))
            for status in Status
            if (values := latencies[status])
        },
        errors=dict(Counter(item.error for item in answered if item.error)),
        hits=Proportion(hits, hits + len(latencies[Status.MISS])),
        wrong=Proportion(sum(wrong for _, wrong in judged), len(judged)),
        wrong_by_status=dict(Counter(item.status for item, wrong in judged if wrong)),
        spent_usd=sum(item.spent_nanousd for item in answered) / NANOUSD_PER_USD,
        saved_usd=sum(item.saved_nanousd for item in answered) / NANOUSD_PER_USD,
        late_p99_ms=percentile_ms([item.late_s for item in answered], 99) if answered else 0.0,
        first_failure=next((item.failure for item in answered if item.failure), ""),
    )


def wrong_hits(answered: Sequence[AnsweredRequest]) -> list[tuple[AnsweredRequest, bool]]:
    """Return the hits with known labels, each with whether its answer was first stored for another label.

    A hit is left out if its request has no label, or if its entry was not made by a labelled request of this workload.
    """
    made_for = {item.entry_id: item.request.label for item in answered if item.stored and item.entry_id}
    return [
        (item, made_for[item.entry_id] != item.request.label)
        for item in answered
        if item.status in HIT_STATUSES and item.request.label is not None and made_for.get(item.entry_id) is not None
    ]


def percentile_ms(values_s: Sequence[float], percent: int) -> float:
    """Return a percentile (nearest rank) of values in seconds, in milliseconds."""
    rank = max(1, -(-len(values_s) * percent // 100))
    return round(sorted(values_s)[rank - 1] * 1000, 2)
