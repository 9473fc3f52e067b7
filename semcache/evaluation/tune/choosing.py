"""Chooses, of the thresholds that labels prove to keep a budget of wrong answers, one that serves the most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semcache.evaluation.statistics.bounds import (
    Floats,
    at_most,
    cases_needed,
    clean_cases_needed,
    lower_bound,
    upper_bound,
)
from semcache.evaluation.tune.curves import Mix
from semcache.evaluation.tune.pair_scores import SLACK, ScoredPairs

Counts = NDArray[np.int64]

STEP = 0.001
"""The distance between tested thresholds, as a cosine: the proof requires that it doesn't depend on labels."""


@dataclass(frozen=True, slots=True)
class WrongBudget:
    """A budget of wrong answers.

    Attributes:
        max_wrong_ratio: the greatest share of wrong answers among served hits.
        confidence: the probability with which the budget must hold.
    """

    max_wrong_ratio: float = 0.01
    confidence: float = 0.95


@dataclass(frozen=True, slots=True)
class ThresholdTest:
    """The test of one threshold.

    Attributes:
        threshold: the similarity threshold.
        served: the pairs that it serves, exact matches left out.
        wrong: the traps among them.
        upper: the upper bound on the share of wrong answers.
    """

    threshold: float
    served: int
    wrong: int
    upper: float


@dataclass(frozen=True, slots=True)
class ThresholdChoice:
    """The threshold that the labels prove, if any.

    Attributes:
        proven: of the proven thresholds, the highest that serves the most right answers; None if none is proven.
        failed: the test that ended the sequence; None if all thresholds passed, or none could be tested.
        compared: the number of pairs that a threshold decides about.
        wrong: the number of traps among them.
        budget: the budget that had to be kept.
        reason: the sentence that says why there is no threshold, or why it isn't lower.
    """

    proven: ThresholdTest | None
    failed: ThresholdTest | None
    compared: int
    wrong: int
    budget: WrongBudget
    reason: str


def choose(scored: ScoredPairs, budget: WrongBudget, mix: Mix) -> ThresholdChoice:
    """Choose a threshold by testing thresholds in a fixed sequence, from the highest downward.

    The method is Learn then Test (Angelopoulos, Bates, Candès, Jordan and Lei 2021, arXiv 2110.01052):

    1. The hypothesis of each threshold is that its wrong answers per served hit exceed the budget.
    2. Hypotheses are tested in a fixed order, each at the full level, until one isn't rejected. The chosen threshold
       then holds at the given confidence, however many were tested.
    3. A hypothesis is rejected if Clopper and Pearson's one-sided bound keeps the budget. This is equivalent to the
       binomial's exact p-value, P(X ≤ wrong). With a trap share, the rates of hits and of traps are each bounded at
       half the level (Bonferroni), and then mixed.
    4. The thresholds form a grid that doesn't depend on labels. The first ones serve too few pairs to prove anything,
       even if all were right. They are skipped, which depends on scores and not on labels.

    It assumes that pairs are independent, and are drawn like the requests that the setting will meet. Only pairs that
    the threshold decides about count: exact matches are served under any threshold and would dilute the share.
    """
    thresholds, served, wrong = _grid(scored)
    total, traps = (int(served[-1]), int(wrong[-1])) if served.size else (0, 0)
    proves = _keeps(served, wrong, scored, budget, mix)
    provable = _keeps(served, np.zeros_like(wrong), scored, budget, mix)
    sequence = np.flatnonzero(provable)
    failures = np.flatnonzero(~proves[sequence])
    passed = sequence[: failures[0]] if failures.size else sequence

    def tested(number: int) -> ThresholdTest:
        count, bad = served[number : number + 1], wrong[number : number + 1]
        return ThresholdTest(
            float(thresholds[number]), int(count[0]), int(bad[0]), float(_upper(count, bad, scored, budget, mix)[0])
        )

    # All thresholds that passed are proven. Of those that serve the most right answers, the highest is the safest.
    right = (served - wrong)[passed]
    proven = tested(passed[np.argmax(right == right[-1])]) if passed.size else None
    if failures.size:
        failed = tested(sequence[failures[0]])
        return ThresholdChoice(proven, failed, total, traps, budget, _failure(failed, proven, budget, mix))
    reason = "No lower threshold would serve more of these pairs." if proven else _too_few(total, traps, budget, mix)
    return ThresholdChoice(proven, None, total, traps, budget, reason)


