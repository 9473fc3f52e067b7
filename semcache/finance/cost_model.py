"""What a month costs in all: inference, output, storage, operations, monitoring, and providers' fixed charges.

Tokens are measured by the ledger; the other parts are configured (`costs.model`) and due by the month. Everything is in
integer nanodollars; one division at the end of each figure rounds down.
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
    """What the total is made of."""

    INFERENCE = "inference"
    """Input tokens, those from the provider's prompt cache included."""
    OUTPUT = "output"
    STORAGE = "storage"
    OPERATIONS = "operations"
    MONITORING = "monitoring"
    FIXED = "fixed charges"
    """Providers' monthly charges; beside the shares, which are of the other five."""


MEASURED = frozenset({CostPart.INFERENCE, CostPart.OUTPUT})
"""What the ledger tells; the other parts are configured."""
USUAL_PERCENT: Mapping[CostPart, tuple[int, int]] = {
    CostPart.INFERENCE: (40, 50),
    CostPart.OUTPUT: (40, 50),
    CostPart.STORAGE: (5, 10),
    CostPart.OPERATIONS: (3, 5),
    CostPart.MONITORING: (2, 3),
}
"""The share of each part that is usual, percent of the five: from, to."""

PROJECTION = "so far, and for the rest of the month as much an hour as in the hours measured"
"""The method of the projection in words."""


@dataclass(frozen=True, slots=True)
class Spending:
    """What upstreams charged in a stretch of time.

    Attributes:
        input_nanousd: input tokens, cached ones included.
        output_nanousd: output tokens.
        requests: requests of every status.
        measured_s: for how long the ledger counted, seconds.
    """

    input_nanousd: int
    output_nanousd: int
    requests: int
    measured_s: float

    @property
    def total_nanousd(self) -> int:
        """Both."""
        return self.input_nanousd + self.output_nanousd

    @classmethod
    def of(cls, hours: Iterable[LedgerHour], measured_s: float) -> Spending:
        """The sum of rollup rows."""
        rows = tuple(hours)
        return cls(
            sum(hour.spent_input_nanousd + hour.spent_cached_input_nanousd for hour in rows),
            sum(hour.spent_output_nanousd for hour in rows),
            sum(hour.requests for hour in rows),
            measured_s,
        )


@dataclass(frozen=True, slots=True)
class PartCost:
    """One part of a month's cost in nanodollars; `projected_nanousd` is None where nothing is projected."""

    part: CostPart
    so_far_nanousd: int
    projected_nanousd: int | None

    @property
    def usual_percent(self) -> tuple[int, int] | None:
        """The share that is usual, from and to."""
        return USUAL_PERCENT.get(self.part)


@dataclass(frozen=True, slots=True)
class MonthlyCost:
    """A month's cost, so far and projected to its end.

    Attributes:
        month: the month.
        parts: one for each `CostPart`, in its order.
        measured_s: for how long the ledger has counted in it, seconds.
        remaining_s: of the month, seconds; 0 when it is over.
        share: of the parts that all tenants have in common, what these tenants bear.
        growth: of spending an hour over the month before, as a share; None where either has less than a day.
        growth_limit: above it, growth is more than was wanted.
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
        """Whether the month's end is projected: a day or more was measured."""
        return self.measured_s >= DAY_S

    @property
    def so_far_nanousd(self) -> int:
        """All parts so far."""
        return sum(part.so_far_nanousd for part in self.parts)

    @property
    def projected_nanousd(self) -> int | None:
        """All parts at the month's end."""
        projected = [part.projected_nanousd for part in self.parts]
        return None if None in projected else sum(amount or 0 for amount in projected)

    @property
    def grows_too_fast(self) -> bool:
        """Growth is known and above the limit."""
        return self.growth is not None and self.growth > self.growth_limit

    def percent(self, part: PartCost) -> float | None:
        """The part's share of the five, projected where that is known; None for fixed charges and for nothing."""
        if part.usual_percent is None:
            return None
        whole = sum(_latest(other) for other in self.parts if other.usual_percent is not None)
        return 100 * _latest(part) / whole if whole else None

    def is_usual(self, part: PartCost) -> bool | None:
        """Whether the share, to the whole percent, lies where it usually does; None where there is none."""
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
    """What a month costs.

    The projection of tokens is `PROJECTION`. The other parts are due for the whole month, and so far for the part of it
    that has passed. Growth compares spending an hour, since months differ in length and a ledger may begin within one.

    Args:
        month: the month.
        now_s: wall-clock seconds; a month that is over is whole.
        spending: of the month so far.
        before: of the month before.
        model: what the other parts cost.
        store_bytes: of the store's file now, which stands for the whole month.
        share: of the other parts, what is to be borne.
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
    """For how long a ledger that began with `first_hour_s` has counted within a window, seconds."""
    if first_hour_s is None:
        return 0.0
    return max(0.0, min(window.end_s, now_s) - max(window.start_s, first_hour_s))


def _growth(spending: Spending, before: Spending) -> float | None:
    if min(spending.measured_s, before.measured_s) < DAY_S or not before.total_nanousd:
        return None
    return (spending.total_nanousd / spending.measured_s) / (before.total_nanousd / before.measured_s) - 1


def _latest(part: PartCost) -> int:
    return part.so_far_nanousd if part.projected_nanousd is None else part.projected_nanousd
