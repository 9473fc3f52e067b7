"""Bounds of shares, compared with closed forms and published values; their coverage is simulated."""

from __future__ import annotations

import math

import numpy as np
import pytest

from semcache.evaluation.statistics.bounds import (
    at_most,
    cases_needed,
    clean_cases_needed,
    lower_bound,
    upper_bound,
    wilson,
)


def binomial(count: int, of: int, share: float) -> float:
    """Return P(X ≤ count), term by term."""
    return sum(math.comb(of, k) * share**k * (1 - share) ** (of - k) for k in range(count + 1))


@pytest.mark.parametrize(
    ("count", "of", "share"), [(0, 1, 0.5), (3, 10, 0.2), (9, 10, 0.99), (40, 300, 0.1), (1, 299, 0.01)]
)
def test_the_binomials_tail_is_the_sum_of_its_terms(count: int, of: int, share: float) -> None:
    assert float(at_most(count, of, share)) == pytest.approx(binomial(count, of, share), rel=1e-10)


def test_the_tail_at_its_ends() -> None:
    assert at_most([5, 0, 0], [5, 10, 10], [0.3, 0.0, 1.0]).tolist() == [1.0, 1.0, 0.0]


def test_the_upper_bound_of_none_is_a_root() -> None:
    for of in (1, 30, 299, 10_000):
        assert float(upper_bound(0, of)) == pytest.approx(1 - 0.05 ** (1 / of), rel=1e-9)
    assert upper_bound([0, 7], [0, 7]).tolist() == [1.0, 1.0]


def test_clopper_and_pearsons_interval_as_published() -> None:
    # Newcombe 1998, Statistics in Medicine 17, 857-872, table I, method 5: two-sided 95 %, so 97.5 % at each end.
    for count, of, low, high in [(81, 263, 0.2527, 0.3676), (15, 148, 0.0578, 0.1617), (1, 29, 0.0009, 0.1776)]:
        assert float(lower_bound(count, of, 0.975)) == pytest.approx(low, abs=5e-5)
        assert float(upper_bound(count, of, 0.975)) == pytest.approx(high, abs=5e-5)


def test_how_many_cases_prove_one_percent() -> None:
    assert clean_cases_needed(0.01) == 299
    assert 0.99**299 <= 0.05 < 0.99**298
    for wrong, needed in [(0, 299), (1, 473), (2, 628)]:
        assert cases_needed(wrong, 0.01) == needed
        assert binomial(wrong, needed, 0.01) <= 0.05 < binomial(wrong, needed - 1, 0.01)


def test_the_upper_bound_is_below_the_truth_at_most_one_time_in_twenty() -> None:
    rng = np.random.default_rng(1)
    for share, of in [(0.01, 300), (0.01, 1000), (0.2, 50)]:
        bounds = upper_bound(np.arange(of + 1), of)
        missed = float((bounds[rng.binomial(of, share, 20_000)] < share).mean())
        assert missed <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 20_000)


def test_wilson_elementwise() -> None:
    low, high = wilson([0, 81, 20], [20, 263, 20])
    assert low == pytest.approx([0.0, 0.2553, 0.8389], abs=5e-5)
    assert high == pytest.approx([0.1611, 0.3662, 1.0], abs=5e-5)
