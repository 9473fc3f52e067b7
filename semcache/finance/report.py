"""Computes a cost report: the sum, groups by time, model and task type, and remarks on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from semcache.costs.periods import Calendar, Period, PeriodKind
from semcache.finance.formatting import counted, printable
from semcache.finance.savings import SavingsGroup, SavingsRow, savings, unpriced_models
from semcache.model import LedgerHour

_DAY_S = 86_400
_MAX_DAYS = 120
"""Days shown one by one. A longer window is shown by months, because a chart of more days isn't readable."""


@dataclass(frozen=True, slots=True)
class CostReport:
    """The sums of a window of the ledger.

    Attributes:
        total: the sum of the window.
        period_kind: whether `by_period` has days or months.
        by_period: every day or month from the first with a request to the last; None for one without requests.
        by_model: a row for each model, the highest cost without the cache first.
        by_task_type: a row for each task type in that order; a task type may be empty.
        unpriced: the number of requests without a price, by model.
    """

    total: SavingsRow
    period_kind: PeriodKind
    by_period: tuple[tuple[Period, SavingsRow | None], ...]
    by_model: tuple[SavingsRow, ...]
    by_task_type: tuple[SavingsRow, ...]
    unpriced: Mapping[str, int]


def cost_report(hours: Sequence[LedgerHour], calendar: Calendar) -> CostReport:
    """Return the report of ledger hours; days and months follow the calendar."""
    first_s, last_s = (end(hour.hour_s for hour in hours) if hours else 0 for end in (min, max))
    kind: PeriodKind = "day" if last_s - first_s < _MAX_DAYS * _DAY_S else "month"
    rows = savings(hours, [SavingsGroup(kind)], calendar=calendar).rows
    by_start = {row.period_start_s: row for row in rows}
    periods = []
    period = calendar.period(kind, first_s)
    while hours and period.start_s <= last_s:
        periods.append((period, by_start.get(int(period.start_s))))
        period = calendar.period(kind, period.end_s)
    return CostReport(
        total=savings(hours).total,
        period_kind=kind,
        by_period=tuple(periods),
        by_model=_dearest_first(savings(hours, [SavingsGroup.MODEL]).rows),
        by_task_type=_dearest_first(savings(hours, [SavingsGroup.TASK_TYPE]).rows),
        unpriced=unpriced_models(hours),
    )


def remarks(total: SavingsRow, unpriced: Mapping[str, int]) -> list[str]:
    """Return the limits of the sums, one remark each.

    Args:
        total: the sum of the window.
        unpriced: the number of requests without a price, by model.
    """
    sentences = []
    if unpriced:
        models = ", ".join(f"{printable(model) or 'without a name'} ({count:,})" for model, count in unpriced.items())
        sentences.append(
            f"In no amount of money, for the price of the model isn't known: {counted(total.unpriced, 'request')} of "
            f"{models}. A [[price]] in costs.price_file gives such models a price from then on."
        )
    if total.estimated:
        sentences.append(
            f"The tokens of {counted(total.estimated, 'request')} are an estimate: the upstream sent no usage, or an "
            "impossible one, or its answer broke off."
        )
    if total.partly_priced:
        sentences.append(
            f"The amounts of {counted(total.partly_priced, 'request')} aren't fully known: the price of text or of the "
            "standard service tier stands in for one that is missing. A [[price]] with parts or service_tier gives it."
        )
    cached = total.spent_usage.cached_input_tokens
    if cached:
        sentences.append(
            f"{cached:,} of {total.spent_usage.input_tokens:,} input tokens came from the providers' own prompt "
            "caches, at the providers' lower price. That difference is not counted as saved."
        )
    if total.saved_nanousd and total.overhead_nanousd == total.own_calls_nanousd:
        sentences.append("No overhead is booked (costs.overhead is 0, or was then), so net is the same as saved.")
    return sentences


def _dearest_first(rows: Sequence[SavingsRow]) -> tuple[SavingsRow, ...]:
    return tuple(sorted(rows, key=lambda row: (-row.spent_nanousd - row.saved_nanousd, -row.total_requests)))
