"""How what one request costs is spread, by model: from the request log, for as far back as it is kept."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass

from semcache.model import HIT_STATUSES, LedgerRecord, Purpose


@dataclass(frozen=True, slots=True)
class CostSpread:
    """What upstream calls of one model cost, nanodollars: the 5th, 50th and 95th percentile of `calls` calls."""

    model: str
    calls: int
    low_nanousd: int
    median_nanousd: int
    high_nanousd: int


def cost_spreads(records: Iterable[LedgerRecord]) -> tuple[CostSpread, ...]:
    """By model, the dearest in sum first. Hits, calls that cost nothing and calls without a price are left out."""
    costs: dict[str, array[int]] = {}
    for record in records:
        if record.purpose is Purpose.REQUEST and record.status not in HIT_STATUSES and record.spent.total_nanousd:
            costs.setdefault(record.model, array("q")).append(record.spent.total_nanousd)
    spreads = []
    for model, unsorted in sorted(costs.items(), key=lambda item: (-sum(item[1]), item[0])):
        ordered = sorted(unsorted)
        spreads.append(CostSpread(model, len(ordered), *(_rank(ordered, share) for share in (0.05, 0.5, 0.95))))
    return tuple(spreads)


def _rank(ordered: list[int], share: float) -> int:
    """The nearest rank: a cost that occurred, never one between two."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
