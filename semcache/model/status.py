"""How a request ended."""

from __future__ import annotations

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
