"""Sums what was spent and saved from the ledger's hours, by group, in integers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from semcache.costs.periods import Calendar, PeriodKind
from semcache.errors import InvalidRequestError
from semcache.model import HIT_STATUSES, NANOUSD_PER_USD, LedgerHour, Status, Usage


class SavingsGroup(StrEnum):
    """The fields by which rows may be grouped; the caller's calendar says where days and months begin."""

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
"""A group's key: (start of its period, tenant, model, task type, status); 0 or empty for fields not grouped by."""


@dataclass(frozen=True, slots=True)
class SavingsRow:
    """The sums of one group of requests. Money is in nanodollars.

    Attributes:
        period_start_s: the start of the hour, day or month in wall-clock seconds; None if not grouped by time.
        model: the model; empty if not grouped by model.
        task_type: the task type; empty if not grouped by it, or if the requests had none.
        requests: the number of requests of every status, also of those with 0; their sum is `total_requests`.
        spent_usage: tokens of upstream calls.
        saved_usage: tokens of the answers that the cache gave instead.
        spent_input_nanousd: the cost of upstream input tokens.
        spent_cached_input_nanousd: the cost of input tokens read from a provider's prompt cache.
        spent_output_nanousd: the cost of upstream output tokens.
        saved_nanousd: what upstreams would have charged for the hits.
        overhead_nanousd: what saving cost: the cache's own work at configured rates, and `own_calls_nanousd`.
        own_calls_nanousd: what the cache's own calls cost, a verifier's and a judge's. What was spent has it too.
        unpriced: requests whose model has no known price; they are in no amount of money.
        estimated: requests whose tokens are an estimate.
        wrong_hits: hits that were reported as wrong.
        partly_priced: requests whose amount lacks the right price of a part, or of the service tier.
        tenant: the tenant; empty if not grouped by tenant.
        status: the status; None if not grouped by status.
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
    partly_priced: int = 0
    own_calls_nanousd: int = 0
    tenant: str = ""
    status: Status | None = None

    @property
    def total_requests(self) -> int:
        """The number of all requests of the group."""
        return sum(self.requests.values())

    @property
    def hits(self) -> int:
        """The number of requests that the cache answered."""
        return sum(self.requests[status] for status in HIT_STATUSES)

    @property
    def spent_nanousd(self) -> int:
        """The cost of all upstream calls."""
        return self.spent_input_nanousd + self.spent_cached_input_nanousd + self.spent_output_nanousd

    @property
    def net_saved_nanousd(self) -> int:
        """Savings less overhead; may be negative."""
        return self.saved_nanousd - self.overhead_nanousd

    @property
    def savings_percent(self) -> float | None:
        """100 × saved / (saved + spent); None if nothing was spent or saved."""
        would_have_cost = self.saved_nanousd + self.spent_nanousd
        return 100 * self.saved_nanousd / would_have_cost if would_have_cost else None

    @property
    def priced_requests(self) -> int:
        """The number of requests whose cost or savings are known, by which an amount of money may be divided."""
        return max(0, self.total_requests - self.unpriced)

    @property
    def cost_per_request_usd(self) -> float | None:
        """The dollars spent for each priced request, hits included; None without priced requests."""
        return self.spent_nanousd / NANOUSD_PER_USD / self.priced_requests if self.priced_requests else None


@dataclass(frozen=True, slots=True)
class Savings:
    """The rows, in the order of time, tenant, model, task type and status, and their sum."""

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
    """Return the sums of ledger hours by group.

    Args:
        hours: ledger hours in any order, each at most once.
        group_by: the fields to group by, each at most once, and only one of hour, day and month. Empty makes one row
            for all requests, or none if there are no requests.
        models: the models to include; empty for all.
        task_types: the task types to include; empty for all.
        calendar: says where days and months begin; None for UTC.

    Raises:
        InvalidRequestError: `group_by` names a field twice, or two of hour, day and month.
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
    included = [hour for members in by_name.values() for hour in members]
    return Savings(rows, _row(included, (0, "", "", "", ""), by_time=False))


def unpriced_models(hours: Iterable[LedgerHour]) -> Mapping[str, int]:
    """Return the number of requests without a price, by model, the largest number first."""
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
        overhead_nanousd=sum(hour.overhead_nanousd + hour.own_calls_nanousd for hour in hours),
        own_calls_nanousd=sum(hour.own_calls_nanousd for hour in hours),
        unpriced=sum(hour.unpriced for hour in hours),
        estimated=sum(hour.estimated for hour in hours),
        wrong_hits=sum(hour.wrong_hits for hour in hours),
        partly_priced=sum(hour.partly_priced for hour in hours),
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
