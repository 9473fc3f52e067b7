"""Computes what each threshold would serve: hits, traps, wrong answers per served hit, hit ratio, dollars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semcache.evaluation.statistics.bounds import upper_bound, wilson
from semcache.evaluation.tune.pair_scores import SLACK, ScoredPairs

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

    def weights(self, same: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the part of the requests that each pair stands for, shape (pairs,), with the sum 1.

        Args:
            same: whether each pair shares an answer, shape (pairs,).
        """
        if self.trap_share is None:
            return np.full(len(same), 1.0 / max(1, len(same)))
        hits, traps = max(1, int(same.sum())), max(1, int((~same).sum()))
        return np.where(same, (1.0 - self.trap_share) / hits, self.trap_share / traps)


@dataclass(frozen=True, slots=True)
class Point:
    """What one threshold serves.

    Attributes:
        threshold: the cosine.
        hits: served pairs that share an answer, exact matches included.
        traps: served pairs that don't share an answer, exact matches included.
        exact: exact matches, which every threshold serves; they are counted in `hits` and `traps` too.
        wrong_share: the share of wrong answers among served requests, under the mix; None if nothing is served.
        wrong_interval: its 95 % interval, None with it. It is Wilson's, which holds for independent pairs in the
            labels' own mix. For other pairs, `tuning` replaces it by the cluster bootstrap's in its tables.
        wrong_upper: the one-sided 95 % bound over the pairs that the threshold decides about, in the labels' own mix.
            Exact matches would dilute it. It is 1 if there are no such pairs.
        hit_ratio: the share of requests that is served, under the mix.
        net_usd: dollars saved by 1,000 requests, less the cost of wrong answers.
    """

    threshold: float
    hits: int
    traps: int
    exact: int
    wrong_share: float | None
    wrong_interval: tuple[float, float] | None
    wrong_upper: float
    hit_ratio: float
    net_usd: float


def distinct_thresholds(*scored: ScoredPairs) -> NDArray[np.float64]:
    """Return each threshold that serves more pairs than the one above it, highest first, with four decimals."""
    scores = np.concatenate([scored_pairs.scores[scored_pairs.compared()] for scored_pairs in scored])
    steps = 10.0**_DECIMALS
    # Rounded down, so that a pair with that score is served at the rounded threshold.
    return np.unique(np.floor((scores + SLACK) * steps) / steps)[::-1]


def curve(
    scored: ScoredPairs,
    thresholds: Sequence[float] | NDArray[np.float64],
    *,
    mix: Mix,
    usd: NDArray[np.float64],
    cost_of_wrong_usd: float,
) -> tuple[Point, ...]:
    """Return a point for each threshold, in the order of `thresholds`.

    Args:
        scored: the pairs under one set of guards.
        thresholds: cosines, in any order.
        mix: how pairs stand for requests.
        usd: dollars saved by answering each pair from the cache, shape (pairs,).
        cost_of_wrong_usd: dollars that one wrong answer costs.
    """
    at = np.asarray(thresholds, np.float64)
    order = np.argsort(-scored.scores, kind="stable")
    scores, same = scored.scores[order], scored.same[order]
    weights = mix.weights(scored.same)[order]
    upto = np.searchsorted(-scores, -(at - SLACK), side="right")
    exact = int(np.isposinf(scores).sum())

    def summed(values: NDArray[np.generic]) -> NDArray[np.float64]:
        return np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])[upto]

    hits, traps = summed(same).astype(int), summed(~same).astype(int)
    served, wrong = summed(weights), summed(np.where(same, 0.0, weights))
    net = 1000.0 * (summed(weights * usd[order]) - wrong * cost_of_wrong_usd)
    exact_traps = int((~same[:exact]).sum())
    upper = upper_bound(traps - exact_traps, hits + traps - exact)
    low, high = wilson(traps, np.maximum(1, hits + traps))
    return tuple(
        Point(
            threshold=float(at[n]),
            hits=int(hits[n]),
            traps=int(traps[n]),
            exact=exact,
            wrong_share=float(wrong[n] / served[n]) if served[n] > 0 else None,
            wrong_interval=(float(low[n]), float(high[n])) if hits[n] + traps[n] else None,
            wrong_upper=float(upper[n]),
            hit_ratio=float(served[n]),
            net_usd=float(net[n]),
        )
        for n in range(len(at))
    )
