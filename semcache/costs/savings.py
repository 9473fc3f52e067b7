"""What was spent and saved, grouped, from the hourly ledger: integers up to the last division."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from semcache.errors import InvalidRequestError
from semcache.model import HIT_STATUSES, LedgerHour, Status, Usage

_DAY_S = 86_400


class SavingsGroup(StrEnum):
    """What rows may be grouped by; days are UTC's."""

    HOUR = "hour"
    DAY = "day"
    MODEL = "model"
    TASK_TYPE = "task_type"


@dataclass(frozen=True, slots=True)
class SavingsRow:
    """One group of requests. Money in nanodollars.

    Attributes:
        period_start_s: the hour's or day's start in wall seconds; None when not grouped by time.
        model: empty when not grouped by model.
        task_type: empty when not grouped by it, or when the requests had none.
        requests: every status, 0 included; they add up to `total_requests`.
        spent_usage: tokens of upstream calls.
        saved_usage: tokens of the answers that the cache gave instead.
        overhead_nanousd: what the saving itself cost, at configured rates; 0 where none is configured.
        unpriced: requests whose model has no known price; they are in no amount of money.
        estimated: requests whose tokens are an estimate.
    """

    period_start_s: int | None
    model: str
    task_type: str
    requests: Mapping[Status, int]
    spent_usage: Usage = field(default_factory=Usage)
    saved_usage: Usage = field(default_factory=Usage)
    spent_input_nanousd: int = 0
    spent_cached_input_nanousd: int = 0
    spent_output_nanousd: int = 0
    saved_nanousd: int = 0
    overhead_nanousd: int = 0
    unpriced: int = 0
    estimated: int = 0

    @property
    def total_requests(self) -> int:
        """All requests of the group."""
        return sum(self.requests.values())

    @property
    def hits(self) -> int:
        """Requests that the cache answered."""
        return sum(self.requests[status] for status in HIT_STATUSES)

    @property
    def spent_nanousd(self) -> int:
        """All that upstream calls cost."""
        return self.spent_input_nanousd + self.spent_cached_input_nanousd + self.spent_output_nanousd

    @property
    def net_saved_nanousd(self) -> int:
        """Saved less what the saving cost; may be negative."""
        return self.saved_nanousd - self.overhead_nanousd

    @property
    def savings_percent(self) -> float | None:
        """100 × saved / (saved + spent); None when nothing was spent or saved."""
        would_have_cost = self.saved_nanousd + self.spent_nanousd
        return 100 * self.saved_nanousd / would_have_cost if would_have_cost else None


@dataclass(frozen=True, slots=True)
class Savings:
    """The rows, ordered by time, model and task type, and their sum."""

    rows: tuple[SavingsRow, ...]
    total: SavingsRow


def savings(
    hours: Iterable[LedgerHour],
    group_by: Sequence[SavingsGroup] = (),
    *,
    models: Collection[str] = (),
    task_types: Collection[str] = (),
) -> Savings:
    """Sums the ledger's hours by group.

    Args:
        hours: rollup rows, in any order, each at most once.
        group_by: each group at most once, and not hour with day; empty: one row for the whole, if anything is there.
        models: the models to include; empty: all.
        task_types: the task types to include; empty: all.

    Raises:
        InvalidRequestError: `group_by` names a group twice, or hour and day.
    """
    if len(set(group_by)) != len(group_by):
        raise InvalidRequestError("group_by names a group twice.", hint="Name each at most once.")
    if {SavingsGroup.HOUR, SavingsGroup.DAY} <= set(group_by):
        raise InvalidRequestError("group_by names both hour and day.", hint="Name one of them.")
    groups: dict[tuple[int, str, str], list[LedgerHour]] = {}
    for hour in hours:
        if (not models or hour.model in models) and (not task_types or hour.task_type in task_types):
            groups.setdefault(_group(hour, group_by), []).append(hour)
    by_time = SavingsGroup.HOUR in group_by or SavingsGroup.DAY in group_by
    rows = tuple(
        _row(members, period if by_time else None, model, task_type)
        for (period, model, task_type), members in sorted(groups.items())
    )
    return Savings(rows, _row([hour for members in groups.values() for hour in members], None, "", ""))


def _group(hour: LedgerHour, group_by: Sequence[SavingsGroup]) -> tuple[int, str, str]:
    period = 0
    if SavingsGroup.HOUR in group_by:
        period = hour.hour_s
    elif SavingsGroup.DAY in group_by:
        period = hour.hour_s // _DAY_S * _DAY_S
    return (
        period,
        hour.model if SavingsGroup.MODEL in group_by else "",
        hour.task_type if SavingsGroup.TASK_TYPE in group_by else "",
    )


def _row(hours: Sequence[LedgerHour], period_start_s: int | None, model: str, task_type: str) -> SavingsRow:
    requests = dict.fromkeys(Status, 0)
    for hour in hours:
        requests[hour.status] += hour.requests
    return SavingsRow(
        period_start_s=period_start_s,
        model=model,
        task_type=task_type,
        requests=requests,
        spent_usage=_usage(hour for hour in hours if hour.status not in HIT_STATUSES),
        saved_usage=_usage(hour for hour in hours if hour.status in HIT_STATUSES),
        spent_input_nanousd=sum(hour.spent_input_nanousd for hour in hours),
        spent_cached_input_nanousd=sum(hour.spent_cached_input_nanousd for hour in hours),
        spent_output_nanousd=sum(hour.spent_output_nanousd for hour in hours),
        saved_nanousd=sum(hour.saved_nanousd for hour in hours),
        unpriced=sum(hour.unpriced for hour in hours),
        estimated=sum(hour.estimated for hour in hours),
    )


def _usage(hours: Iterable[LedgerHour]) -> Usage:
    rows = list(hours)
    return Usage(
        input_tokens=sum(row.input_tokens for row in rows),
        cached_input_tokens=sum(row.cached_input_tokens for row in rows),
        output_tokens=sum(row.output_tokens for row in rows),
        estimated=any(row.estimated for row in rows),
    )
