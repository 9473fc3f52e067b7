"""Measure how well a score ranks labelled pairs: AUC, hits served at a share of traps, paired bootstrap intervals."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semcache.evaluation.statistics.bootstrap import SEED, percentiles

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
TRAP_SHARES = (0.01, 0.02, 0.05)
RESAMPLES = 1_000


@dataclass(frozen=True, slots=True)
class Change:
    """A quantity under two scores on the same pairs, and the 95 % interval of the difference."""

    value: float
    other: float
    interval: tuple[float, float] | None


class Ranking:
    """Pairs ordered by one score; equal scores are one step, so that ties count half."""

    def __init__(self, scores: Floats, same: Bools) -> None:
        self._order = np.argsort(-scores, kind="stable")
        ordered = scores[self._order]
        self._steps = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
        self._same = same[self._order].astype(np.float64)

    def measurements(self, weights: Floats) -> Floats:
        """Return AUC, then the share of hits served at each of TRAP_SHARES, with weighted pairs; shape (4,)."""
        weighted = weights[self._order]
        hits = np.add.reduceat(weighted * self._same, self._steps)
        traps = np.add.reduceat(weighted * (1.0 - self._same), self._steps)
        served = np.append(0.0, np.cumsum(hits)) / hits.sum()
        passed = np.append(0.0, np.cumsum(traps)) / traps.sum()
        last = [np.searchsorted(passed, share + 1e-12, side="right") - 1 for share in TRAP_SHARES]
        return np.array([np.trapezoid(served, passed), *served[last]])


def compare_rankings(scores: Floats, others: Floats, same: Bools, groups: Sequence[Hashable]) -> list[Change]:
    """Compare AUC and hits at each of TRAP_SHARES by `scores` with those by `others`.

    Args:
        scores, others: shape (pairs,); minus infinity ranks last.
        same: whether a pair shares an answer; shape (pairs,).
        groups: cluster of each pair, shape (pairs,); a cluster is resampled as a whole.
    """
    numbers: dict[Hashable, int] = {}
    of_pair = np.array([numbers.setdefault(group, len(numbers)) for group in groups])
    ranking, other = Ranking(scores, same), Ranking(others, same)
    whole = np.ones(len(same))
    values, beside = ranking.measurements(whole), other.measurements(whole)
    chance = np.random.default_rng(SEED)
    differences = []
    for _ in range(RESAMPLES):
        times = np.bincount(chance.integers(len(numbers), size=len(numbers)), minlength=len(numbers))
        weights = times[of_pair].astype(np.float64)
        if weights[same].any() and weights[~same].any():
            differences.append(ranking.measurements(weights) - other.measurements(weights))
    drawn = np.array(differences)
    return [
        Change(float(value), float(by_other), percentiles(drawn[:, number]))
        for number, (value, by_other) in enumerate(zip(values, beside, strict=True))
    ]
