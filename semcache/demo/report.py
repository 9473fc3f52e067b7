"""Computes the report of a demo from what its callers saw; every ratio is a quotient of counts in the report."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from semcache.demo.correctness import ERROR, HITS, STATUSES, Correctness, Hit, PlayedRequest, trace_hits
from semcache.demo.prompts import KINDS
from semcache.model import hit_ratio


@dataclass(frozen=True, slots=True)
class CallerLatency:
    """The number of requests of one status, and percentiles of the time to their last byte (nearest rank)."""

    count: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class KindCounts:
    """The number of requests of one kind, by result; `asked` is the sum of the others."""

    asked: int = 0
    right: int = 0
    wrong: int = 0
    unjudged: int = 0
    forwarded: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class ServedInstead:
    """A hit that was wrong or is unjudged: the question, and the question whose answer was served."""

    request_id: str
    kind: str
    differs_in: str
    asked: str
    served: str
    similarity: float | None
    saved_nanousd: int


@dataclass(frozen=True, slots=True)
class Missed:
    """A reworded request that went to the upstream although the cache had its answer."""

    request_id: str
    asked: str
    answered_by: str
    nearest_similarity: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Server:
    """The server's addresses and its own counts, to compare with what the callers saw."""

    address: str
    metrics_url: str
    requests: int
    spent_nanousd: int
    saved_nanousd: int
    entries: int
    embedder: str
    threshold: float


@dataclass(frozen=True, slots=True)
class DemoReport:
    """The report of one demo.

    Attributes:
        requests: the number of requests; the sum of `by_status`.
        by_status: the number of requests by status.
        by_kind: the results by kind of request.
        hit_ratio: (exact + semantic + coalesced) / (requests - bypass - refresh - error); None if that divides by 0.
        latency_ms: the latency by status.
        spent_nanousd: what the upstream charged.
        saved_nanousd: what the upstream would have charged for the hits.
        saved_by_wrong_nanousd: the part of `saved_nanousd` that comes from wrong answers.
        savings_percent: 100 x saved / (saved + spent); None if nothing was priced.
        unpriced: requests whose model has no known price.
        wrong_hits: the hits with a wrong answer.
        unjudged_hits: the hits whose correctness is unknown.
        rewordings_missed: the reworded requests that were not served from the cache.
        traps_refused: the number of traps that were not served, by a guard's veto or the server's reason.
        errors: the number of failed requests by reason.
        wall_s: seconds from the first request to the last answer.
        callers: the number of requests under way at once.
        latency_scale: the scripted provider's latency; 1 is that of a real provider.
        server: the server's addresses and its own counts.
    """

    requests: int
    by_status: Mapping[str, int]
    by_kind: Mapping[str, KindCounts]
    hit_ratio: float | None
    latency_ms: Mapping[str, CallerLatency]
    spent_nanousd: int
    saved_nanousd: int
    saved_by_wrong_nanousd: int
    savings_percent: float | None
    unpriced: int
    wrong_hits: tuple[ServedInstead, ...]
    unjudged_hits: tuple[ServedInstead, ...]
    rewordings_missed: tuple[Missed, ...]
    traps_refused: Mapping[str, int]
    errors: Mapping[str, int]
    wall_s: float
    callers: int
    latency_scale: float
    server: Server

    def as_json(self) -> dict[str, object]:
        """Return the report as an object for `json.dumps`."""
        return asdict(self)


def report(
    played: Sequence[PlayedRequest], *, wall_s: float, callers: int, latency_scale: float, server: Server
) -> DemoReport:
    """Return the report of `played`, which holds every request once, in the order of the file."""
    by_status = Counter(item.status for item in played)
    hits = trace_hits(played)
    wrong = [hit for hit in hits if hit.correctness is Correctness.WRONG]
    spent, saved = sum(item.spent_nanousd for item in played), sum(item.saved_nanousd for item in played)
    questions = {item.request.request_id: item.request.asked for item in played}
    return DemoReport(
        requests=len(played),
        by_status={status: by_status[status] for status in STATUSES},
        by_kind=_by_kind(played, hits),
        hit_ratio=hit_ratio(by_status),
        latency_ms=_latencies(played),
        spent_nanousd=spent,
        saved_nanousd=saved,
        saved_by_wrong_nanousd=sum(hit.played.saved_nanousd for hit in wrong),
        savings_percent=100 * saved / (saved + spent) if saved + spent else None,
        unpriced=sum(1 for item in played if item.status != ERROR and not item.priced),
        wrong_hits=tuple(_served_instead(hit) for hit in wrong),
        unjudged_hits=tuple(_served_instead(hit) for hit in hits if hit.correctness is Correctness.UNJUDGED),
        rewordings_missed=tuple(
            Missed(
                request_id=item.request.request_id,
                asked=item.request.asked,
                answered_by=questions[item.request.of],
                nearest_similarity=item.similarity,
                reason=_refusal(item),
            )
            for item in played
            if item.request.kind == "reworded" and item.status == "miss"
        ),
        traps_refused=dict(
            Counter(_refusal(item) for item in played if item.request.kind == "trap" and item.status == "miss")
        ),
        errors=dict(Counter(item.reason for item in played if item.status == ERROR)),
        wall_s=wall_s,
        callers=callers,
        latency_scale=latency_scale,
        server=server,
    )


def nearest_rank(values: Sequence[float], percent: float) -> float:
    """Return the smallest of `values` that at least `percent` percent of them don't exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def _latencies(played: Sequence[PlayedRequest]) -> dict[str, CallerLatency]:
    latencies = {}
    for status in STATUSES:
        values = [1000 * item.latency_s for item in played if item.status == status]
        if values:
            latencies[status] = CallerLatency(len(values), nearest_rank(values, 50), nearest_rank(values, 99))
    return latencies


def _by_kind(played: Sequence[PlayedRequest], hits: Sequence[Hit]) -> dict[str, KindCounts]:
    ends: Counter[tuple[str, str]] = Counter((hit.played.request.kind, hit.correctness.value) for hit in hits)
    ends.update(
        (item.request.kind, "failed" if item.status == ERROR else "forwarded")
        for item in played
        if item.status not in HITS
    )
    names = ("right", "wrong", "unjudged", "forwarded", "failed")
    counts = {kind: {name: ends[kind, name] for name in names} for kind in KINDS}
    return {kind: KindCounts(asked=sum(of.values()), **of) for kind, of in counts.items() if any(of.values())}


def _served_instead(hit: Hit) -> ServedInstead:
    request = hit.played.request
    return ServedInstead(
        request_id=request.request_id,
        kind=request.kind,
        differs_in=request.differs_in,
        asked=request.asked,
        served=hit.made_for.asked if hit.made_for else "(an entry that this run did not make)",
        similarity=hit.played.similarity,
        saved_nanousd=hit.played.saved_nanousd,
    )


def _refusal(item: PlayedRequest) -> str:
    """Return why a request was a miss: the guards that vetoed the nearest entry, or else the server's reason."""
    return f"vetoed by {' and '.join(item.vetoes)}" if item.vetoes else item.reason.replace("_", " ")
