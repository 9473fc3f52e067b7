"""Computes the range of what one upstream call costs, by model, from the request log."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass

from semcache.model import HIT_STATUSES, LedgerRecord, Purpose


@dataclass(frozen=True, slots=True)
class CostRange:
    """The range of what one upstream call of a model costs.

    Attributes:
        model: the model.
        calls: the number of calls.
        low_nanousd: the 5th percentile of a call's cost.
        median_nanousd: the median.
        high_nanousd: the 95th percentile.
    """

    model: str
    calls: int
    low_nanousd: int
    median_nanousd: int
    high_nanousd: int


def cost_ranges(records: Iterable[LedgerRecord]) -> tuple[CostRange, ...]:
    """Return the ranges by model, the highest sum first.

    Hits, calls that cost nothing and calls without a price are left out.
    """
    costs: dict[str, array[int]] = {}
    for record in records:
        if record.purpose is Purpose.REQUEST and record.status not in HIT_STATUSES and record.spent.total_nanousd:
            costs.setdefault(record.model, array("q")).append(record.spent.total_nanousd)
    ranges = []
    for model, unsorted in sorted(costs.items(), key=lambda item: (-sum(item[1]), item[0])):
        ordered = sorted(unsorted)
        ranges.append(CostRange(model, len(ordered), *(_rank(ordered, share) for share in (0.05, 0.5, 0.95))))
    return tuple(ranges)


def _rank(ordered: list[int], share: float) -> int:
    """Return a percentile by nearest rank, which is always a cost that occurred."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
