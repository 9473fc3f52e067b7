"""The figures of one replay: hits by tier, wrong ones where labels tell, latencies, dollars."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from semcache.evaluation.replay.replaying import Answered
from semcache.evaluation.statistics.scoring import Rate
from semcache.model import HIT_STATUSES, NANOUSD_PER_USD, Status


@dataclass(frozen=True, slots=True)
class Latency:
    """Requests of one status, and what they took; nearest rank, milliseconds."""

    requests: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one replay.

    Attributes:
        requests: all of them.
        wall_s: from the first one sent to the last one answered.
        statuses: in the order of `Status`; those that occurred.
        errors: failed calls by reason.
        hits: of the cacheable requests (hits and misses): the hit ratio.
        wrong: hits that returned an answer first stored for another label, of all hits that labels tell about; of none
            where there are no labels.
        wrong_by_status: wrong hits by tier.
        spent_usd: what the upstream charged.
        saved_usd: what it would have charged for the hits.
        late_p99_ms: by how much requests were sent later than their time.
    """

    requests: int
    wall_s: float
    statuses: dict[Status, Latency]
    errors: dict[str, int]
    hits: Rate
    wrong: Rate
    wrong_by_status: dict[Status, int]
    spent_usd: float
    saved_usd: float
    late_p99_ms: float

    @property
    def savings_percent(self) -> float | None:
        """Saved of saved and spent, percent; None where neither."""
        total = self.saved_usd + self.spent_usd
        return 100 * self.saved_usd / total if total else None


def figures_of(answered: Sequence[Answered], wall_s: float) -> Figures:
    """Count what came back."""
    latencies: dict[Status, list[float]] = defaultdict(list)
    for one in answered:
        latencies[one.status].append(one.latency_s)
    hits = sum(len(latencies[status]) for status in HIT_STATUSES)
    judged = wrong_hits(answered)
    return Figures(
        requests=len(answered),
        wall_s=wall_s,
        statuses={
            status: Latency(len(values), percentile_ms(values, 50), percentile_ms(values, 99))
            for status in Status
            if (values := latencies[status])
        },
        errors=dict(Counter(one.error for one in answered if one.error)),
        hits=Rate(hits, hits + len(latencies[Status.MISS])),
        wrong=Rate(sum(wrong for _, wrong in judged), len(judged)),
        wrong_by_status=dict(Counter(one.status for one, wrong in judged if wrong)),
        spent_usd=sum(one.spent_nanousd for one in answered) / NANOUSD_PER_USD,
        saved_usd=sum(one.saved_nanousd for one in answered) / NANOUSD_PER_USD,
        late_p99_ms=percentile_ms([one.late_s for one in answered], 99) if answered else 0.0,
    )


def wrong_hits(answered: Sequence[Answered]) -> list[tuple[Answered, bool]]:
    """Each hit that labels tell about, and whether its answer was first stored for another label.

    A hit on an entry that this stream didn't make, or made without a label, isn't judged.
    """
    made_for = {one.entry_id: one.request.label for one in answered if one.stored and one.entry_id}
    return [
        (one, made_for[one.entry_id] != one.request.label)
        for one in answered
        if one.status in HIT_STATUSES and one.request.label is not None and made_for.get(one.entry_id) is not None
    ]


def percentile_ms(values_s: Sequence[float], percent: int) -> float:
    """The nearest rank of some seconds, milliseconds."""
    rank = max(1, -(-len(values_s) * percent // 100))
    return round(sorted(values_s)[rank - 1] * 1000, 2)
