"""The figures of one demo, from what the callers saw; every one of them is a sum or a quotient of counts beside it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from semcache.demo.judging import ERROR, HITS, STATUSES, Hit, Judgement, Played, judge_hits
from semcache.demo.prompts import KINDS
from semcache.model import hit_ratio


@dataclass(frozen=True, slots=True)
class Latency:
    """Of one status, as the callers saw it, to the last byte; nearest rank."""

    count: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class KindCounts:
    """What became of the requests of one kind: `asked` is the sum of the others."""

    asked: int = 0
    right: int = 0
    wrong: int = 0
    unjudged: int = 0
    forwarded: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class ServedInstead:
    """A hit worth reading: what was asked, and the question whose answer was served instead."""

    request_id: str
    kind: str
    differs_in: str
    asked: str
    served: str
    similarity: float | None
    saved_nanousd: int


@dataclass(frozen=True, slots=True)
class Missed:
    """A rewording that went to the upstream though an answer was there."""

    request_id: str
    asked: str
    answered_by: str
    nearest_similarity: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Server:
    """Where the server listened, and what it counted itself, to be held against the callers' view."""

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
    """All of it.

    Attributes:
        requests: how many were played; the sum of `by_status`.
        hit_ratio: (exact + semantic + coalesced) / (requests - bypass - refresh - error); None without any.
        savings_percent: 100 x saved / (saved + spent); None when nothing was priced.
        saved_by_wrong_nanousd: the part of `saved_nanousd` that wrong answers brought, which nobody should count.
        traps_refused: why traps were not served what they resemble: a guard's veto, or the server's reason.
        unpriced: requests whose model has no known price.
    """

    requests: int
    by_status: Mapping[str, int]
    by_kind: Mapping[str, KindCounts]
    hit_ratio: float | None
    latency_ms: Mapping[str, Latency]
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
        """Plain values for `json.dumps`."""
        return asdict(self)


def report(
    played: Sequence[Played], *, wall_s: float, callers: int, latency_scale: float, server: Server
) -> DemoReport:
    """The figures of `played`, which holds every request once, in the order of the file."""
    by_status = Counter(item.status for item in played)
    hits = judge_hits(played)
    wrong = [hit for hit in hits if hit.judgement is Judgement.WRONG]
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
        unjudged_hits=tuple(_served_instead(hit) for hit in hits if hit.judgement is Judgement.UNJUDGED),
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
    """The smallest of `values` that at least `percent` of them don't exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def _latencies(played: Sequence[Played]) -> dict[str, Latency]:
    latencies = {}
    for status in STATUSES:
        values = [1000 * item.latency_s for item in played if item.status == status]
        if values:
            latencies[status] = Latency(len(values), nearest_rank(values, 50), nearest_rank(values, 99))
    return latencies


def _by_kind(played: Sequence[Played], hits: Sequence[Hit]) -> dict[str, KindCounts]:
    ends: Counter[tuple[str, str]] = Counter((hit.played.request.kind, hit.judgement.value) for hit in hits)
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


def _refusal(item: Played) -> str:
    """Why a miss was one: the guards that vetoed the nearest entry, else the server's reason."""
    return f"vetoed by {' and '.join(item.vetoes)}" if item.vetoes else item.reason.replace("_", " ")
