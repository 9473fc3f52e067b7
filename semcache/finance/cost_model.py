"""Computes what a month costs in all: inference, output, storage, operations, monitoring, fixed charges of providers.

The cost of tokens is measured by the ledger. The other parts are configured (`costs.model`) and due by the month.
Amounts are integer nanodollars; each is rounded down once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from semcache.costs.periods import Period
from semcache.model import NANOUSD_PER_USD, LedgerHour
from semcache.settings import CostModelSettings

DAY_S = 86_400
_BYTES_PER_GB = 10**9


class CostPart(StrEnum):
    """The parts of a month's cost."""

    INFERENCE = "inference"
    """Input tokens, including those read from the provider's prompt cache."""
    OUTPUT = "output"
    STORAGE = "storage"
    OPERATIONS = "operations"
    MONITORING = "monitoring"
    FIXED = "fixed charges"
    """Providers' monthly charges. Shares are computed over the other five parts."""


MEASURED = frozenset({CostPart.INFERENCE, CostPart.OUTPUT})
"""The parts that the ledger measures; the others are configured."""
USUAL_PERCENT: Mapping[CostPart, tuple[int, int]] = {
    CostPart.INFERENCE: (40, 50),
    CostPart.OUTPUT: (40, 50),
    CostPart.STORAGE: (5, 10),
    CostPart.OPERATIONS: (3, 5),
    CostPart.MONITORING: (2, 3),
}
"""The usual share of each part: (lowest, highest) percent of the five parts without fixed charges."""

PROJECTION = "so far, and for the rest of the month as much an hour as in the hours measured"
"""The method of the projection, in words."""


@dataclass(frozen=True, slots=True)
class Spending:
    """What upstreams charged in a span of time.

    Attributes:
        input_nanousd: nanodollars for input tokens, including those read from a provider's prompt cache.
        output_nanousd: nanodollars for output tokens.
        requests: requests of every status.
        measured_s: the seconds for which the ledger counted.
    """

    input_nanousd: int
    output_nanousd: int
    requests: int
    measured_s: float

    @property
    def total_nanousd(self) -> int:
        """Nanodollars for input and output tokens."""
        return self.input_nanousd + self.output_nanousd

    @classmethod
    def of(cls, hours: Iterable[LedgerHour], measured_s: float) -> Spending:
        """Return the sum of ledger hours."""
        rows = tuple(hours)
        return cls(
            sum(hour.spent_input_nanousd + hour.spent_cached_input_nanousd for hour in rows),
            sum(hour.spent_output_nanousd for hour in rows),
            sum(hour.requests for hour in rows),
            measured_s,
        )


@dataclass(frozen=True, slots=True)
class PartCost:
    """One part of a month's cost.

    Attributes:
        part: the part.
        so_far_nanousd: nanodollars up to now.
        projected_nanousd: nanodollars at the month's end; None if nothing is projected.
    """

    part: CostPart
    so_far_nanousd: int
    projected_nanousd: int | None

    @property
    def usual_percent(self) -> tuple[int, int] | None:
        """The usual share as (lowest, highest) percent; None for fixed charges."""
        return USUAL_PERCENT.get(self.part)


