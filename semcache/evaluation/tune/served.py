"""A server's own hits, judged by its callers, as labelled pairs."""

from __future__ import annotations

from collections.abc import Iterable

from semcache.evaluation.labels.pairs import Pair, user
from semcache.evaluation.tune.comparing import Compared, Relation
from semcache.model import Status, format_entry_id
from semcache.store import JudgedHit

RIGHT = "right"


def pairs_of_hits(hits: Iterable[JudgedHit]) -> tuple[Compared, ...]:
    """Each judged hit as a pair that was compared: right ones are hits, wrong ones traps; the entry groups them.

    Similarity and cost are those that were recorded: nothing is embedded, no price is looked up.
    """
    return tuple(_compared(item) for item in hits)


def _compared(item: JudgedHit) -> Compared:
    hit, entry = item.hit, item.entry
    semantic = hit.status is Status.SEMANTIC_HIT
    pair = Pair(
        pair_id=hit.hit_id,
        stored=user(entry.text),
        asked=user(hit.text),
        same=hit.verdict == RIGHT,
        kind=hit.status.value,
        group=f"{entry.tenant}/{format_entry_id(entry.entry_id)}",
        namespace=entry.namespace,
        task_type=entry.task_type,
    )
    return Compared(
        pair,
        Relation.COMPARED if semantic else Relation.EXACT,
        asked=hit.text,
        stored=entry.text,
        similarity=hit.similarity if semantic else None,
        cost_nanousd=entry.cost.total_nanousd if entry.cost.priced else None,
    )
