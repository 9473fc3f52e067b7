"""Splits the ledger's hours at a month's quota of requests, in integers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from semcache.model import LedgerHour


@dataclass(frozen=True, slots=True)
class QuotaPart:
    """A ledger hour, and the part of it that lies beyond the quota; the rest lies within."""

    hour: LedgerHour
    requests_beyond: int
    tokens_beyond: int
    cost_beyond_nanousd: int


def split_at_quota(hours: Iterable[LedgerHour], quota: int) -> Iterator[QuotaPart]:
    """Split one tenant's hours: the first `quota` requests lie within the quota, the others beyond it.

    The ledger's hours don't say in which order the requests of one hour came. So the hour that crosses the quota is
    split in proportion: if k of its n requests are beyond, k/n of each row's tokens and cost are, rounded down. The
    rows' requests beyond add up to k. A row without requests (a caller's Store) is split as its hour is.

    Args:
        hours: one tenant's ledger hours, in the order of time.
        quota: the number of included requests.
    """
    remaining = quota
    for _, members in groupby(hours, key=lambda hour: hour.hour_s):
        rows = list(members)
        count = sum(row.requests for row in rows)
        excess = max(0, count - remaining)
        # An hour without requests lies within, unless the quota is used up.
        numerator, denominator = (excess, count) if count else (0 if remaining else 1, 1)
        seen = 0
        for row in rows:
            before, seen = seen, seen + row.requests
            yield QuotaPart(
                row,
                seen * numerator // denominator - before * numerator // denominator,
                (row.input_tokens + row.output_tokens) * numerator // denominator,
                row.spent_nanousd * numerator // denominator,
            )
        remaining = max(0, remaining - count)