def _grid(scored: ScoredPairs) -> tuple[Floats, Counts, Counts]:
    """Return (thresholds, served pairs, wrong pairs), highest first, each of shape (thresholds,).

    A threshold is left out if it serves no more pairs than the one above it. Exact matches are not counted, so the last
    elements count all pairs that a threshold decides about.
    """
    finite = scored.compared()
    scores = scored.scores[finite]
    order = np.argsort(-scores, kind="stable")
    scores, other = scores[order], ~scored.same[finite][order]
    if not scores.size:
        return np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64)
    lowest = int(np.floor((float(scores[-1]) + SLACK) / STEP))
    thresholds = np.round(np.arange(round(1 / STEP), lowest - 1, -1) * STEP, 3)
    served = np.searchsorted(-scores, -(thresholds - SLACK), side="right")
    wrong = np.concatenate([[0], np.cumsum(other)])[served]
    new = np.diff(served, prepend=0) > 0
    return thresholds[new], served[new], wrong[new]


def _keeps(served: Counts, wrong: Counts, scored: ScoredPairs, budget: WrongBudget, mix: Mix) -> NDArray[np.bool_]:
    """Return whether the bound keeps the budget if `wrong` of `served` are wrong, elementwise."""
    if mix.trap_share is None:  # The p-value decides as the bound does, at a fiftieth of the work.
        return at_most(wrong, served, budget.max_wrong_ratio) <= 1.0 - budget.confidence
    return _upper(served, wrong, scored, budget, mix) <= budget.max_wrong_ratio


def _upper(served: Counts, wrong: Counts, scored: ScoredPairs, budget: WrongBudget, mix: Mix) -> Floats:
    """Return the bound on wrong answers per served hit if `wrong` of `served` are wrong, elementwise."""
    if mix.trap_share is None:
        return upper_bound(wrong, served, budget.confidence)
    each = 1.0 - (1.0 - budget.confidence) / 2
    # No threshold decides about exact matches, so both rates leave them out.
    asked = ~np.isposinf(scored.scores)
    traps, hits = int((asked & ~scored.same).sum()), int((asked & scored.same).sum())
    bad = mix.trap_share * upper_bound(np.minimum(wrong, traps), traps, each)
    good = (1.0 - mix.trap_share) * lower_bound(np.minimum(served - wrong, hits), hits, each)
    with np.errstate(invalid="ignore"):
        return np.where(bad + good > 0, bad / (bad + good), 0.0)


def _failure(tested: ThresholdTest, proven: ThresholdTest | None, budget: WrongBudget, mix: Mix) -> str:
    limit, confidence = budget.max_wrong_ratio, budget.confidence
    text = (
        f"at {tested.threshold:g} you have {tested.served:,} served hits with {tested.wrong:,} wrong, so that up to "
        f"{100 * tested.upper:.2f} % may be wrong and not {100 * limit:g} %"
    )
    if mix.trap_share is None and tested.wrong:
        text += f" (with {tested.wrong:,} wrong, {cases_needed(tested.wrong, limit, confidence):,} are needed)"
    if proven is not None:
        return f"Not lower: {text}."
    if mix.trap_share is not None:
        return f"{text[0].upper()}{text[1:]}."
    return f"{_needed(budget)}; {text}."


def _too_few(total: int, traps: int, budget: WrongBudget, mix: Mix) -> str:
    if mix.trap_share is not None:
        return (
            f"With traps at {mix.trap_share:.0%} of requests these labels prove no threshold, whatever it served: "
            f"more of them are needed; you have {total:,} pairs that a threshold decides about."
        )
    return f"{_needed(budget)}; you have {total:,} with {traps:,} wrong."


def _needed(budget: WrongBudget) -> str:
    needed = clean_cases_needed(budget.max_wrong_ratio, budget.confidence)
    return (
        f"{needed:,} served hits without a wrong one are needed for {100 * budget.max_wrong_ratio:g} % at "
        f"{100 * budget.confidence:g} %"
    )
