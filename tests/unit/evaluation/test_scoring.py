"""Scores and Wilson's interval, against published values."""

import pytest

from semcache.evaluation.labels import Pair
from semcache.evaluation.scoring import Rate, score


def pair(*, same: bool, kind: str) -> Pair:
    return Pair("1", ({"role": "user", "content": "x"},), ({"role": "user", "content": "y"},), same, kind)


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
