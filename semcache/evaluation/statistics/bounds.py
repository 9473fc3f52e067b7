"""Bounds of a share: Wilson's interval, and the one-sided exact bounds of Clopper and Pearson."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Z_975 = 1.959963984540054
"""The 97.5th percentile of the normal distribution."""
_HALVINGS = 50
"""Halvings of [0, 1] in a bisection: the remaining error is 1e-15."""
_TERMS = 10_000
"""Terms of the continued fraction at most; it converges far earlier."""
_TINY = 1e-300
"""Replaces a zero in the continued fraction, as Lentz's method requires."""
Floats = NDArray[np.float64]


def wilson(count: ArrayLike, of: ArrayLike) -> tuple[Floats, Floats]:
    """Return Wilson's 95 % interval of a share (Wilson 1927), elementwise.

    It holds for independent cases, also for few of them and for shares near 0 or 1.

    Args:
        count: the successes, any shape.
        of: the trials, in the shape of `count`, at least 1.

    Returns:
        The low and the high end, as shares, in the shape of `count`.
    """
    counts, totals = np.asarray(count, np.float64), np.asarray(of, np.float64)
    share, square = counts / totals, Z_975**2
    middle = share + square / (2 * totals)
    half = Z_975 * np.sqrt(share * (1 - share) / totals + square / (4 * totals**2))
    low, high = (middle - half) / (1 + square / totals), (middle + half) / (1 + square / totals)
    # For no or only successes the exact end is 0 or 1, which floating point misses by a little.
    return np.where(counts > 0, low, 0.0), np.where(counts < totals, high, 1.0)


def at_most(count: ArrayLike, of: ArrayLike, share: ArrayLike) -> Floats:
    """Return P(X ≤ count) for a binomial X of `of` trials with probability `share`, elementwise.

    If `share` is a limit on a risk, this is the exact p-value of the hypothesis that the true risk exceeds the limit.
    It is computed here because SciPy is not a dependency.
    """
    counts, totals, shares = np.broadcast_arrays(
        np.asarray(count, np.float64), np.asarray(of, np.float64), np.asarray(share, np.float64)
    )
    below = counts < totals
    # P(X ≤ k) = I_{1−p}(n − k, k + 1), the regularised incomplete beta function (Abramowitz and Stegun 26.5.24).
    probability = _incomplete_beta(np.where(below, totals - counts, 1.0), counts + 1.0, 1.0 - shares)
    return np.where(below, probability, 1.0)


def upper_bound(count: ArrayLike, of: ArrayLike, confidence: float = 0.95) -> Floats:
    """Return the one-sided upper bound of a share, elementwise (Clopper and Pearson 1934).

    The true share lies above the bound with a probability of at most 1 − confidence. Without trials the bound is 1.
    """
    counts, totals = np.broadcast_arrays(np.asarray(count, np.float64), np.asarray(of, np.float64))
    low, high = np.zeros(counts.shape), np.ones(counts.shape)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        beyond = at_most(counts, totals, middle) <= 1.0 - confidence
        low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
    return np.where(counts < totals, high, 1.0)


def lower_bound(count: ArrayLike, of: ArrayLike, confidence: float = 0.95) -> Floats:
    """Return the one-sided lower bound of a share, elementwise; without trials it is 0."""
    counts, totals = np.broadcast_arrays(np.asarray(count, np.float64), np.asarray(of, np.float64))
    return 1.0 - upper_bound(totals - counts, totals, confidence)


def clean_cases_needed(limit: float, confidence: float = 0.95) -> int:
    """Return how many cases, none of them wrong, prove a share of at most `limit`: 299 for 1 % at 95 %."""
    return math.ceil(math.log1p(-confidence) / math.log1p(-limit) - 1e-9)


def cases_needed(wrong: int, limit: float, confidence: float = 0.95) -> int:
    """Return how many cases prove a share of at most `limit` if `wrong` of them are wrong."""
    low = high = max(wrong + 1, clean_cases_needed(limit, confidence))
    while at_most(wrong, high, limit) > 1.0 - confidence:
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        if at_most(wrong, middle, limit) > 1.0 - confidence:
            low = middle + 1
        else:
            high = middle
    return high


def _incomplete_beta(a: Floats, b: Floats, x: Floats) -> Floats:
    """Return I_x(a, b), elementwise, from its continued fraction (DLMF 8.17.22) by Lentz's modified method."""
    # The fraction converges fast below (a + 1) / (a + b + 2). Beyond it, I_x(a, b) = 1 − I_{1−x}(b, a) is used.
    mirrored = x > (a + 1.0) / (a + b + 2.0)
    a, b, x = np.where(mirrored, b, a), np.where(mirrored, a, b), np.where(mirrored, 1.0 - x, x)
    with np.errstate(divide="ignore"):
        front = np.exp(a * np.log(x) + b * np.log1p(-x) + _log_gamma(a + b) - _log_gamma(a) - _log_gamma(b) - np.log(a))
    c = np.ones_like(x)
    d = 1.0 / _away_from_0(1.0 - (a + b) * x / (a + 1.0))
    value = d.copy()
    step = value
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        for coefficient in (even, odd):
            d = 1.0 / _away_from_0(1.0 + coefficient * d)
            c = _away_from_0(1.0 + coefficient / c)
            step = c * d
            value = value * step
        if np.all(np.abs(step - 1.0) < 1e-14):
            break
    probability: Floats = np.clip(front * value, 0.0, 1.0)
    return np.where(mirrored, 1.0 - probability, probability)


def _away_from_0(values: Floats) -> Floats:
    return np.where(np.abs(values) < _TINY, _TINY, values)


_log_gamma = np.vectorize(math.lgamma, otypes=[np.float64])
