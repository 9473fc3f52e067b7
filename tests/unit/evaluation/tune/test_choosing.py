"""Choosing a threshold: compared with results by hand, and simulated to keep its budget in other units."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from semcache.evaluation.tune.choosing import ThresholdChoice, WrongBudget, choose, evidence_of
from semcache.evaluation.tune.curves import Mix
from semcache.evaluation.tune.folds import cross_validate
from tests.support.scored import scored_requests, units

CLEAN = 670
"""Clean hits that prove 1 % at 95 %: 2^-(n / 100) ≤ .01 from 665 on, and (z / t)² takes a little."""


def choice(
    scores: Sequence[float],
    same: Sequence[bool],
    *,
    mix: Mix | None = None,
    limit: float = 0.01,
    of: Sequence[int] | None = None,
) -> ThresholdChoice:
    return choose(
        scored_requests(scores, same),
        units(range(len(scores)) if of is None else of),
        WrongBudget(limit, 0.95),
        mix or Mix(),
    )


def test_enough_clean_units_prove_one_percent_and_fewer_say_how_many_are_missing() -> None:
    enough = choice([0.95] * CLEAN, [True] * CLEAN)
    assert enough.proven is not None
    assert (enough.proven.threshold, enough.proven.served, enough.proven.wrong) == (0.95, CLEAN, 0)
    assert enough.proven.upper == pytest.approx(math.log2(100) / enough.proven.effective)
    assert enough.shortfall is None
    few = choice([0.95] * 400, [True] * 400)
    assert few.proven is None
    assert few.shortfall is not None
    assert few.shortfall.limit == 0.02
    assert few.shortfall.units_missing == pytest.approx(CLEAN - 400, abs=4)
    assert "They do prove 2 %, at 0.95. About 26" in few.reason


def test_ten_units_of_a_thousand_clean_hits_prove_no_one_percent() -> None:
    few = choice([0.95] * 10_000, [True] * 10_000, of=[n % 10 for n in range(10_000)])
    assert few.proven is None
    assert few.shortfall is not None
    assert few.shortfall.units_missing is not None
    assert few.shortfall.units_missing > 500


def test_the_sequence_ends_at_the_first_threshold_that_is_not_proven() -> None:
    # Right pairs at .99, wrong ones at .98, then so many right ones that the share would be small again.
    scores = [0.99] * CLEAN + [0.98] * 20 + [0.97] * 9000
    chosen = choice(scores, [True] * CLEAN + [False] * 20 + [True] * 9000)
    assert chosen.proven is not None
    assert chosen.failed is not None
    assert chosen.proven.threshold == 0.99
    assert (chosen.failed.threshold, chosen.failed.served, chosen.failed.wrong) == (0.98, CLEAN + 20, 20)
    assert chosen.reason.startswith(f"Not lower: at 0.98 20 of {CLEAN + 20} served hits are wrong")


def test_the_sequence_starts_where_enough_is_served_whatever_the_labels_and_skips_no_threshold() -> None:
    of = [n % 60 for n in range(1500)] + [n % 60 for n in range(30_000)]
    scores = [0.99] * 1500 + [0.98] * 30_000
    # All wrong hits lie in two of sixty units: so few independent hits that even clean ones would prove nothing.
    same = [n % 60 > 1 for n in range(1500)] + [True] * 30_000
    right, wrong = (
        evidence_of(scored_requests(scores, labels), units(of), Mix()) for labels in ([True] * len(scores), same)
    )
    level = WrongBudget().level
    assert right.first_tested(0.05, level) == wrong.first_tested(0.05, level) == 0
    chosen = choice(scores, same, limit=0.05, of=of)
    assert chosen.proven is None
    assert chosen.failed is not None
    assert chosen.failed.threshold == 0.99


def test_another_budget_is_proven_only_if_all_greater_ones_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semcache.evaluation.tune.choosing.OTHER_BUDGETS", (0.1, 0.5))
    # Ten wrong hits at the top end the sequence of 50 %, which starts there; that of 10 % starts below them.
    chosen = choice([0.99] * 14 + [0.98] * 2000, [n > 9 for n in range(14)] + [True] * 2000, limit=0.001)
    assert chosen.shortfall is not None
    assert (chosen.shortfall.limit, chosen.shortfall.at) == (None, None)


def test_no_lower_threshold_is_chosen_where_it_serves_no_more_right_ones() -> None:
    chosen = choice([0.95] * 2000 + [0.2], [True] * 2000 + [False])
    assert chosen.proven is not None
    assert (chosen.proven.threshold, chosen.proven.served, chosen.proven.wrong) == (0.95, 2000, 0)


def test_labels_that_are_wrong_too_often_are_told_that_more_of_them_will_not_help() -> None:
    chosen = choice([0.95] * 1000, [n % 20 > 0 for n in range(1000)])
    assert chosen.proven is None
    assert chosen.shortfall is not None
    assert (chosen.shortfall.units_missing, chosen.shortfall.limit) == (None, 0.08)
    assert "At every threshold more than 1 % of the hits are wrong here" in chosen.reason


@pytest.mark.parametrize("count", [1, 4])
def test_one_unit_and_four_say_nothing_about_others(count: int) -> None:
    chosen = choice([0.95] * 5000, [True] * 5000, of=[n % count for n in range(5000)])
    assert chosen.proven is None
    assert f"The labels have {count} independent groups, and fewer than 5 say nothing about others" in chosen.reason


def test_labels_of_one_class() -> None:
    only_wrong = choice([0.95] * 2000, [False] * 2000)
    assert only_wrong.proven is None
    assert "Nor do they prove 50 %." in only_wrong.reason


def test_exact_matches_prove_nothing_about_a_threshold() -> None:
    assert choice([math.inf] * 10_000, [True] * 10_000).proven is None
    with_exact = choice([math.inf] * 10_000 + [0.95] * CLEAN, [True] * (10_000 + CLEAN))
    assert with_exact.proven is not None
    assert with_exact.proven.served == CLEAN


def test_vetoed_pairs_are_not_served_and_do_not_count() -> None:
    chosen = choice([-math.inf] * 50 + [0.95] * CLEAN, [False] * 50 + [True] * CLEAN)
    assert chosen.proven is not None
    assert (chosen.proven.served, chosen.proven.wrong) == (CLEAN, 0)


def test_a_score_on_the_grid_is_served_at_it() -> None:
    chosen = choice([0.9499999] * CLEAN, [True] * CLEAN)
    assert chosen.proven is not None
    assert chosen.proven.threshold == 0.95


def test_nothing_to_compare() -> None:
    assert choice([], []).proven is None


def test_a_trap_share_bounds_both_rates_at_half_the_level_and_mixes_them() -> None:
    scores = [0.95] * 1000 + [0.5] * 2000
    same = [True] * 1000 + [False] * 2000
    chosen = choice(scores, same, mix=Mix(0.5))
    assert chosen.proven is not None
    assert chosen.proven.threshold == 0.95
    # Clopper and Pearson's closed forms for all of 1,000 hits and none of 2,000 traps, each at 99.5 %.
    bad, good = 1 - 0.005 ** (1 / 2000), 0.005 ** (1 / 1000)
    assert chosen.proven.upper == pytest.approx(bad / (bad + good), rel=0.02)
    rarer = choice(scores, same, mix=Mix(0.05))
    assert rarer.proven is not None
    assert rarer.proven.upper < chosen.proven.upper
    # A hundred traps can't prove one percent if every second request is a trap.
    assert choice([0.95] * 1000 + [0.5] * 100, [True] * 1000 + [False] * 100, mix=Mix(0.5)).proven is None


def test_what_is_chosen_from_clusters_breaks_the_budget_of_other_clusters_at_most_one_time_in_twenty() -> None:
    """Clusters differ in how often they are wrong. Each run draws clusters twice: to choose from, and to count in."""
    rng = np.random.default_rng(3)
    size, clusters, limit, runs = 25, 60, 0.05, 120

    def drawn() -> tuple[np.ndarray, np.ndarray]:
        badness = np.repeat(rng.gamma(0.7, 1 / 0.7, clusters), size)
        scores = rng.uniform(0.6, 1.0, clusters * size)
        return scores, rng.random(clusters * size) >= np.clip(badness * 0.3 * (1.0 - scores), 0, 1)

    of = np.repeat(np.arange(clusters), size).tolist()
    broken = proven = 0
    for _ in range(runs):
        scores, same = drawn()
        chosen = choice(scores.tolist(), same.tolist(), limit=limit, of=of)
        if chosen.proven is not None:
            proven += 1
            further, right = drawn()
            served = further >= chosen.proven.threshold
            broken += (served & ~right).sum() > limit * served.sum()
    # With this seed 48 runs prove a threshold, and one of them breaks the budget; 5 % of 48 are 2.4.
    assert proven > runs / 3
    assert broken <= 0.05 * proven


def test_cross_validation_counts_in_units_that_it_did_not_choose_from() -> None:
    scores, same = [0.95] * 2000, [True] * 2000
    result = cross_validate(scored_requests(scores, same), units(range(2000)), WrongBudget(), Mix())
    assert (result.folds, result.recommended, result.served, result.wrong) == (5, 5, 2000, 0)
    assert (result.wrong_ratio, result.lowest, result.highest) == (0.0, 0.95, 0.95)
    none = cross_validate(scored_requests(scores[:50], same[:50]), units(range(50)), WrongBudget(), Mix())
    assert (none.recommended, none.wrong_ratio, none.lowest) == (0, None, None)
    alone = cross_validate(scored_requests(scores[:50], same[:50]), units([0] * 50), WrongBudget(), Mix())
    assert (alone.folds, alone.recommended) == (1, 0)
