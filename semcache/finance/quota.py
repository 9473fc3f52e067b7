"""Where a month's quota of requests ends within the ledger's hours, in integers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from semcache.model import LedgerHour


@dataclass(frozen=True, slots=True)
class QuotaPart:
    """A rollup row and what of it lies beyond the quota; the rest of the row lies within."""

    hour: LedgerHour
    requests_beyond: int
    tokens_beyond: int
    cost_beyond_nanousd: int


def split_at_quota(hours: Iterable[LedgerHour], quota: int) -> Iterator[QuotaPart]:
    """Walk one tenant's hours in time order; the first `quota` requests are within, the others beyond.

    The rollup doesn't say in which order the requests of one hour came. So the hour that crosses the quota is split by
    proportion: when k of its n requests are beyond, then k/n of each row's tokens and cost are, rounded down, and the
    rows' requests so that they add up to k. A row without requests of its own (a caller's Store) goes with its hour.

    Args:
        hours: rollup rows, by time.
        quota: requests that are included.
    """
    left = quota
    for _, members in groupby(hours, key=lambda hour: hour.hour_s):
        rows = list(members)
        count = sum(row.requests for row in rows)
        over = max(0, count - left)
        # Of an hour with deposits alone all is within, unless the quota is used up.
        of, over_share = (count, over) if count else (1, 0 if left else 1)
        seen = 0
        for row in rows:
            before, seen = seen, seen + row.requests
            yield QuotaPart(
                row,
                seen * over_share // of - before * over_share // of,
                (row.input_tokens + row.output_tokens) * over_share // of,
                row.spent_nanousd * over_share // of,
            )
        left = max(0, left - count)
