"""Cross-validates a recommendation by units: chooses on some units and counts what that serves in the others."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from semcache.evaluation.tune.choosing import ThresholdChoice, WrongBudget, choose, claim
from semcache.evaluation.tune.curves import Mix
from semcache.evaluation.tune.pair_scores import ScoredRequests
from semcache.evaluation.tune.units import Units

FOLDS = 5
SEED = 20_231
"""Any fixed number: equal labels then give equal folds."""


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """What the thresholds that were chosen on the units of other folds serve of each fold.

    Attributes:
        folds: the number of folds.
        recommended: the folds whose other folds proved a threshold.
        served: requests served in these folds, exact matches left out.
        wrong: those with a wrong answer.
        lowest: the lowest threshold that was chosen; None without one.
        highest: the highest one.
    """

    folds: int
    recommended: int
    served: float
    wrong: float
    lowest: float | None
    highest: float | None

    @property
    def wrong_ratio(self) -> float | None:
        """The share of wrong answers among the served ones; None if nothing was served."""
        return self.wrong / self.served if self.served > 0 else None


def cross_validate(scored: ScoredRequests, units: Units, budget: WrongBudget, mix: Mix) -> OutOfFold:
    """Return what the same way of choosing serves of units that it hasn't seen.

    A row is chosen on only if both its units are outside the fold, and counted if its asked text is inside.
    """
    folds = min(FOLDS, units.count)
    fold_of = np.random.default_rng(SEED).permutation(units.count) % max(1, folds)
    served = wrong = 0.0
    chosen: list[float] = []
    for fold in range(folds):
        inside = fold_of[units.asked] == fold
        known = ~inside & ((units.stored < 0) | (fold_of[units.stored] != fold))
        choice = choose(scored.part(known), units.part(known), budget, mix)
        if choice.proven is None:
            continue
        threshold = choice.proven.threshold
        chosen.append(threshold)
        hit = inside & scored.served(threshold) & scored.compared()
        served += float(scored.weights[hit].sum())
        wrong += float(scored.weights[hit & ~scored.same].sum())
    return OutOfFold(folds, len(chosen), served, wrong, min(chosen, default=None), max(chosen, default=None))


def withheld(choice: ThresholdChoice, out_of_fold: OutOfFold) -> ThresholdChoice:
    """Return the choice; without its threshold if the cross-validation contradicts it."""
    ratio = out_of_fold.wrong_ratio
    if choice.proven is None or ratio is None or ratio <= choice.budget.max_wrong_ratio:
        return choice
    reason = (
        f"{choice.proven.threshold:g} passed its test, but thresholds that were chosen in the same way without a fifth "
        f"of the units made {100 * ratio:.1f} % wrong answers in that fifth."
    )
    return replace(choice, proven=None, failed=choice.proven, reason=reason)


def withheld_shortfall(choice: ThresholdChoice, out_of_fold: OutOfFold) -> ThresholdChoice:
    """Return the choice; without the other budget that is proven if the cross-validation for it contradicts it.

    Args:
        choice: a choice without a proven threshold.
        out_of_fold: the cross-validation for the other budget.
    """
    shortfall, ratio = choice.shortfall, out_of_fold.wrong_ratio
    if shortfall is None or shortfall.at is None or shortfall.limit is None:
        return choice
    if ratio is None or ratio <= shortfall.limit:
        return choice
    doubt = (
        f"{100 * shortfall.limit:g} % passed its test, but thresholds that were chosen for it without a fifth of the "
        f"units made {100 * ratio:.1f} % wrong answers in that fifth."
    )
    return replace(
        choice,
        shortfall=replace(shortfall, limit=None, at=None),
        reason=choice.reason.replace(claim(shortfall.limit, shortfall.at.threshold), doubt),
    )


def with_held_shortfall(choice: ThresholdChoice, scored: ScoredRequests, units: Units, mix: Mix) -> ThresholdChoice:
    """Return the choice, with the other budget that is proven held against a cross-validation for it."""
    if choice.shortfall is None or choice.shortfall.limit is None:
        return choice
    budget = replace(choice.budget, max_wrong_ratio=choice.shortfall.limit)
    return withheld_shortfall(choice, cross_validate(scored, units, budget, mix))
