"""Several settings over pairs that a real server compared once: the server's similarities, each setting's decision."""

from __future__ import annotations

from collections.abc import Sequence

from semcache.evaluation.replay.playing import Played
from semcache.evaluation.tune.comparing import Compared, Relation
from semcache.evaluation.tune.judging import judge
from semcache.evaluation.tune.specs import Spec


def compared_by_server(played: Sequence[Played]) -> tuple[Compared, ...]:
    """What a server found out about pairs that it was asked about, each in a namespace of its own."""
    return tuple(_compared(one) for one in played)


def replay_decision(played: Sequence[Played], spec: Spec) -> list[bool]:
    """Which of the pairs `spec` would have served."""
    judged = judge(compared_by_server(played), spec.decider)
    return [bool(flag) for flag in judged.served(spec.decision.threshold)]


def _compared(one: Played) -> Compared:
    asked, stored = one.pair.asked[-1]["content"], one.pair.stored[-1]["content"]
    if one.exact:
        return Compared(one.pair, Relation.EXACT, asked, stored)
    if one.similarity is None:
        return Compared(one.pair, Relation.APART, asked, stored, reason="not_compared")
    return Compared(one.pair, Relation.COMPARED, asked, stored, one.similarity)
