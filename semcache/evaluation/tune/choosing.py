"""The threshold that serves most of those that labels prove to keep within a budget of wrong answers per hit served."""

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
from semcache.evaluation.tune.judging import SLACK, Judged

Counts = NDArray[np.int64]

STEP = 0.001
"""Between the thresholds that are tested: fixed before any label is seen."""


@dataclass(frozen=True, slots=True)
class Budget:
    """At most so many wrong answers per hit served (a share), at that confidence."""

    max_wrong_ratio: float = 0.01
    confidence: float = 0.95


@dataclass(frozen=True, slots=True)
class Tested:
    """One threshold's test: of `served` pairs that it decides about, `wrong` ones; the share is at most `upper`."""

    threshold: float
    served: int
    wrong: int
    upper: float


@dataclass(frozen=True, slots=True)
class Choice:
    """What the labels allow.

    Attributes:
        proven: of the thresholds that are proven, the highest that serves as many right answers as any; None for none.
        failed: the test that ended the sequence; None when no threshold was left, or none could be tested.
        compared: how many pairs a threshold decides about.
        wrong: how many of them are traps.
        budget: what was asked for.
        reason: the sentence that says why there is no threshold, or why it isn't lower.
    """

    proven: Tested | None
    failed: Tested | None
    compared: int
    wrong: int
    budget: Budget
    reason: str


def choose(judged: Judged, budget: Budget, mix: Mix) -> Choice:
    """Fixed-sequence testing from the highest threshold downward.

    Learn then Test (Angelopoulos, Bates, Candès, Jordan and Lei 2021, arXiv 2110.01052): each threshold is the
    hypothesis that its wrong answers per hit served exceed the budget. They are tested in a fixed order, each at the
    full level, until one isn't rejected; so what is chosen among them holds at the confidence asked for, however many
    were looked at. A hypothesis is rejected when Clopper and Pearson's one-sided bound keeps the budget, which is the
    binomial's exact p-value, P(X ≤ wrong), turned round. With a trap share given, the rates of hits and of traps are
    bounded each at half the level (Bonferroni) and then mixed.

    Thresholds stand on a grid that no label has touched. The first ones serve too few pairs to prove anything even if
    all were right: those are passed over, which depends on scores and not on labels.

    What it takes for granted: pairs are independent, and drawn like the requests that the setting will meet. Only pairs
    that the threshold decides about count; exact matches are served under any threshold and would dilute the share.
    """
    thresholds, served, wrong = _grid(judged)
    total, traps = (int(served[-1]), int(wrong[-1])) if served.size else (0, 0)
    proves = _keeps(served, wrong, judged, budget, mix)
    provable = _keeps(served, np.zeros_like(wrong), judged, budget, mix)
    sequence = np.flatnonzero(provable)
    failures = np.flatnonzero(~proves[sequence])
    passed = sequence[: failures[0]] if failures.size else sequence

    def tested(number: int) -> Tested:
        count, bad = served[number : number + 1], wrong[number : number + 1]
        return Tested(
            float(thresholds[number]), int(count[0]), int(bad[0]), float(_upper(count, bad, judged, budget, mix)[0])
        )

    # All that passed are proven at once; the highest of those that serve the most right answers loses nothing.
    right = (served - wrong)[passed]
    proven = tested(passed[np.argmax(right == right[-1])]) if passed.size else None
    if failures.size:
        failed = tested(sequence[failures[0]])
        return Choice(proven, failed, total, traps, budget, _failure(failed, proven, budget, mix))
    reason = "No lower threshold would serve more of these pairs." if proven else _too_few(total, traps, budget, mix)
    return Choice(proven, None, total, traps, budget, reason)


def _grid(judged: Judged) -> tuple[Floats, Counts, Counts]:
    """The thresholds that serve more than the one above, highest first: how many of the deciding pairs, how many wrong.

    Their last element counts all of the pairs.
    """
    finite = judged.compared()
    scores = judged.scores[finite]
    order = np.argsort(-scores, kind="stable")
    scores, other = scores[order], ~judged.same[finite][order]
    if not scores.size:
        return np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64)
    lowest = int(np.floor((float(scores[-1]) + SLACK) / STEP))
    thresholds = np.round(np.arange(round(1 / STEP), lowest - 1, -1) * STEP, 3)
    served = np.searchsorted(-scores, -(thresholds - SLACK), side="right")
    wrong = np.concatenate([[0], np.cumsum(other)])[served]
    new = np.diff(served, prepend=0) > 0
    return thresholds[new], served[new], wrong[new]


def _keeps(served: Counts, wrong: Counts, judged: Judged, budget: Budget, mix: Mix) -> NDArray[np.bool_]:
    """Whether the bound keeps the budget, were `wrong` of `served` wrong; elementwise."""
    if mix.trap_share is None:  # The p-value says the same as the bound, at a fiftieth of the work.
        return at_most(wrong, served, budget.max_wrong_ratio) <= 1.0 - budget.confidence
    return _upper(served, wrong, judged, budget, mix) <= budget.max_wrong_ratio


def _upper(served: Counts, wrong: Counts, judged: Judged, budget: Budget, mix: Mix) -> Floats:
    """The bound on wrong answers per hit served, were `wrong` of `served` wrong; elementwise."""
    if mix.trap_share is None:
        return upper_bound(wrong, served, budget.confidence)
    each = 1.0 - (1.0 - budget.confidence) / 2
    # Exact matches are no threshold's doing: both rates are of the pairs that aren't.
    asked = ~np.isposinf(judged.scores)
    traps, hits = int((asked & ~judged.same).sum()), int((asked & judged.same).sum())
    bad = mix.trap_share * upper_bound(np.minimum(wrong, traps), traps, each)
    good = (1.0 - mix.trap_share) * lower_bound(np.minimum(served - wrong, hits), hits, each)
    with np.errstate(invalid="ignore"):
        return np.where(bad + good > 0, bad / (bad + good), 0.0)


def _failure(tested: Tested, proven: Tested | None, budget: Budget, mix: Mix) -> str:
    limit, confidence = budget.max_wrong_ratio, budget.confidence
    told = (
        f"at {tested.threshold:g} you have {tested.served:,} served hits with {tested.wrong:,} wrong, so that up to "
        f"{100 * tested.upper:.2f} % may be wrong and not {100 * limit:g} %"
    )
    if mix.trap_share is None and tested.wrong:
        told += f" (with {tested.wrong:,} wrong, {cases_needed(tested.wrong, limit, confidence):,} are needed)"
    if proven is not None:
        return f"Not lower: {told}."
    if mix.trap_share is not None:
        return f"{told[0].upper()}{told[1:]}."
    return f"{_needed(budget)}; {told}."


def _too_few(total: int, traps: int, budget: Budget, mix: Mix) -> str:
    if mix.trap_share is not None:
        return (
            f"With traps at {mix.trap_share:.0%} of requests these labels prove no threshold, whatever it served: "
            f"more of them are needed; you have {total:,} pairs that a threshold decides about."
        )
    return f"{_needed(budget)}; you have {total:,} with {traps:,} wrong."


def _needed(budget: Budget) -> str:
    needed = clean_cases_needed(budget.max_wrong_ratio, budget.confidence)
    return (
        f"{needed:,} served hits without a wrong one are needed for {100 * budget.max_wrong_ratio:g} % at "
        f"{100 * budget.confidence:g} %"
    )
