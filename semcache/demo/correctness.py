"""Finds out which hits were right: traces every served answer to the request that it was made for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from semcache.demo.prompts import UNLABELLED, DemoRequest, answer_groups

HITS = ("exact_hit", "semantic_hit", "coalesced")
ERROR = "error"
STATUSES = (*HITS, "miss", "bypass", "refresh", ERROR)


@dataclass(frozen=True, slots=True)
class PlayedRequest:
    """One request as its caller saw it.

    Attributes:
        request: the request.
        status: one of `STATUSES`.
        latency_s: seconds from sending it to the last byte of its answer.
        entry_id: the entry that was served or made; empty for none.
        stored: whether this request's answer became the entry.
        similarity: the cosine to the served entry, or on a miss to the nearest; None when nothing was compared.
        reason: the server's reason, or the error's.
        vetoes: the names of the guards that vetoed the nearest entry.
        spent_nanousd: nanodollars that the upstream charged.
        saved_nanousd: nanodollars that the upstream would have charged for a hit.
        priced: whether the model's price is known.
    """

    request: DemoRequest
    status: str
    latency_s: float
    entry_id: str = ""
    stored: bool = False
    similarity: float | None = None
    reason: str = ""
    vetoes: tuple[str, ...] = ()
    spent_nanousd: int = 0
    saved_nanousd: int = 0
    priced: bool = True


class Correctness(Enum):
    """Whether a served answer was made for a request with the same answer."""

    RIGHT = "right"
    WRONG = "wrong"
    UNJUDGED = "unjudged"
    """Unknown: a prompt has no label, or this run didn't make the entry."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A request that was answered from the cache.

    Attributes:
        played: the request and its result.
        made_for: the request whose answer was served; None if this run didn't make the entry.
        correctness: whether the answer was right.
    """

    played: PlayedRequest
    made_for: DemoRequest | None
    correctness: Correctness


def trace_hits(played: Sequence[PlayedRequest]) -> tuple[Hit, ...]:
    """Return all hits, in the order of `played`, each with its correctness."""
    groups = answer_groups(item.request for item in played)
    makers = {item.entry_id: item.request for item in played if item.stored}
    hits = []
    for item in played:
        if item.status in HITS:
            maker = makers.get(item.entry_id)
            hits.append(Hit(item, maker, _correctness(item.request, maker, groups)))
    return tuple(hits)


def _correctness(request: DemoRequest, maker: DemoRequest | None, groups: Mapping[str, str]) -> Correctness:
    if maker is None:
        return Correctness.UNJUDGED
    if UNLABELLED in {request.kind, maker.kind}:
        same = (request.model, request.messages) == (maker.model, maker.messages)
        return Correctness.RIGHT if same else Correctness.UNJUDGED
    same_group = groups[request.request_id] == groups[maker.request_id]
    return Correctness.RIGHT if same_group else Correctness.WRONG
