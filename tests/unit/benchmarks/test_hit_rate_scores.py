"""The benchmark's figures against values computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.hit_rate.playing import MISS
from benchmarks.hit_rate.prompts import Prompt
from benchmarks.hit_rate.scores import (
    PER_HIT,
    PER_REQUEST,
    Tally,
    area,
    best_setting,
    kinds_of_wrong,
    precision_interval,
    tally,
)
from benchmarks.ranking import compare_rankings
from tests.unit.benchmarks.worlds import world

PROMPTS = [
    Prompt("a", "l:1", "banking77"),
    Prompt("b", "l:1", "banking77"),
    Prompt("c", "l:2", "banking77"),
    Prompt("d", "l:3", "dolly"),
    Prompt("e", "l:4", "fow_cache"),
    Prompt("f", "l:5", "fow_cache"),
]
WORLD = world(PROMPTS, [0, 1, 2, 3, 4, 5])
ASKED = [0, 1, 2, 3, 4, 5]
SERVED = np.array([MISS, 0, 0, 2, MISS, 4])


def test_hits_of_another_label_are_wrong() -> None:
    one = tally(WORLD.labels, ASKED, SERVED)
    assert one == Tally(requests=6, hits=4, wrong=3)
    assert (one.hit_ratio, one.precision) == (pytest.approx(4 / 6), 0.25)
    assert (one.share_wrong(PER_HIT), one.share_wrong(PER_REQUEST)) == (0.75, 0.5)


def test_nothing_served_is_nothing_wrong() -> None:
    assert Tally(5, 0, 0).precision == 1.0


def test_wrong_hits_are_told_by_what_misled() -> None:
    kinds = kinds_of_wrong(WORLD, ASKED, SERVED, {frozenset("ef"): "negation"})
    assert kinds == {"other cluster": 1, "unrelated": 1, "negation": 1}


def test_the_interval_holds_the_precision() -> None:
    low, high = precision_interval(WORLD.labels, ASKED, SERVED) or (1.0, 0.0)
    assert low <= 0.25 <= high


def test_the_area_is_one_for_a_perfect_cache_and_counts_what_is_not_reached_as_zero() -> None:
    assert area([Tally(10, 5, 0)], 0.5) == pytest.approx(1.0)
    assert area([Tally(10, 5, 0)], 1.0) == pytest.approx(0.5)
    # From precision 1 at 0 to .5 at .4: a trapezium of mean .75.
    assert area([Tally(10, 4, 2)], 0.4) == pytest.approx(0.75)


def test_the_best_setting_hits_most_within_the_budget() -> None:
    tallies = {0.8: Tally(100, 60, 6), 0.9: Tally(100, 40, 1), 0.97: Tally(100, 40, 0), math.inf: Tally(100, 10, 0)}
    assert best_setting(tallies, 0.01, PER_HIT) == 0.97
    assert best_setting(tallies, 0.05, PER_HIT) == 0.97  # the stricter of two that hit as much
    assert best_setting(tallies, 0.10, PER_HIT) == 0.8
    assert best_setting(tallies, 0.01, PER_REQUEST) == 0.97
    assert best_setting({0.8: Tally(100, 60, 6)}, 0.01, PER_HIT) is None


def test_rankings_count_ties_half_and_serve_hits_up_to_a_share_of_traps() -> None:
    same = np.array([True, True, False, False])
    perfect, useless = np.array([0.9, 0.8, 0.2, -np.inf]), np.zeros(4)
    auc, first, *_ = compare_rankings(perfect, useless, same, ["a", "b", "c", "d"])
    assert (auc.value, auc.other) == (1.0, 0.5)
    assert (first.value, first.other) == (1.0, 0.0)
    auc, *_ = compare_rankings(np.array([0.9, 0.3, 0.5, 0.1]), perfect, same, ["a", "b", "c", "d"])
    assert auc.value == 0.75  # of four comparisons of a hit with a trap three are right
