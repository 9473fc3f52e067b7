"""Effective sizes of samples whose cases depend on each other by units, and bounds on what further units will show.

The unit is what is independent: a cluster, a conversation, a day. Cases of one unit resemble each other, and a wrong
hit binds two units, the one that asked and the one whose answer was served. Counting cases as independent makes a bound
several times too narrow. So counts are divided by their design effect (Kish 1965; Korn and Graubard 1998).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from semcache.evaluation.statistics.bounds import Z_975, Floats, at_most

MIN_UNITS = 5
"""Units below which their dependence can't be estimated, so that they prove nothing."""
_MIN_UNITS_WITH_EVENTS = 5
"""Units with an event that a threshold needs before its design effect counts for other thresholds."""
_MIN_SIZE = 1.5
"""Trials of a unit below which a design effect says nothing about the correlation within units."""
_ASSUMED_CORRELATION = 0.2
"""The correlation within units that is assumed where labels mustn't be looked at. With none, tests would begin where
independent hits just suffice, and units that resemble themselves would fail there: in the simulation of
test_choosing.py no run of 120 then proves a threshold, with .05 41 do, and with .2 48."""
_HALVINGS = 40
"""Halvings of [0, 1] in a bisection: the remaining error is 1e-12."""


_MAX_GROWTH = 1000.0
"""Growth beyond which labelling more is no advice: nobody labels a thousand times as much."""


@dataclass(frozen=True, slots=True)
class EffectiveCounts:
    """Counts of independent cases that say as much as the dependent ones, one for each column.

    Attributes:
        trials: shape (columns,); 0 where there is nothing or where there are too few units.
        events: shape (columns,).
    """

    trials: Floats
    events: Floats

    def part(self, columns: slice) -> EffectiveCounts:
        """Return the counts of some columns."""
        return EffectiveCounts(self.trials[columns], self.events[columns])


def effective_counts(events: Floats, trials: Floats, caused: Floats) -> EffectiveCounts:
    """Return the effective counts of events among trials.

    The design effect of a column is the greatest of three:

    1. one;
    2. the column's own: the jackknife's variance of the ratio over that of independent cases. To leave a unit out also
       leaves out the events that it caused in others (a delete-one jackknife of a statistic of pairs; Arvesen 1969);
    3. 1 + (size - 1) · ρ, with the mean size of a trial's unit and the correlation ρ within units. ρ is the mean over
       all columns with events in at least five units. A column with few events can't show its own dependence: it looks
       independent by luck. If no column can show it, ρ is 1, and each unit counts as one case.

    Then (z / t)² of Korn and Graubard makes up for few units.

    Args:
        events: events by the unit that had the trial, shape (units, columns).
        trials: trials, shape (units, columns).
        caused: events that each unit caused in trials of other units, shape (units, columns).
    """
    units = len(trials)
    n, k = trials.sum(axis=0), events.sum(axis=0)
    if units < MIN_UNITS:
        return EffectiveCounts(np.zeros_like(n), np.zeros_like(n))
    with np.errstate(divide="ignore", invalid="ignore"):
        share = k / n
        without = (k - events - caused) / (n - trials - caused)
        without = np.where(np.isfinite(without), without, share)
        variance = (units - 1) / units * ((without - without.mean(axis=0)) ** 2).sum(axis=0)
        own = variance * n / (share * (1 - share))
        size = (trials**2).sum(axis=0) / n
        correlation = (own - 1) / (size - 1)
    known = np.isfinite(own) & ((events > 0).sum(axis=0) >= _MIN_UNITS_WITH_EVENTS) & (size > _MIN_SIZE)
    rho = float(np.clip(correlation[known].mean(), 0.0, 1.0)) if known.any() else 1.0
    effect = np.maximum(1.0, 1.0 + (np.nan_to_num(size, nan=1.0) - 1.0) * rho)
    effect = np.maximum(effect, np.where(np.isfinite(own), own, 1.0))
    shrunk = (Z_975 / _t_975(units - 1)) ** 2 / effect
    return EffectiveCounts(np.where(n > 0, n * shrunk, 0.0), np.where(n > 0, k * shrunk, 0.0))


def assumed_trials(trials: Floats) -> Floats:
    """Return, for each column, how many independent trials say as much if units correlate as is assumed.

    It depends on trials alone and not on events, so that a choice by it doesn't look at what is to be proven.

    Args:
        trials: trials by unit, shape (units, columns).
    """
    units, n = len(trials), trials.sum(axis=0)
    if units < MIN_UNITS:
        return np.zeros_like(n)
    size = (trials**2).sum(axis=0) / np.maximum(n, np.finfo(np.float64).tiny)
    effect = np.maximum(1.0, 1.0 + (size - 1.0) * _ASSUMED_CORRELATION)
    return np.asarray((Z_975 / _t_975(units - 1)) ** 2 * n / effect)


def breaks_p_value(counts: EffectiveCounts, limit: float) -> Floats:
    """Return, for each column, the p-value of "as many further trials will show a share above `limit`".

    Given how many events both samples have together, those of the first follow a binomial of probability one half
    (Przyborowski and Wilenski 1940; Nelson 1970). So the value is P(X ≤ k) for X of k + limit · n trials. It asks more
    than a bound on the true share does: the further trials have luck of their own.
    """
    return at_most(counts.events, counts.events + limit * counts.trials, 0.5)


def further_upper_bound(counts: EffectiveCounts, level: float) -> Floats:
    """Return, for each column, the share that as many further trials exceed with a probability of at most `level`."""
    low, high = np.zeros_like(counts.trials), np.ones_like(counts.trials)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        proved = at_most(counts.events, counts.events + middle * counts.trials, 0.5) <= level
        low, high = np.where(proved, low, middle), np.where(proved, middle, high)
    return high


def growth_needed(counts: EffectiveCounts, limit: float, level: float) -> float | None:
    """Return how many times as many units would prove `limit` for the best column, if events stay as frequent.

    Return None if no column has fewer events than the limit allows, or if it would take more than 1,000 times as many
    units: then more units of this kind prove nothing.
    """
    # Sums of fractions carry rounding errors: a share that equals the limit mustn't look like one just below it.
    hopeful = (counts.trials > 0) & (counts.events < (1 - 1e-6) * limit * counts.trials)
    if not hopeful.any():
        return None
    events, trials = counts.events[hopeful], counts.trials[hopeful]
    low, high = 0.0, 1.0
    while not (proved := at_most(high * events, high * (events + limit * trials), 0.5) <= level).any():
        if high >= _MAX_GROWTH:
            return None
        low, high = high, min(2 * high, _MAX_GROWTH)
    events, trials = events[proved], trials[proved]
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if (at_most(middle * events, middle * (events + limit * trials), 0.5) <= level).any():
            high = middle
        else:
            low = middle
    return high


def _t_975(freedom: int) -> float:
    """Return the 97.5th percentile of Student's t (Cornish and Fisher's expansion; .3 % off at 4 degrees)."""
    z, nu = Z_975, float(freedom)
    return (
        z
        + (z**3 + z) / (4 * nu)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * nu**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * nu**3)
    )
