"""The cluster bootstrap, compared with counts made by hand; its coverage is simulated."""

from __future__ import annotations

import numpy as np
import pytest

from semcache.evaluation.statistics.bootstrap import percentiles, resample


def test_a_group_is_drawn_whole_or_not_at_all() -> None:
    columns = np.array([[1, 1], [1, 1], [1, 0], [1, 0], [1, 0]])
    sums = resample(columns, ["a", "a", "b", "b", "b"], resamples=500).sums
    # Two draws from the two groups: a twice (4 pairs), b twice (6), or each once (5).
    assert {tuple(row) for row in sums.tolist()} == {(4.0, 4.0), (5.0, 2.0), (6.0, 0.0)}
    assert np.mean(sums[:, 0] == 5.0) == pytest.approx(0.5, abs=0.08)


def test_the_same_seed_gives_the_same_draws_for_every_column() -> None:
    columns = np.ones((40, 1))
    groups = list(range(40))
    one, two = (resample(np.hstack([columns, columns * scale]), groups) for scale in (2, 3))
    assert (one.sums[:, 0] == two.sums[:, 0]).all()
    assert (one.sums[:, 1] * 3 == two.sums[:, 1] * 2).all()


def test_percentiles_leave_out_what_has_no_value() -> None:
    assert percentiles(np.array([np.nan, *np.arange(101.0)])) == pytest.approx((2.5, 97.5))
    assert percentiles(np.array([np.nan])) is None


def test_a_ratio_of_nothing_is_no_number() -> None:
    ratio = resample(np.array([[1.0, 0.0]]), ["a"], resamples=3).ratio(0, 1)
    assert np.isnan(ratio).all()


def test_the_standard_error_is_the_textbooks() -> None:
    # 150 hits of 500 independent cases have a standard error of sqrt(.3 × .7 / 500).
    columns = np.array([[n < 150, 1] for n in range(500)])
    ratio = resample(columns, range(500)).ratio(0, 1)
    assert float(ratio.std()) == pytest.approx(0.0205, abs=0.001)
    assert percentiles(ratio) == pytest.approx((0.26, 0.34), abs=0.006)


def test_clusters_are_covered_where_pairs_counted_singly_are_not() -> None:
    rng = np.random.default_rng(7)
    covered = covered_singly = 0
    for _ in range(150):
        shares = rng.beta(1, 1, 40)  # Clusters differ widely; their mean share is .5.
        columns = np.stack([rng.random(400) < np.repeat(shares, 10), np.ones(400)], axis=1)
        for groups, counts in ((np.repeat(np.arange(40), 10), True), (np.arange(400), False)):
            low, high = percentiles(resample(columns, groups.tolist(), resamples=300).ratio(0, 1))
            covered += counts and low <= 0.5 <= high
            covered_singly += not counts and low <= 0.5 <= high
    assert covered / 150 >= 0.88
    assert covered_singly / 150 <= 0.8
