"""How a request ended."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """How a request ended. Each request ends in exactly one status, so their counts add up to the requests."""

    EXACT_HIT = "exact_hit"
    SEMANTIC_HIT = "semantic_hit"
    COALESCED = "coalesced"
    MISS = "miss"
    BYPASS = "bypass"
    REFRESH = "refresh"
    STALE = "stale"
    """An expired entry answered, because the upstream couldn't be reached. It is no hit, and saved nothing."""
    ERROR = "error"
    CANCELLED = "cancelled"

    __hash__ = str.__hash__
    """The hash of a string runs in C, an enum's in Python; a request looks its status up a dozen times."""


HIT_STATUSES = frozenset({Status.EXACT_HIT, Status.SEMANTIC_HIT, Status.COALESCED})


def hit_ratio(counts: Mapping[Status, int] | Mapping[str, int]) -> float | None:
    """Return (exact + semantic + coalesced) / (exact + semantic + coalesced + miss).

    Requests with another status are left out: the cache wasn't asked for their answer, or they had none.

    Args:
        counts: requests by status; a status that is missing counts as 0.

    Returns:
        The ratio, 0 to 1; None when there was neither a hit nor a miss.
    """
    by_status: Mapping[Any, int] = counts
    hits = sum(by_status.get(status, 0) for status in HIT_STATUSES)
    answerable = hits + by_status.get(Status.MISS, 0)
    return hits / answerable if answerable else None
