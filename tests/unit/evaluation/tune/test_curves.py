"""The points of a curve, compared with counts made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from semcache.errors import InvalidRequestError
from semcache.evaluation.labels.pairs import LabelledPair, user
from semcache.evaluation.tune.comparing import ComparedPair, Relation
from semcache.evaluation.tune.curves import Mix, curve, distinct_thresholds
from semcache.evaluation.tune.money import worth_of
from semcache.evaluation.tune.pair_scores import Requests, ScoredPairs, ScoredRequests, score_requests
from semcache.settings import CostSettings
from tests.support.scored import scored_requests

PAIR = LabelledPair("1", user("a"), user("b"), same=True, kind="k")
SCORES = [math.inf, 0.99, 0.98, 0.98, 0.9, -math.inf]
SAME = [True, True, False, True, False, False]


def scored() -> ScoredRequests:
    return scored_requests(SCORES, SAME)


def test_points_count_what_is_served() -> None:
    points = curve(scored(), [0.995, 0.98, 0.5], mix=Mix(), usd=np.full(6, 0.002), cost_of_wrong_usd=0.01)
    assert [(point.hits, point.traps, point.exact) for point in points] == [(1, 0, 1), (3, 1, 1), (3, 2, 1)]
    top, middle, _ = points
    assert (top.wrong_share, top.wrong_upper) == (0.0, None)
    assert middle.wrong_share == pytest.approx(1 / 4)
    assert middle.hit_ratio == pytest.approx(4 / 6)
    # Of 1,000 requests like these, 4/6 save $0.002 each and 1/6 cost $0.01 each.
    assert middle.net_usd == pytest.approx(1000 * (4 / 6 * 0.002 - 1 / 6 * 0.01))


def test_a_trap_share_reweights_shares_and_dollars_and_leaves_counts() -> None:
    (point,) = curve(scored(), [0.98], mix=Mix(0.1), usd=np.full(6, 1.0), cost_of_wrong_usd=0.0)
    # All three hits and one of three traps are served: .9 × 1 + .1 / 3 of the requests.
    assert (point.hits, point.traps) == (3, 1)
    assert point.hit_ratio == pytest.approx(0.9 + 0.1 / 3)
    assert point.wrong_share == pytest.approx((0.1 / 3) / (0.9 + 0.1 / 3))
    assert point.net_usd == pytest.approx(1000 * (0.9 + 0.1 / 3))


def test_distinct_thresholds_are_told_to_four_decimals_and_rounded_down() -> None:
    one = scored()
    assert distinct_thresholds(one).tolist() == [0.99, 0.98, 0.9]
    other = scored_requests([0.98765], [True])
    assert distinct_thresholds(other).tolist() == [0.9876]
    assert other.served(0.9876).all()


def test_a_request_is_served_its_nearest_candidate_that_reaches_the_threshold() -> None:
    # The nearest candidate is wrong and scores .8, the second is right and scores .95, the third is never reached.
    pairs = (ComparedPair(PAIR, Relation.COMPARED, "b", "a", 0.9),) * 3
    one = ScoredPairs(pairs, np.array([0.8, 0.95, 0.9]), np.array([False, True, False]), ((),) * 3)
    row = score_requests(one, Requests(np.array([[0, 1, 2], [0, -1, -1]]), np.array([0.5, 0.5]), alone=1.0))
    assert row.requests == 2.0
    points = curve(row, [0.96, 0.9, 0.8, 0.5], mix=Mix(), usd=np.ones(len(row.pairs)), cost_of_wrong_usd=0.0)
    assert [(point.hits, point.traps) for point in points] == [(0, 0), (0.5, 0), (0, 1), (0, 1)]
    assert points[2].hit_ratio == pytest.approx(0.5)


def test_worth_is_what_the_entry_cost_or_an_estimate() -> None:
    known = ComparedPair(PAIR, Relation.COMPARED, "b", "a", 0.9, cost_nanousd=2_000_000)
    unknown = ComparedPair(PAIR, Relation.COMPARED, "b", "a", 0.9, prompt_tokens=1000)
    options = {"model": "gpt-4o-mini", "output_tokens": 500, "at_s": 1.7e9, "costs": CostSettings()}
    all_known = worth_of([known], **options)
    assert (all_known.usd.tolist(), all_known.estimated) == ([0.002], 0)
    mixed = worth_of([known, unknown], **options)
    # $0.15 and $0.60 per million tokens.
    assert mixed.usd.tolist() == pytest.approx([0.002, 1000 * 0.15e-6 + 500 * 0.6e-6])
    assert mixed.estimated == 1
    assert "for 1 of 2 estimates" in mixed.basis
    with pytest.raises(InvalidRequestError, match="'no-such-model' isn't known"):
        worth_of([unknown], **{**options, "model": "no-such-model"})
