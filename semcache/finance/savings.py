"""What was spent and saved, grouped, from the hourly ledger: integers up to the last division."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from semcache.costs.periods import Calendar, PeriodKind
from semcache.errors import InvalidRequestError
from semcache.model import HIT_STATUSES, NANOUSD_PER_USD, LedgerHour, Status, Usage


class SavingsGroup(StrEnum):
    """What rows may be grouped by; the caller's calendar says where days and months begin."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    TENANT = "tenant"
    MODEL = "model"
    TASK_TYPE = "task_type"
    STATUS = "status"


_PERIODS: Mapping[SavingsGroup, PeriodKind] = {SavingsGroup.DAY: "day", SavingsGroup.MONTH: "month"}
_TIMES = frozenset({SavingsGroup.HOUR, *_PERIODS})
_Name = tuple[int, str, str, str, str]
"""What a group is about: period's start (0: not by time), tenant, model, task type, status; empty where not grouped."""


@dataclass(frozen=True, slots=True)
class SavingsRow:
    """One group of requests. Money in nanodollars.

    Attributes:
        period_start_s: the hour's, day's or month's start in wall seconds; None when not grouped by time.
        model: empty when not grouped by model.
        task_type: empty when not grouped by it, or when the requests had none.
        requests: every status, 0 included; they add up to `total_requests`.
        spent_usage: tokens of upstream calls.
        saved_usage: tokens of the answers that the cache gave instead.
        overhead_nanousd: what the saving itself cost, at configured rates; 0 where none is configured.
        wrong_hits: hits that were reported to be wrong.
        tenant: empty when not grouped by tenant.
        status: None when not grouped by status.
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
    wrong_hits: int = 0
    tenant: str = ""
    status: Status | None = None

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

    @property
    def priced_requests(self) -> int:
        """Requests whose cost or saving is known: what an amount of money may be divided by."""
        return max(0, self.total_requests - self.unpriced)

    @property
    def cost_per_request_usd(self) -> float | None:
        """Spent by priced requests of every status; None without any."""
        return self.spent_nanousd / NANOUSD_PER_USD / self.priced_requests if self.priced_requests else None


@dataclass(frozen=True, slots=True)
class Savings:
    """The rows, ordered by time, tenant, model, task type and status, and their sum."""

    rows: tuple[SavingsRow, ...]
    total: SavingsRow


@dataclass(frozen=True, slots=True)
class SavingsQuery:
    """A window of whole hours and what to show of it.

    Attributes:
        start_s: the window's start in wall-clock seconds, a multiple of 3600; it belongs to the window.
        end_s: the window's end in wall-clock seconds, a multiple of 3600; it doesn't belong to the window.
        models: the models to include; empty: all.
        task_types: the task types to include; empty: all.
        group_by: what the rows are grouped by.
        tenants: the tenants to include; None: all.
    """

    start_s: int
    end_s: int
    models: frozenset[str]
    task_types: frozenset[str]
    group_by: tuple[SavingsGroup, ...]
    tenants: frozenset[str] | None

    @property
    def sole_tenant(self) -> str | None:
        """The tenant, if the query asks for exactly one: a store reads one tenant's hours faster than all."""
        return next(iter(self.tenants)) if self.tenants is not None and len(self.tenants) == 1 else None

    def sum(self, hours: Iterable[LedgerHour]) -> Savings:
        """Return the savings of the hours whose tenant the query includes.

        Args:
            hours: rollup rows of the window, in any order, each at most once.
        """
        included = (hour for hour in hours if self.tenants is None or hour.tenant in self.tenants)
        return savings(included, self.group_by, models=self.models, task_types=self.task_types)


@dataclass(frozen=True, slots=True)
class SavingsAnswer:
    """The savings that a query asked for, and the wall-clock time up to which the ledger was on disk."""

    savings: Savings
    durable_through_s: float


