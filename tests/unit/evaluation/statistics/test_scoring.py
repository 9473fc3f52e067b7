"""Scores and their intervals: Wilson's by published values, the bootstrap's for pairs that depend on each other."""

import itertools

import pytest

from semcache.evaluation.labels.pairs import LabelledPair, user
from semcache.evaluation.statistics.scoring import Proportion, compare, score

_numbers = itertools.count()


def pair(*, same: bool, kind: str = "k", group: str = "") -> LabelledPair:
    number = str(next(_numbers))
    return LabelledPair(number, user(number), user("y"), same, kind, group)


# Newcombe 1998, Statistics in Medicine 17, 857-872, table I, method 3.
@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilsons_interval(count: int, of: int, low: float, high: float) -> None:
    interval = Proportion(count, of).interval
    assert interval == pytest.approx((low, high), abs=5e-5)


def test_none_of_none_is_unknown() -> None:
    assert Proportion(0, 0).share is None
    assert Proportion(0, 0).interval is None


@pytest.mark.parametrize("of", [1, 7, 200])
def test_the_interval_reaches_its_ends(of: int) -> None:
    assert Proportion(0, of).interval[0] == 0.0
    assert Proportion(of, of).interval[1] == 1.0


def test_a_score_counts_by_label_and_kind() -> None:
    results = [
        (pair(same=True, kind="typo"), True),
        (pair(same=True, kind="typo"), False),
        (pair(same=True, kind="reworded"), True),
        (pair(same=False, kind="number"), True),
        (pair(same=False, kind="negation"), False),
    ]
    result = score(0.97, results)
    assert (result.hits, result.traps) == (Proportion(2, 3), Proportion(1, 2))
    assert [(kind.kind, kind.same, kind.served) for kind in result.kinds] == [
        ("reworded", True, Proportion(1, 1)),
        ("typo", True, Proportion(1, 2)),
        ("negation", False, Proportion(0, 1)),
        ("number", False, Proportion(1, 1)),
    ]


def test_pairs_of_one_cluster_count_as_one_case() -> None:
    # Four clusters of fifty pairs, each served as a whole or not at all, are four cases and not two hundred.
    results = [(pair(same=True, group=f"g{n % 4}"), n % 4 < 2) for n in range(200)]
    hits = score(0.9, results).hits
    assert (hits.count, hits.of, hits.groups, hits.method) == (100, 200, 4, "cluster_bootstrap")
    low, high = hits.interval
    # 1 of 16 equally likely draws gives 0 and 1 of 16 gives 1: each is more than the 2.5 % beyond an end.
    assert (low, high) == (0.0, 1.0)
    independent = score(0.9, [(pair(same=True), n % 2 == 0) for n in range(200)]).hits
    assert independent.method == "wilson"
    assert independent.interval == pytest.approx((0.4314, 0.5686), abs=1e-4)


def test_nothing_served_of_a_few_clusters_is_little_evidence() -> None:
    results = [(pair(same=False, group=f"g{n % 20}"), False) for n in range(2000)]
    traps = score(0.9, results).traps
    assert traps.method == "wilson_of_groups"
    assert traps.interval == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_a_difference_is_paired() -> None:
    pairs = [pair(same=n % 2 == 0) for n in range(400)]
    first = [(pair, number % 4 == 0) for number, pair in enumerate(pairs)]
    second = [(pair, number % 4 == 0 or number == 2) for number, pair in enumerate(pairs)]
    comparison = compare(first, second)
    assert comparison.hits.difference == pytest.approx(1 / 200)
    # One more of 200 hits occurs 0 to 3 times in a resample; unpaired intervals would be 14 points wide.
    assert comparison.hits.interval[0] == 0.0
    assert comparison.hits.interval[1] < 0.02
    assert (comparison.traps.difference, comparison.traps.interval) == (0.0, (0.0, 0.0))
    assert comparison.wrong.difference == 0.0


def test_a_difference_to_a_setting_that_serves_nothing_is_unknown() -> None:
    pairs = [pair(same=True), pair(same=False)]
    comparison = compare([(pair, True) for pair in pairs], [(pair, False) for pair in pairs])
    assert comparison.hits.difference == -1.0
    assert comparison.wrong.difference is None


def test_wrong_is_of_all_that_was_served() -> None:
    results = [(pair(same=n > 0), True) for n in range(4)]
    assert score(0.9, results).wrong == Proportion(1, 4)