@dataclass(frozen=True, slots=True)
class MonthlyCost:
    """A month's cost, so far and projected to its end.

    Attributes:
        month: the month.
        parts: one for each `CostPart`, in its order.
        measured_s: the seconds of the month for which the ledger has counted.
        remaining_s: the seconds until the month's end; 0 when it is over.
        share: the share of the common parts that these tenants bear.
        growth: the growth of spending per hour over the month before, as a share; None if either month has less than a
            day of measurement.
        growth_limit: the greatest growth that is wanted.
    """

    month: Period
    parts: tuple[PartCost, ...]
    measured_s: float
    remaining_s: float
    share: Fraction
    growth: float | None
    growth_limit: float

    @property
    def projects(self) -> bool:
        """Whether the month's end is projected, which takes a day of measurement."""
        return self.measured_s >= DAY_S

    @property
    def so_far_nanousd(self) -> int:
        """Nanodollars of all parts up to now."""
        return sum(part.so_far_nanousd for part in self.parts)

    @property
    def projected_nanousd(self) -> int | None:
        """Nanodollars of all parts at the month's end; None if nothing is projected."""
        projected = [part.projected_nanousd for part in self.parts]
        return None if None in projected else sum(amount or 0 for amount in projected)

    @property
    def grows_too_fast(self) -> bool:
        """Whether growth is known and above the limit."""
        return self.growth is not None and self.growth > self.growth_limit

    def percent(self, part: PartCost) -> float | None:
        """Return a part's share of the five parts, in percent, of projected costs if they are known.

        Return None for fixed charges, or if there are no costs.
        """
        if part.usual_percent is None:
            return None
        whole = sum(_latest(other) for other in self.parts if other.usual_percent is not None)
        return 100 * _latest(part) / whole if whole else None

    def is_usual(self, part: PartCost) -> bool | None:
        """Return whether a part's share, rounded to a whole percent, is a usual one; None if it has no share."""
        percent, usual = self.percent(part), part.usual_percent
        return None if percent is None or usual is None else usual[0] <= round(percent) <= usual[1]


def monthly_cost(
    month: Period,
    now_s: float,
    spending: Spending,
    before: Spending,
    model: CostModelSettings,
    *,
    store_bytes: int,
    share: Fraction = Fraction(1),
) -> MonthlyCost:
    """Return what a month costs.

    `PROJECTION` says how tokens are projected. The other parts are due for the whole month; up to now, the elapsed part
    of the month is due. Growth compares spending per hour, because months differ in length and a ledger may begin
    within a month.

    Args:
        month: the month.
        now_s: wall-clock seconds.
        spending: what upstreams charged in the month up to now.
        before: what upstreams charged in the month before.
        model: the cost of the other parts.
        store_bytes: the size of the store's file now, which is used for the whole month.
        share: the share of the other parts to count.
    """
    ends_s = min(max(now_s, month.start_s), month.end_s)
    elapsed = Fraction(ends_s - month.start_s) / Fraction(month.end_s - month.start_s)
    projects = spending.measured_s >= DAY_S
    stretch = 1 + Fraction(month.end_s - ends_s) / Fraction(spending.measured_s) if projects else Fraction(1)
    due = {
        CostPart.STORAGE: Fraction(model.storage_usd_per_gb_month) * store_bytes / _BYTES_PER_GB,
        CostPart.OPERATIONS: Fraction(model.operations_usd_per_month),
        CostPart.MONITORING: Fraction(model.monitoring_usd_per_month),
        CostPart.FIXED: sum((Fraction(charge.usd_per_month) for charge in model.provider_charges), Fraction()),
    }
    parts = [
        PartCost(part, nanousd, int(nanousd * stretch) if projects else None)
        for part, nanousd in (
            (CostPart.INFERENCE, spending.input_nanousd),
            (CostPart.OUTPUT, spending.output_nanousd),
        )
    ]
    for part, usd in due.items():
        whole = usd * NANOUSD_PER_USD * share
        parts.append(PartCost(part, int(whole * elapsed), int(whole) if projects else None))
    return MonthlyCost(
        month,
        tuple(parts),
        spending.measured_s,
        month.end_s - ends_s,
        share,
        _growth(spending, before),
        model.growth_limit,
    )


def measured_s(window: Period, first_hour_s: float | None, now_s: float) -> float:
    """Return the seconds of a window for which a ledger that began at `first_hour_s` has counted."""
    if first_hour_s is None:
        return 0.0
    return max(0.0, min(window.end_s, now_s) - max(window.start_s, first_hour_s))


def _growth(spending: Spending, before: Spending) -> float | None:
    if min(spending.measured_s, before.measured_s) < DAY_S or not before.total_nanousd:
        return None
    return (spending.total_nanousd / spending.measured_s) / (before.total_nanousd / before.measured_s) - 1


def _latest(part: PartCost) -> int:
    return part.so_far_nanousd if part.projected_nanousd is None else part.projected_nanousd
