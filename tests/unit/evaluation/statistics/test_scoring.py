"""Scores and their intervals: Wilson's against published values, the bootstrap's where pairs depend on each other."""

import itertools

import pytest

from semcache.evaluation.labels.pairs import Pair, user
from semcache.evaluation.statistics.scoring import Rate, compare, score

_numbers = itertools.count()


def pair(*, same: bool, kind: str = "k", group: str = "") -> Pair:
    number = str(next(_numbers))
    return Pair(number, user(number), user("y"), same, kind, group)


# Newcombe 1998, Statistics in Medicine 17, 857-872, table I, method 3.
@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilsons_interval(count: int, of: int, low: float, high: float) -> None:
    interval = Rate(count, of).interval
    assert interval == pytest.approx((low, high), abs=5e-5)


def test_none_of_none_is_unknown() -> None:
    assert Rate(0, 0).share is None
    assert Rate(0, 0).interval is None


@pytest.mark.parametrize("of", [1, 7, 200])
def test_the_interval_reaches_its_ends(of: int) -> None:
    assert Rate(0, of).interval[0] == 0.0
    assert Rate(of, of).interval[1] == 1.0


def test_a_score_counts_by_label_and_kind() -> None:
    results = [
        (pair(same=True, kind="typo"), True),
        (pair(same=True, kind="typo"), False),
        (pair(same=True, kind="reworded"), True),
        (pair(same=False, kind="number"), True),
        (pair(same=False, kind="negation"), False),
    ]
    told = score(0.97, results)
    assert (told.hits, told.traps) == (Rate(2, 3), Rate(1, 2))
    assert [(kind.kind, kind.same, kind.served) for kind in told.kinds] == [
        ("reworded", True, Rate(1, 1)),
        ("typo", True, Rate(1, 2)),
        ("negation", False, Rate(0, 1)),
        ("number", False, Rate(1, 1)),
    ]


def test_pairs_of_one_cluster_count_as_one_case() -> None:
    # Four clusters of fifty pairs each, served all or none: four cases and not two hundred.
    results = [(pair(same=True, group=f"g{n % 4}"), n % 4 < 2) for n in range(200)]
    hits = score(0.9, results).hits
    assert (hits.count, hits.of, hits.groups, hits.method) == (100, 200, 4, "cluster_bootstrap")
    low, high = hits.interval
    # Of the 2^4 equally likely draws of served or not, 1 in 16 gives 0 and 1 in 16 gives 1: beyond 2.5 % at both ends.
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
    first = [(one, number % 4 == 0) for number, one in enumerate(pairs)]
    second = [(one, number % 4 == 0 or number == 2) for number, one in enumerate(pairs)]
    told = compare(first, second)
    assert told.hits.difference == pytest.approx(1 / 200)
    # One more of 200 hits: 0 to 3 of them in a resample, where unpaired intervals would be 14 points wide.
    assert told.hits.interval[0] == 0.0
    assert told.hits.interval[1] < 0.02
    assert (told.traps.difference, told.traps.interval) == (0.0, (0.0, 0.0))
    assert told.wrong.difference == 0.0


def test_a_difference_to_a_setting_that_serves_nothing_is_unknown() -> None:
    pairs = [pair(same=True), pair(same=False)]
    told = compare([(one, True) for one in pairs], [(one, False) for one in pairs])
    assert told.hits.difference == -1.0
    assert told.wrong.difference is None


def test_wrong_is_of_all_that_was_served() -> None:
    results = [(pair(same=n > 0), True) for n in range(4)]
    assert score(0.9, results).wrong == Rate(1, 4)