def savings(
    hours: Iterable[LedgerHour],
    group_by: Sequence[SavingsGroup] = (),
    *,
    models: Collection[str] = (),
    task_types: Collection[str] = (),
    calendar: Calendar | None = None,
) -> Savings:
    """Sums the ledger's hours by group.

    Args:
        hours: rollup rows, in any order, each at most once.
        group_by: each group at most once, and one of hour, day and month; empty: one row for the whole, if anything is
            there.
        models: the models to include; empty: all.
        task_types: the task types to include; empty: all.
        calendar: where days and months begin; None: UTC's.

    Raises:
        InvalidRequestError: `group_by` names a group twice, or two lengths of time.
    """
    groups = frozenset(group_by)
    if len(groups) != len(group_by):
        raise InvalidRequestError("group_by names a group twice.", hint="Name each at most once.")
    if len(groups & _TIMES) > 1:
        raise InvalidRequestError("group_by names two of hour, day and month.", hint="Name one of them.")
    calendar = calendar or Calendar()
    by_name: dict[_Name, list[LedgerHour]] = {}
    for hour in hours:
        if (not models or hour.model in models) and (not task_types or hour.task_type in task_types):
            by_name.setdefault(_name(hour, groups, calendar), []).append(hour)
    by_time = not groups.isdisjoint(_TIMES)
    rows = tuple(_row(members, name, by_time=by_time) for name, members in sorted(by_name.items()))
    every = [hour for members in by_name.values() for hour in members]
    return Savings(rows, _row(every, (0, "", "", "", ""), by_time=False))


def unpriced_models(hours: Iterable[LedgerHour]) -> Mapping[str, int]:
    """The requests that are in no amount of money, by model, most first."""
    counts: dict[str, int] = {}
    for hour in hours:
        if hour.unpriced:
            counts[hour.model] = counts.get(hour.model, 0) + hour.unpriced
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _name(hour: LedgerHour, groups: Collection[SavingsGroup], calendar: Calendar) -> _Name:
    start_s = hour.hour_s if SavingsGroup.HOUR in groups else 0
    for group, kind in _PERIODS.items():
        if group in groups:
            start_s = int(calendar.period(kind, hour.hour_s).start_s)
    return (
        start_s,
        hour.tenant if SavingsGroup.TENANT in groups else "",
        hour.model if SavingsGroup.MODEL in groups else "",
        hour.task_type if SavingsGroup.TASK_TYPE in groups else "",
        hour.status.value if SavingsGroup.STATUS in groups else "",
    )


def _row(hours: Sequence[LedgerHour], name: _Name, *, by_time: bool) -> SavingsRow:
    start_s, tenant, model, task_type, status = name
    requests = dict.fromkeys(Status, 0)
    for hour in hours:
        requests[hour.status] += hour.requests
    return SavingsRow(
        period_start_s=start_s if by_time else None,
        model=model,
        task_type=task_type,
        requests=requests,
        spent_usage=_usage(hour for hour in hours if hour.status not in HIT_STATUSES),
        saved_usage=_usage(hour for hour in hours if hour.status in HIT_STATUSES),
        spent_input_nanousd=sum(hour.spent_input_nanousd for hour in hours),
        spent_cached_input_nanousd=sum(hour.spent_cached_input_nanousd for hour in hours),
        spent_output_nanousd=sum(hour.spent_output_nanousd for hour in hours),
        saved_nanousd=sum(hour.saved_nanousd for hour in hours),
        overhead_nanousd=sum(hour.overhead_nanousd for hour in hours),
        unpriced=sum(hour.unpriced for hour in hours),
        estimated=sum(hour.estimated for hour in hours),
        wrong_hits=sum(hour.wrong_hits for hour in hours),
        tenant=tenant,
        status=Status(status) if status else None,
    )


def _usage(hours: Iterable[LedgerHour]) -> Usage:
    rows = list(hours)
    return Usage(
        input_tokens=sum(row.input_tokens for row in rows),
        cached_input_tokens=sum(row.cached_input_tokens for row in rows),
        output_tokens=sum(row.output_tokens for row in rows),
        estimated=any(row.estimated for row in rows),
        cache_write_tokens=sum(row.cache_write_tokens for row in rows),
    )
