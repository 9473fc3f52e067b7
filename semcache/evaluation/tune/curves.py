"""Computes what each threshold would serve: hits, traps, wrong answers per served hit, hit ratio, dollars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semcache.evaluation.statistics.bounds import wilson
from semcache.evaluation.tune.pair_scores import SLACK, ScoredRequests

_DECIMALS = 4
"""Decimals of a threshold: scores that differ less than this share one."""


@dataclass(frozen=True, slots=True)
class Mix:
    """How the pairs stand for requests.

    Attributes:
        trap_share: the share of near-miss traps among requests that have a near candidate. None: each pair stands for
            an equal part of the requests, so the share is that of the labels.
    """

    trap_share: float | None = None

    def weights(self, scored: ScoredRequests) -> NDArray[np.float64]:
        """Return the part of all requests that each row stands for, shape (rows,)."""
        weights, same, labelled = scored.weights, scored.same, scored.labelled()
        if self.trap_share is None:
            return weights / max(scored.requests, SLACK)
        hits, traps = (max(float(weights[of].sum()), SLACK) for of in (same & labelled, ~same & labelled))
        return np.where(same, (1.0 - self.trap_share) * weights / hits, self.trap_share * weights / traps)


@dataclass(frozen=True, slots=True)
class Point:
    """What one threshold serves.

    Attributes:
        threshold: the cosine.
        hits: requests served with a right answer, exact matches included; the mean over the orders.
        traps: requests served with a wrong answer, exact matches included.
        exact: exact matches, which every threshold serves; they are counted in `hits` and `traps` too.
        wrong_share: the share of wrong answers among served requests, under the mix; None if nothing is served.
        wrong_interval: its 95 % interval, None with it. It is Wilson's, which holds for independent pairs in the
            labels' own mix. For others, `tuning` replaces it by the cluster bootstrap's in its tables.
        wrong_upper: the bound by units on the share among as many further hits that the threshold decides about. Exact
            matches would dilute it. `tuning` computes it for its tables alone; elsewhere it is None.
        hit_ratio: the share of requests that is served, under the mix.
        net_usd: dollars saved by 1,000 requests, less the cost of wrong answers.
    """

    threshold: float
    hits: float
    traps: float
    exact: float
    wrong_share: float | None
    wrong_interval: tuple[float, float] | None
    wrong_upper: float | None
    hit_ratio: float
    net_usd: float


def distinct_thresholds(*scored: ScoredRequests) -> NDArray[np.float64]:
    """Return each threshold that serves more pairs than the one above it, highest first, with four decimals."""
    scores = np.concatenate([scored_pairs.scores[scored_pairs.compared()] for scored_pairs in scored])
    steps = 10.0**_DECIMALS
    # Rounded down, so that a pair with that score is served at the rounded threshold.
    return np.unique(np.floor((scores + SLACK) * steps) / steps)[::-1]


def curve(
    scored: ScoredRequests,
    thresholds: Sequence[float] | NDArray[np.float64],
    *,
    mix: Mix,
    usd: NDArray[np.float64],
    cost_of_wrong_usd: float,
) -> tuple[Point, ...]:
    """Return a point for each threshold, in the order of `thresholds`.

    Args:
        scored: the requests' rows under one set of guards.
        thresholds: cosines, in any order.
        mix: how pairs stand for requests.
        usd: dollars saved by answering each row from the cache, shape (rows,).
        cost_of_wrong_usd: dollars that one wrong answer costs.
    """
    at = np.asarray(thresholds, np.float64)
    upto, floors = _order(scored.scores, at), _order(np.minimum(scored.floors, scored.scores), at)

    def summed(values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum over the rows that each threshold serves: reached by their score and not below their floor."""
        reached, passed = (np.concatenate([[0.0], np.cumsum(values[order])])[count] for order, count in (upto, floors))
        return np.asarray(np.maximum(reached - passed, 0.0))

    weights, same, parts = scored.weights, scored.same, mix.weights(scored)
    exact = float(weights[np.isposinf(scored.scores)].sum())
    hits, traps = (_cleaned(summed(np.where(of, weights, 0.0))) for of in (same, ~same))
    served, wrong = summed(parts), summed(np.where(same, 0.0, parts))
    net = 1000.0 * (summed(parts * usd) - wrong * cost_of_wrong_usd)
    low, high = wilson(traps, np.maximum(1.0, hits + traps))
    return tuple(
        Point(
            threshold=float(at[n]),
            hits=float(hits[n]),
            traps=float(traps[n]),
            exact=exact,
            wrong_share=float(wrong[n] / served[n]) if served[n] > SLACK * SLACK else None,
            wrong_interval=(float(low[n]), float(high[n])) if hits[n] + traps[n] > 0 else None,
            wrong_upper=None,
            hit_ratio=float(served[n]),
            net_usd=float(net[n]),
        )
        for n in range(len(at))
    )


def _order(values: NDArray[np.float64], at: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the order of `values`, greatest first, and how many of them reach each threshold."""
    order = np.argsort(-values, kind="stable")
    return order, np.searchsorted(-values[order], -(at - SLACK), side="right")


def _cleaned(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sums without the rounding errors of adding fractions: whole where they are whole."""
    rounded = np.round(sums)
    return np.where(np.abs(sums - rounded) < SLACK, rounded, sums)
