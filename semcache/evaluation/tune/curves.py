"""What every threshold would serve: hits, traps, wrong ones per hit served, hit ratio, dollars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semcache.evaluation.statistics.bounds import upper_bound, wilson
from semcache.evaluation.tune.judging import SLACK, Judged

_DECIMALS = 4
"""Of a threshold: what lies closer together is one."""


@dataclass(frozen=True, slots=True)
class Mix:
    """How pairs stand for requests: each the same, or traps so many of all.

    `trap_share` is the share of near-miss traps among requests that have a near candidate; None: as the labels have it.
    """

    trap_share: float | None = None

    def weights(self, same: NDArray[np.bool_]) -> NDArray[np.float64]:
        """What part of the requests each pair stands for; shape (pairs,), they sum to 1."""
        if self.trap_share is None:
            return np.full(len(same), 1.0 / max(1, len(same)))
        hits, traps = max(1, int(same.sum())), max(1, int((~same).sum()))
        return np.where(same, (1.0 - self.trap_share) / hits, self.trap_share / traps)


@dataclass(frozen=True, slots=True)
class Point:
    """What one threshold serves.

    Attributes:
        threshold: the cosine.
        hits: pairs served that share an answer, those matched exactly among them.
        traps: pairs served that don't.
        exact: pairs that are served whatever the threshold; among `hits` and `traps`.
        wrong_share: of what is served, the part that is wrong, as requests are mixed; None when nothing is.
        wrong_interval: its 95 % interval, None as above: Wilson's, for independent pairs mixed as the labels are. Where
            they aren't, `tuning` puts the cluster bootstrap's in the points of its tables.
        wrong_upper: the one-sided 95 % bound over the pairs that the threshold decides about (exact matches would only
            dilute it), mixed as the labels are; 1 when there are none.
        hit_ratio: the part of requests that is served, as they are mixed.
        net_usd: saved per 1,000 requests, less the cost of wrong answers.
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


def distinct_thresholds(*judged: Judged) -> NDArray[np.float64]:
    """Every threshold that serves something else than the next one, highest first, to four decimals."""
    scores = np.concatenate([one.scores[one.compared()] for one in judged])
    steps = 10.0**_DECIMALS
    # Rounded down: what has the score is served at the threshold that is told.
    return np.unique(np.floor((scores + SLACK) * steps) / steps)[::-1]


def curve(
    judged: Judged,
    thresholds: Sequence[float] | NDArray[np.float64],
    *,
    mix: Mix,
    usd: NDArray[np.float64],
    cost_of_wrong_usd: float,
) -> tuple[Point, ...]:
    """The points of some thresholds.

    Args:
        judged: the pairs under one set of guards.
        thresholds: cosines, in any order.
        mix: how pairs stand for requests.
        usd: what answering each pair from the cache spares, shape (pairs,).
        cost_of_wrong_usd: what one wrong answer costs.
    """
    at = np.asarray(thresholds, np.float64)
    order = np.argsort(-judged.scores, kind="stable")
    scores, same = judged.scores[order], judged.same[order]
    weights = mix.weights(judged.same)[order]
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
