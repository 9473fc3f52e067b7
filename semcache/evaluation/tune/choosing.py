"""Chooses, of the thresholds that units of labels prove to keep a budget of wrong answers, one that serves the most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semcache.evaluation.statistics.bounds import Floats
from semcache.evaluation.statistics.clustered import MIN_UNITS
from semcache.evaluation.tune.curves import Mix
from semcache.evaluation.tune.evidence import ThresholdEvidence, ThresholdTest, evidence_at
from semcache.evaluation.tune.pair_scores import SLACK, ScoredRequests
from semcache.evaluation.tune.units import Units

LOWEST = 0.5
"""The lowest threshold that is tested. Below it even unlike requests are served, so that a proof would say more about
how few labels there are than about the threshold."""
STEP = 0.001
"""The distance between tested thresholds, as a cosine: the proof requires that it doesn't depend on labels."""
SELECTION_SHARE = 0.2
"""The part of 1 - confidence at which a threshold is tested. A budget that is out of reach is proven for lucky labels
alone, and then most recommendations would break it: at the full level 6 to 14 % of them did (benchmarks/README.md)."""
OTHER_BUDGETS = (0.02, 0.03, 0.05, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5)
"""The budgets that are tried where the wanted one isn't proven, from the greatest down to the first failure."""


@dataclass(frozen=True, slots=True)
class WrongBudget:
    """A budget of wrong answers.

    Attributes:
        max_wrong_ratio: the greatest share of wrong answers among served hits.
        confidence: the probability with which as many further hits keep the budget.
    """

    max_wrong_ratio: float = 0.01
    confidence: float = 0.95

    @property
    def level(self) -> float:
        """The level at which a threshold is tested."""
        return (1.0 - self.confidence) * SELECTION_SHARE


@dataclass(frozen=True, slots=True)
class Shortfall:
    """What the labels prove where they don't prove the budget.

    Attributes:
        limit: the smallest budget that is proven, and all greater ones of those tried too; None if none is.
        at: the test of that threshold; None without one.
        units_missing: how many further units would prove the wanted budget if wrong answers stay as frequent; None if
            at every threshold they are too frequent.
    """

    limit: float | None
    at: ThresholdTest | None
    units_missing: int | None


@dataclass(frozen=True, slots=True)
class ThresholdChoice:
    """The threshold that the labels prove, if any.

    Attributes:
        proven: of the proven thresholds, the highest that serves the most right answers; None if none is proven.
        failed: the test that ended the sequence; None if all thresholds passed, or none could be tested.
        units: the number of units.
        budget: the budget that had to be kept.
        shortfall: what is proven instead; None if a threshold is proven.
        reason: the sentence that says why there is no threshold, or why it isn't lower.
    """

    proven: ThresholdTest | None
    failed: ThresholdTest | None
    units: int
    budget: WrongBudget
    shortfall: Shortfall | None
    reason: str


def choose(scored: ScoredRequests, units: Units, budget: WrongBudget, mix: Mix) -> ThresholdChoice:
    """Choose a threshold by testing thresholds in a fixed sequence, from the highest downward.

    The method is Learn then Test (Angelopoulos, Bates, Candès, Jordan and Lei 2021, arXiv 2110.01052):

    1. The hypothesis of each threshold is that as many further hits of further units exceed the budget.
    2. Hypotheses are tested in a fixed order, each at one level, until one isn't rejected. The chosen threshold then
       holds at that level, however many were tested.
    3. A hypothesis is tested on the effective counts of `statistics.clustered`: units are independent, requests aren't.
       With a trap share, the rates of hits and of traps are each bounded at half the level (Bonferroni), then mixed.
    4. The thresholds form a grid that doesn't depend on labels. The sequence starts at the first one that serves enough
       to prove the budget if all were right, counted without labels. From there on none is skipped.

    It assumes that further units are like those of the labels. Only what the threshold decides about counts: exact
    matches are served under any threshold and would dilute the share.

    Args:
        scored: the requests' rows under one set of guards.
        units: the units of these rows.
        budget: the budget to keep.
        mix: how rows stand for requests.
    """
    return choose_by(evidence_of(scored, units, mix), units, budget)


def evidence_of(scored: ScoredRequests, units: Units, mix: Mix) -> ThresholdEvidence:
    """Return the evidence about each threshold of the grid."""
    return evidence_at(_grid(scored), scored, units, mix)


