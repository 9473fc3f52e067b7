"""Choosing a threshold: compared with results by hand, and simulated to keep its budget."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from semcache.evaluation.labels.pairs import LabelledPair, user
from semcache.evaluation.tune.choosing import ThresholdChoice, WrongBudget, choose
from semcache.evaluation.tune.comparing import ComparedPair, Relation
from semcache.evaluation.tune.curves import Mix
from semcache.evaluation.tune.pair_scores import ScoredPairs

PAIR = ComparedPair(LabelledPair("1", user("a"), user("b"), same=True, kind="k"), Relation.COMPARED, "b", "a", 0.9)


def scored(scores: Sequence[float], same: Sequence[bool]) -> ScoredPairs:
    count = len(scores)
    return ScoredPairs((PAIR,) * count, np.array(scores, np.float64), np.array(same, np.bool_), ((),) * count)


def choice(
    scores: Sequence[float], same: Sequence[bool], *, mix: Mix | None = None, limit: float = 0.01
) -> ThresholdChoice:
    return choose(scored(scores, same), WrongBudget(limit, 0.95), mix or Mix())


def test_299_right_ones_prove_one_percent_and_298_do_not() -> None:
    enough = choice([0.95] * 299, [True] * 299)
    assert enough.proven is not None
    assert (enough.proven.threshold, enough.proven.served, enough.proven.wrong) == (0.95, 299, 0)
    assert enough.proven.upper == pytest.approx(1 - 0.05 ** (1 / 299))
    few = choice([0.95] * 298, [True] * 298)
    assert few.proven is None
    assert few.reason == ("299 served hits without a wrong one are needed for 1 % at 95 %; you have 298 with 0 wrong.")


def test_the_sequence_ends_at_the_first_threshold_that_is_not_proven() -> None:
    # 299 right pairs at .99, ten wrong ones at .98, then so many right ones that the share would be small again.
    scores = [0.99] * 299 + [0.98] * 10 + [0.97] * 5000
    chosen = choice(scores, [True] * 299 + [False] * 10 + [True] * 5000)
    assert chosen.proven is not None
    assert chosen.failed is not None
    assert chosen.proven.threshold == 0.99
    assert (chosen.failed.threshold, chosen.failed.served, chosen.failed.wrong) == (0.98, 309, 10)
    assert chosen.reason.startswith("Not lower: at 0.98 you have 309 served hits with 10 wrong")


def test_no_lower_threshold_is_chosen_where_it_serves_no_more_right_ones() -> None:
    chosen = choice([0.95] * 1000 + [0.2], [True] * 1000 + [False])
    assert chosen.proven is not None
    assert (chosen.proven.threshold, chosen.proven.served, chosen.proven.wrong) == (0.95, 1000, 0)


def test_a_failure_at_once_says_what_is_needed() -> None:
    chosen = choice([0.99] * 299, [False] + [True] * 298)
    assert chosen.proven is None
    assert chosen.reason.startswith(
        "299 served hits without a wrong one are needed for 1 % at 95 %; at 0.99 you have 299"
    )
    assert "with 1 wrong, 473 are needed" in chosen.reason


def test_exact_matches_prove_nothing_about_a_threshold() -> None:
    assert choice([math.inf] * 10_000, [True] * 10_000).proven is None
    with_exact = choice([math.inf] * 10_000 + [0.95] * 299, [True] * 10_299)
    assert with_exact.proven is not None
    assert with_exact.proven.served == 299


def test_vetoed_pairs_are_not_served_and_do_not_count() -> None:
    chosen = choice([-math.inf] * 50 + [0.95] * 299, [False] * 50 + [True] * 299)
    assert chosen.proven is not None
    assert (chosen.compared, chosen.wrong) == (299, 0)


def test_a_score_on_the_grid_is_served_at_it() -> None:
    chosen = choice([0.9499999] * 299, [True] * 299)
    assert chosen.proven is not None
    assert chosen.proven.threshold == 0.95


def test_nothing_to_compare() -> None:
    assert "you have 0 with 0 wrong" in choice([], []).reason


def test_a_trap_share_bounds_both_rates_at_half_the_level_and_mixes_them() -> None:
    scores = [0.95] * 1000 + [0.5] * 2000
    same = [True] * 1000 + [False] * 2000
    chosen = choice(scores, same, mix=Mix(0.5))
    assert chosen.proven is not None
    assert chosen.proven.threshold == 0.95
    # Clopper and Pearson's closed forms for all of 1,000 hits and none of 2,000 traps, each at 97.5 %.
    bad, good = 1 - 0.025 ** (1 / 2000), 0.025 ** (1 / 1000)
    assert chosen.proven.upper == pytest.approx(bad / (bad + good))
    rarer = choice(scores, same, mix=Mix(0.05))
    assert rarer.proven is not None
    assert rarer.proven.upper < chosen.proven.upper
    # A hundred traps can't prove one percent if every second request is a trap.
    few = choice([0.95] * 1000 + [0.5] * 100, [True] * 1000 + [False] * 100, mix=Mix(0.5))
    assert few.proven is None
    assert "traps at 50% of requests" in few.reason


@pytest.mark.parametrize(("mix", "limit", "runs"), [(None, 0.02, 300), (0.3, 0.15, 20)])
def test_what_is_chosen_breaks_the_budget_at_most_one_time_in_twenty(
    mix: float | None, limit: float, runs: int
) -> None:
    """Wrong pairs get rarer with the score. Each run draws new pairs and tests whether its choice keeps the budget."""
    rng = np.random.default_rng(3)
    grid = np.linspace(0.5, 1.0, 4001)
    wrong_at = 0.12 * (1.0 - grid) / 0.5

    def true_ratio(threshold: float) -> float:
        above = grid >= threshold
        if mix is None:
            return float(wrong_at[above].mean())
        hits = (1 - wrong_at)[above].sum() / (1 - wrong_at).sum()
        traps = wrong_at[above].sum() / wrong_at.sum()
        return float(mix * traps / (mix * traps + (1 - mix) * hits))

    broken = proven = 0
    for _ in range(runs):
        scores = rng.choice(grid, 1500)
        same = rng.random(1500) >= 0.12 * (1.0 - scores) / 0.5
        chosen = choice(scores.tolist(), same.tolist(), mix=Mix(mix), limit=limit)
        if chosen.proven is not None:
            proven += 1
            broken += true_ratio(chosen.proven.threshold) > limit
    assert proven >= runs / 3
    assert broken / runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)
