"""Judges what was served by the prompts' labels: every answer is traced to the request that it was made for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from semcache.demo.prompts import UNLABELLED, DemoRequest, answer_groups

HITS = ("exact_hit", "semantic_hit", "coalesced")
ERROR = "error"
STATUSES = (*HITS, "miss", "bypass", "refresh", ERROR)


@dataclass(frozen=True, slots=True)
class Played:
    """What the caller saw of one request.

    Attributes:
        request: what was asked.
        status: one of `STATUSES`.
        latency_s: from sending it to the last byte of its answer.
        entry_id: the entry that was served or made; empty for none.
        stored: whether this request's answer became the entry.
        similarity: of the entry served, or of the nearest one on a miss (cosine); None when nothing was compared.
        reason: the server's reason, or the error's.
        vetoes: the guards that refused the nearest entry.
        spent_nanousd: what the upstream charged for it.
        saved_nanousd: what the upstream would have charged for it.
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


class Judgement(Enum):
    """Whether a served answer was made for such a request."""

    RIGHT = "right"
    WRONG = "wrong"
    UNJUDGED = "unjudged"
    """Nothing says: an unlabelled prompt, or an entry that this run didn't make."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A request that was answered from the cache; `made_for` is None when the entry's maker is unknown."""

    played: Played
    made_for: DemoRequest | None
    judgement: Judgement


def judge_hits(played: Sequence[Played]) -> tuple[Hit, ...]:
    """All hits, in the order of `played`, each judged."""
    groups = answer_groups(item.request for item in played)
    makers = {item.entry_id: item.request for item in played if item.stored}
    hits = []
    for item in played:
        if item.status in HITS:
            maker = makers.get(item.entry_id)
            hits.append(Hit(item, maker, _judge(item.request, maker, groups)))
    return tuple(hits)


def _judge(request: DemoRequest, maker: DemoRequest | None, groups: Mapping[str, str]) -> Judgement:
    if maker is None:
        return Judgement.UNJUDGED
    if UNLABELLED in {request.kind, maker.kind}:
        same = (request.model, request.messages) == (maker.model, maker.messages)
        return Judgement.RIGHT if same else Judgement.UNJUDGED
    same_group = groups[request.request_id] == groups[maker.request_id]
    return Judgement.RIGHT if same_group else Judgement.WRONG
