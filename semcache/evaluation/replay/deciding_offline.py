"""Decides, for several settings, about pairs whose similarities a real server computed once."""

from __future__ import annotations

from collections.abc import Sequence

from semcache.evaluation.replay.playing_pairs import PlayedPair
from semcache.evaluation.tune.comparing import ComparedPair, Relation
from semcache.evaluation.tune.pair_scores import score_pairs
from semcache.evaluation.tune.specs import Spec


def compared_by_server(played: Sequence[PlayedPair]) -> tuple[ComparedPair, ...]:
    """Return the comparisons that a server made of played pairs, each in a namespace of its own."""
    return tuple(_compared(item) for item in played)


def replay_decision(played: Sequence[PlayedPair], spec: Spec) -> list[bool]:
    """Return for each pair whether a server under `spec` would have served it."""
    scored = score_pairs(compared_by_server(played), spec.decider)
    return [bool(flag) for flag in scored.served(spec.decision.threshold)]


def _compared(item: PlayedPair) -> ComparedPair:
    asked, stored = item.pair.asked[-1]["content"], item.pair.stored[-1]["content"]
    if item.exact:
        return ComparedPair(item.pair, Relation.EXACT, asked, stored)
    if item.similarity is None:
        return ComparedPair(item.pair, Relation.APART, asked, stored, reason="not_compared")
    return ComparedPair(item.pair, Relation.COMPARED, asked, stored, item.similarity)
