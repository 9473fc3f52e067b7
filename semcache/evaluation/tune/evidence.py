"""Counts what thresholds serve, unit by unit, and tests what these counts prove about further units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semcache.evaluation.statistics.bounds import Floats, lower_bound, upper_bound
from semcache.evaluation.statistics.clustered import (
    EffectiveCounts,
    assumed_trials,
    breaks_p_value,
    effective_counts,
    further_upper_bound,
    growth_needed,
)
from semcache.evaluation.tune.curves import Mix
from semcache.evaluation.tune.pair_scores import SLACK, ScoredRequests
from semcache.evaluation.tune.units import Units


@dataclass(frozen=True, slots=True)
class ThresholdTest:
    """The test of one threshold.

    Attributes:
        threshold: the similarity threshold.
        served: the requests that it serves, exact matches left out; the mean over the orders.
        wrong: those with a wrong answer.
        upper: the upper bound on the share of wrong answers among as many further hits.
        effective: how many independent hits say as much as these.
    """

    threshold: float
    served: float
    wrong: float
    upper: float
    effective: float


@dataclass(frozen=True, slots=True)
class ThresholdEvidence:
    """What each threshold serves, and how much that says. All arrays have the shape (thresholds,).

    Attributes:
        thresholds: highest first.
        served: served requests, exact matches left out.
        wrong: those with a wrong answer.
        counts: the effective counts of wrong answers among served ones.
        assumed: independent hits that say as much as the served ones, under a correlation that is assumed and not
            estimated from labels.
        rates: with a trap share, the effective counts of served hits among all hits and of served traps among all
            traps, and that share; None for the labels' own mix.
    """

    thresholds: Floats
    served: Floats
    wrong: Floats
    counts: EffectiveCounts
    assumed: Floats
    rates: tuple[EffectiveCounts, EffectiveCounts, float] | None

    def proves(self, limit: float, level: float) -> NDArray[np.bool_]:
        """Return whether the counts prove, at a level, that wrong answers keep a limit."""
        if self.rates is None:
            return (breaks_p_value(self.counts, limit) <= level) & (self.served > 0)
        return (self.upper(level) <= limit) & (self.served > 0)

    def first_tested(self, limit: float, level: float) -> int:
        """Return the number of the first threshold that serves enough to prove a limit if nothing were wrong.

        It doesn't depend on whether a hit is right, so that no threshold is left out because it fails. It is the
        number of thresholds if none serves enough.
        """
        clean = EffectiveCounts(self.assumed, np.zeros_like(self.assumed))
        enough = np.flatnonzero((breaks_p_value(clean, limit) <= level) & (self.served > 0))
        return int(enough[0]) if enough.size else len(self.thresholds)

    def upper(self, level: float) -> Floats:
        """Return the bound on the share of wrong answers among as many further hits."""
        if self.rates is None:
            return further_upper_bound(self.counts, level)
        return _mixed_upper(*self.rates, level)

    def growth(self, limit: float, level: float) -> float | None:
        """Return how many times as many units would prove a limit; None if no number would, or with a trap share."""
        return growth_needed(self.counts, limit, level) if self.rates is None else None

    def test(self, number: int, level: float) -> ThresholdTest:
        """Return the test of one threshold."""
        evidence = self.column(number)
        return ThresholdTest(
            float(evidence.thresholds[0]),
            float(evidence.served[0]),
            float(evidence.wrong[0]),
            float(evidence.upper(level)[0]),
            float(evidence.counts.trials[0]),
        )

    def column(self, number: int) -> ThresholdEvidence:
        """Return the evidence of one threshold."""
        only = slice(number, number + 1)
        rates = None
        if self.rates is not None:
            hits, traps, share = self.rates
            rates = (hits.part(only), traps.part(only), share)
        return ThresholdEvidence(
            self.thresholds[only],
            self.served[only],
            self.wrong[only],
            self.counts.part(only),
            self.assumed[only],
            rates,
        )


def evidence_at(thresholds: Floats, scored: ScoredRequests, units: Units, mix: Mix) -> ThresholdEvidence:
    """Return what each threshold serves by units.

    Args:
        thresholds: shape (thresholds,), highest first.
        scored: the requests' rows.
        units: the units of these rows.
        mix: how rows stand for requests.
    """
    decided = scored.compared()
    wrong = decided & ~scored.same
    served_by = _by_unit(thresholds, scored, units.asked, decided, units.count)
    wrong_by = _by_unit(thresholds, scored, units.asked, wrong, units.count)
    elsewhere = wrong & (units.stored != units.asked) & (units.stored >= 0)
    caused = _by_unit(thresholds, scored, units.stored, elsewhere, units.count)
    counts = effective_counts(wrong_by, served_by, caused)
    rates = None
    if mix.trap_share is not None:
        # No threshold decides about exact matches, so both rates leave them out.
        asked = ~np.isposinf(scored.scores) & scored.labelled()
        hits, traps = (
            _rate_counts(served, _totals(scored, units, asked & of, len(thresholds)))
            for served, of in ((served_by - wrong_by, scored.same), (wrong_by, ~scored.same))
        )
        rates = (hits, traps, mix.trap_share)
    return ThresholdEvidence(
        thresholds, served_by.sum(axis=0), wrong_by.sum(axis=0), counts, assumed_trials(served_by), rates
    )


def _by_unit(
    thresholds: Floats, scored: ScoredRequests, numbers: NDArray[np.int64], rows: NDArray[np.bool_], units: int
) -> Floats:
    """Return the weights of the rows that each threshold serves by unit, shape (units, thresholds)."""
    chosen = np.flatnonzero(rows)
    changes = np.zeros((units, len(thresholds) + 1))
    first = np.searchsorted(-thresholds, -(scored.scores[chosen] + SLACK), side="left")
    last = np.searchsorted(-thresholds, -(scored.floors[chosen] + SLACK), side="left")
    np.add.at(changes, (numbers[chosen], first), scored.weights[chosen])
    np.add.at(changes, (numbers[chosen], last), -scored.weights[chosen])
    sums: Floats = np.maximum(np.cumsum(changes, axis=1)[:, :-1], 0.0)
    return np.where(sums < SLACK, 0.0, sums)


def _rate_counts(served: Floats, totals: Floats) -> EffectiveCounts:
    """Return the effective counts of served cases of a class among all of the class, shape (units, columns) each.

    Prompts of other traffic are served wrongly too but have no label, so a unit may serve more than its class holds.
    """
    counts = effective_counts(served, totals, np.zeros_like(served))
    return EffectiveCounts(counts.trials, np.minimum(counts.events, counts.trials))


def _totals(scored: ScoredRequests, units: Units, rows: NDArray[np.bool_], columns: int) -> Floats:
    totals = np.bincount(units.asked[rows], weights=scored.weights[rows], minlength=units.count)
    return np.repeat(totals[:, None], columns, axis=1)


def _mixed_upper(hits: EffectiveCounts, traps: EffectiveCounts, share: float, level: float) -> Floats:
    """Return the bound on wrong answers per served hit for traffic with a share of traps."""
    each = 1.0 - level / 2
    bad = share * upper_bound(traps.events, traps.trials, each)
    good = (1.0 - share) * lower_bound(hits.events, hits.trials, each)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(bad + good > 0, bad / (bad + good), 1.0)
