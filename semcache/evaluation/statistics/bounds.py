"""Bounds of a share that was counted: Wilson's interval, and Clopper and Pearson's one-sided exact bounds."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

_Z_95 = 1.959963984540054
_HALVINGS = 50
"""Each halves what is left of [0, 1]: an error of 1e-15."""
_TERMS = 10_000
_TINY = 1e-300
Floats = NDArray[np.float64]


def wilson(count: ArrayLike, of: ArrayLike) -> tuple[Floats, Floats]:
    """Wilson's 95 % interval (Wilson 1927), elementwise: right also near 0 and for few independent cases.

    Args:
        count: how many, any shape.
        of: of how many, the same shape, at least 1.

    Returns:
        The two ends, shares of that shape.
    """
    counts, totals = np.asarray(count, np.float64), np.asarray(of, np.float64)
    share, square = counts / totals, _Z_95**2
    middle = share + square / (2 * totals)
    half = _Z_95 * np.sqrt(share * (1 - share) / totals + square / (4 * totals**2))
    low, high = (middle - half) / (1 + square / totals), (middle + half) / (1 + square / totals)
    # At the ends the formula is exact, and floats are not.
    return np.where(counts > 0, low, 0.0), np.where(counts < totals, high, 1.0)


def at_most(count: ArrayLike, of: ArrayLike, share: ArrayLike) -> Floats:
    """P(X ≤ count) for X binomial of `of` trials at `share`, elementwise, without SciPy.

    For a limit `share` on a risk it is the exact p-value of the hypothesis that the true risk is above the limit.
    """
    counts, totals, shares = np.broadcast_arrays(
        np.asarray(count, np.float64), np.asarray(of, np.float64), np.asarray(share, np.float64)
    )
    below = counts < totals
    # P(X ≤ k) = I_{1−p}(n − k, k + 1), the regularised incomplete beta function (Abramowitz and Stegun 26.5.24).
    told = _incomplete_beta(np.where(below, totals - counts, 1.0), counts + 1.0, 1.0 - shares)
    return np.where(below, told, 1.0)


def upper_bound(count: ArrayLike, of: ArrayLike, confidence: float = 0.95) -> Floats:
    """The one-sided upper bound of a share (Clopper and Pearson 1934): the true one is above it at most 1−confidence.

    1 for none of none.
    """
    counts, totals = np.broadcast_arrays(np.asarray(count, np.float64), np.asarray(of, np.float64))
    low, high = np.zeros(counts.shape), np.ones(counts.shape)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        beyond = at_most(counts, totals, middle) <= 1.0 - confidence
        low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
    return np.where(counts < totals, high, 1.0)


def lower_bound(count: ArrayLike, of: ArrayLike, confidence: float = 0.95) -> Floats:
    """The one-sided lower bound of a share; 0 for none of none."""
    counts, totals = np.broadcast_arrays(np.asarray(count, np.float64), np.asarray(of, np.float64))
    return 1.0 - upper_bound(totals - counts, totals, confidence)


def clean_cases_needed(limit: float, confidence: float = 0.95) -> int:
    """How many cases without a wrong one prove a share of at most `limit`: 299 for 1 % at 95 %."""
    return math.ceil(math.log1p(-confidence) / math.log1p(-limit) - 1e-9)


def cases_needed(wrong: int, limit: float, confidence: float = 0.95) -> int:
    """How many cases prove a share of at most `limit` when `wrong` of them are wrong."""
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
    """I_x(a, b), elementwise, by its continued fraction (DLMF 8.17.22) in Lentz's modified form."""
    # The fraction converges fast below (a + 1) / (a + b + 2); beyond it I_x(a, b) = 1 − I_{1−x}(b, a).
    turned = x > (a + 1.0) / (a + b + 2.0)
    a, b, x = np.where(turned, b, a), np.where(turned, a, b), np.where(turned, 1.0 - x, x)
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
    told: Floats = np.clip(front * value, 0.0, 1.0)
    return np.where(turned, 1.0 - told, told)


def _away_from_0(values: Floats) -> Floats:
    return np.where(np.abs(values) < _TINY, _TINY, values)


_log_gamma = np.vectorize(math.lgamma, otypes=[np.float64])