def choose_by(evidence: ThresholdEvidence, units: Units, budget: WrongBudget) -> ThresholdChoice:
    """Choose a threshold, as `choose` does, by evidence that is known already.

    Args:
        evidence: what each threshold serves.
        units: the units of the evidence.
        budget: the budget to keep.
    """
    passed, failed = _sequence(evidence, budget.max_wrong_ratio, budget.level)
    proven = _best(evidence, passed, budget.level)
    ended = None if failed is None else evidence.test(failed, budget.level)
    if proven is not None:
        reason = "No lower threshold would serve more of these." if ended is None else _not_lower(ended, budget)
        return ThresholdChoice(proven, ended, units.count, budget, None, reason)
    shortfall = _shortfall(evidence, units, budget)
    reason = _unproven(shortfall, ended, units, budget)
    return ThresholdChoice(None, ended, units.count, budget, shortfall, reason)


def _sequence(evidence: ThresholdEvidence, limit: float, level: float) -> tuple[NDArray[np.int64], int | None]:
    """Return the numbers of the thresholds that pass, and that of the one which ends the sequence."""
    sequence = np.arange(evidence.first_tested(limit, level), len(evidence.thresholds))
    failures = np.flatnonzero(~evidence.proves(limit, level)[sequence])
    if failures.size:
        return sequence[: failures[0]], int(sequence[failures[0]])
    return sequence, None


def _best(evidence: ThresholdEvidence, passed: NDArray[np.int64], level: float) -> ThresholdTest | None:
    """Return, of the thresholds that passed, the highest that serves the most right answers: it is the safest."""
    if not passed.size:
        return None
    right = (evidence.served - evidence.wrong)[passed]
    return evidence.test(int(passed[np.argmax(right >= right.max() - SLACK)]), level)


def _shortfall(evidence: ThresholdEvidence, units: Units, budget: WrongBudget) -> Shortfall:
    growth = evidence.growth(budget.max_wrong_ratio, budget.level)
    missing = None if growth is None else max(1, int(np.ceil(growth * max(units.count, MIN_UNITS))) - units.count)
    proven = Shortfall(None, None, missing)
    for limit in reversed(OTHER_BUDGETS):
        if limit <= budget.max_wrong_ratio:
            break
        # A fixed sequence: to try the smallest first, each at the full level, would give nine chances to be lucky.
        at = _best(evidence, _sequence(evidence, limit, budget.level)[0], budget.level)
        if at is None:
            break
        proven = Shortfall(limit, at, missing)
    return proven


def _grid(scored: ScoredRequests) -> Floats:
    """Return the thresholds to test, highest first: those that serve other requests than the threshold above."""
    finite = scored.compared()
    edges = np.concatenate([scored.scores[finite], scored.floors[finite & np.isfinite(scored.floors)]])
    if not edges.size:
        return np.empty(0)
    lowest = int(np.floor((max(LOWEST, float(edges.min())) + SLACK) / STEP))
    thresholds = np.round(np.arange(round(1 / STEP), lowest - 1, -1) * STEP, 3)
    changes = np.searchsorted(np.sort(-edges), -(thresholds - SLACK), side="right")
    return thresholds[np.diff(changes, prepend=0) > 0]


def _not_lower(tested: ThresholdTest, budget: WrongBudget) -> str:
    return f"Not lower: {_in_words(tested)}, and not {_percent(budget.max_wrong_ratio)}."


def _in_words(tested: ThresholdTest) -> str:
    return (
        f"at {tested.threshold:g} {tested.wrong:,.0f} of {tested.served:,.0f} served hits are wrong, which say as much "
        f"as {tested.effective:,.0f} independent ones, so that up to {100 * tested.upper:.1f} % of further hits may be "
        "wrong"
    )


def _unproven(shortfall: Shortfall, ended: ThresholdTest | None, units: Units, budget: WrongBudget) -> str:
    limit = _percent(budget.max_wrong_ratio)
    if units.count < MIN_UNITS:
        return (
            f"The labels have {units.count:,} {_noun(units)}, and fewer than {MIN_UNITS} say nothing about others. "
            "Label more of them."
        )
    parts = []
    if shortfall.at is not None and shortfall.limit is not None:
        parts.append(claim(shortfall.limit, shortfall.at.threshold))
    else:
        parts.append(f"Nor do they prove {_percent(OTHER_BUDGETS[-1])}.")
    if shortfall.units_missing is not None:
        parts.append(
            f"About {shortfall.units_missing:,} more {_noun(units)} are needed for {limit}, beside these "
            f"{units.count:,}, if wrong hits stay as rare as here."
        )
    else:
        parts.append(f"At every threshold more than {limit} of the hits are wrong here, so more labels won't help.")
    if ended is not None:
        text = _in_words(ended)
        parts.append(f"{text[0].upper()}{text[1:]}.")
    return " ".join(parts)


def claim(limit: float, threshold: float) -> str:
    """Return the sentence that another budget is proven, at a threshold."""
    return f"They do prove {_percent(limit)}, at {threshold:g}."


def _noun(units: Units) -> str:
    return f"independent {units.basis}"


def _percent(share: float) -> str:
    return f"{100 * share:g} %"
