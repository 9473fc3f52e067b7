"""Scored requests from plain lists, and the units of them, for tests that choose thresholds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from semcache.evaluation.labels.pairs import LabelledPair, user
from semcache.evaluation.tune.comparing import ComparedPair, Relation
from semcache.evaluation.tune.pair_scores import ScoredPairs, ScoredRequests, one_candidate_each, score_requests
from semcache.evaluation.tune.units import Units


def scored_requests(scores: Sequence[float], same: Sequence[bool]) -> ScoredRequests:
    """Return a request with one candidate for each score, in the order of `scores`."""
    pairs = tuple(
        ComparedPair(
            LabelledPair(str(number), user(f"stored {number}"), user(f"asked {number}"), flag, "k"),
            Relation.COMPARED,
            "asked",
            "stored",
            0.9,
        )
        for number, flag in enumerate(same)
    )
    columns = np.array(scores, np.float64), np.array(same, np.bool_)
    return score_requests(ScoredPairs(pairs, *columns, ((),) * len(pairs)), one_candidate_each(len(pairs)))


def units(asked: Sequence[int], stored: Sequence[int] | None = None) -> Units:
    """Return units by number; without `stored`, both sides of a pair lie in one unit."""
    numbers = np.array(asked, np.int64)
    others = numbers if stored is None else np.array(stored, np.int64)
    return Units(numbers, others, len(set(asked)), "groups")
