"""How a request ended."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Status(StrEnum):
    """How a request ended. Their counts add up to the requests: see `observe.metrics`."""

    EXACT_HIT = "exact_hit"
    SEMANTIC_HIT = "semantic_hit"
    COALESCED = "coalesced"
    MISS = "miss"
    BYPASS = "bypass"
    REFRESH = "refresh"
    ERROR = "error"
    CANCELLED = "cancelled"

    __hash__ = str.__hash__
    """In C: an enum's own runs in Python, and a request looks its status up a dozen times."""


HIT_STATUSES = frozenset({Status.EXACT_HIT, Status.SEMANTIC_HIT, Status.COALESCED})


def hit_ratio(counts: Mapping[Status, int]) -> float | None:
    """Return hits / (hits + misses) of request counts by status; None before the first of them.

    A request that was bypassed, refreshed, cancelled or failed could not be a hit, so it isn't counted.
    """
    hits = sum(counts.get(status, 0) for status in HIT_STATUSES)
    possible = hits + counts.get(Status.MISS, 0)
    return hits / possible if possible else None
