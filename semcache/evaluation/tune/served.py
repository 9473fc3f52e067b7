"""Turns a server's own hits, which its callers reported as right or wrong, into labelled pairs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from semcache.evaluation.labels.pairs import LabelledPair, user
from semcache.evaluation.tune.comparing import ComparedPair, Relation
from semcache.model import Status
from semcache.store import JudgedHit

RIGHT = "right"


def pairs_of_hits(hits: Iterable[JudgedHit]) -> tuple[ComparedPair, ...]:
    """Return each judged hit as a compared pair: a right one is a hit, a wrong one is a trap.

    Pairs of one day (UTC) form a group, because requests of one day depend on each other. Similarity and cost come from
    the record, so no text is embedded here.
    """
    return tuple(_compared(item) for item in hits)


def _compared(item: JudgedHit) -> ComparedPair:
    hit, entry = item.hit, item.entry
    semantic = hit.status is Status.SEMANTIC_HIT
    pair = LabelledPair(
        pair_id=hit.hit_id,
        stored=user(entry.text),
        asked=user(hit.text),
        same=hit.verdict == RIGHT,
        kind=hit.status.value,
        group=datetime.fromtimestamp(hit.at_s, UTC).date().isoformat(),
        namespace=entry.namespace,
        task_type=entry.task_type,
    )
    return ComparedPair(
        pair,
        Relation.COMPARED if semantic else Relation.EXACT,
        asked=hit.text,
        stored=entry.text,
        similarity=hit.similarity if semantic else None,
        cost_nanousd=entry.cost.total_nanousd if entry.cost.priced else None,
    )
