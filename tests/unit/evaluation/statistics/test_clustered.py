"""Effective counts against closed forms, and bounds on further units against simulation."""

from __future__ import annotations

import numpy as np
import pytest

from semcache.evaluation.statistics.clustered import (
    EffectiveCounts,
    breaks_p_value,
    effective_counts,
    further_upper_bound,
    growth_needed,
)


def counts(trials: float, events: float) -> EffectiveCounts:
    return EffectiveCounts(np.array([trials]), np.array([events]))


def test_independent_cases_count_almost_fully() -> None:
    rng = np.random.default_rng(1)
    events = (rng.random((4000, 1)) < 0.05).astype(np.float64)
    found = effective_counts(events, np.ones((4000, 1)), np.zeros((4000, 1)))
    assert found.trials[0] == pytest.approx(4000, rel=0.01)
    assert found.events[0] / found.trials[0] == pytest.approx(events.mean())


def test_units_whose_cases_are_equal_count_once_each() -> None:
    events = np.repeat([[1.0]], 8, axis=0) * 10
    events = np.concatenate([events, np.zeros((72, 1))])
    found = effective_counts(events, np.full((80, 1), 10.0), np.zeros((80, 1)))
    # 800 trials in 80 units of ten equal ones; (z / t)² takes another 3 %.
    assert found.trials[0] == pytest.approx(80, rel=0.06)


def test_an_event_counts_against_the_unit_that_caused_it_too() -> None:
    rng = np.random.default_rng(2)
    events = rng.integers(0, 3, (40, 1)).astype(np.float64)
    alone = effective_counts(events, np.full((40, 1), 20.0), np.zeros((40, 1)))
    caused = effective_counts(events, np.full((40, 1), 20.0), events)
    assert caused.trials[0] < 0.6 * alone.trials[0]


def test_a_threshold_without_events_takes_the_dependence_of_the_others() -> None:
    rng = np.random.default_rng(3)
    wrong_units = rng.random(60) < 0.2
    dependent = np.where(wrong_units, 8.0, 0.0)
    events = np.stack([np.zeros(60), dependent], axis=1)
    trials = np.full((60, 2), 10.0)
    found = effective_counts(events, trials, np.zeros((60, 2)))
    assert found.trials[0] < 100
    unknown = effective_counts(events[:, :1], trials[:, :1], np.zeros((60, 1)))
    assert unknown.trials[0] == pytest.approx(60, rel=0.06), "without any event, each unit counts once"


@pytest.mark.parametrize("units", [0, 1, 4])
def test_fewer_than_five_units_prove_nothing(units: int) -> None:
    found = effective_counts(np.zeros((units, 2)), np.full((units, 2), 1e6), np.zeros((units, 2)))
    assert found.trials.tolist() == [0.0, 0.0]
    assert breaks_p_value(found, 0.5).tolist() == [1.0, 1.0]
    assert further_upper_bound(found, 0.05).tolist() == pytest.approx([1.0, 1.0])


def test_clean_cases_prove_a_limit_as_the_closed_form_says() -> None:
    # Without events the p-value is 2^-(limit · n).
    assert breaks_p_value(counts(500, 0), 0.01)[0] == pytest.approx(2**-5)
    assert further_upper_bound(counts(500, 0), 2**-5)[0] == pytest.approx(0.01)


def test_the_growth_needed_is_enough_and_no_less_is() -> None:
    grown = growth_needed(counts(200, 0), 0.01, 0.01)
    assert grown is not None
    assert breaks_p_value(counts(200 * grown, 0), 0.01)[0] == pytest.approx(0.01)
    assert growth_needed(counts(200, 5), 0.01, 0.01) is None, "2.5 % wrong never prove 1 %"
    assert growth_needed(counts(1000, 10 - 1e-9), 0.01, 0.01) is None, "a rounding error below the limit is no hope"
    assert growth_needed(counts(100, 0.999), 0.01, 0.01) is None, "it would take thousands of times as many"
    some = growth_needed(counts(1000, 4), 0.01, 0.01)
    assert some is not None
    assert breaks_p_value(counts(1000 * some, 4 * some), 0.01)[0] == pytest.approx(0.01)


def test_as_many_further_units_break_a_proven_limit_no_more_often_than_the_level_says() -> None:
    """Forty units of 30 trials whose rates differ much: at the level, further units break what was proven."""
    rng = np.random.default_rng(4)
    level, limit, runs = 0.05, 0.05, 600
    proven = broken = 0
    for _ in range(runs):
        rates = rng.beta(0.5, 0.5 / 0.03 - 0.5, (2, 40))
        wrong = rng.binomial(30, rates).astype(np.float64)
        # A second column with more events shows the dependence where the first has few.
        more = rng.binomial(30, np.clip(3 * rates[0], 0, 1)).astype(np.float64)
        found = effective_counts(np.stack([wrong[0], more], axis=1), np.full((40, 2), 30.0), np.zeros((40, 2)))
        if breaks_p_value(found, limit)[0] <= level:
            proven += 1
            broken += wrong[1].sum() > limit * 1200
    assert proven > runs / 20
    assert broken <= level * runs
