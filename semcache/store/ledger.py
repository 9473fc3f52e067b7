"""The rollup's arithmetic: log lines to hours, in integers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from semcache.model import HIT_STATUSES, LedgerHour, LedgerRecord

SECONDS_PER_HOUR = 3600

HourName = tuple[int, str, str, str, str]
"""What a rollup row is about: hour, tenant, model, task type, status."""


def hour_of(record: LedgerRecord) -> LedgerHour:
    """The rollup row of one log line alone.

    A line without a request of its own (a caller's Store) still adds its tokens and money. Unpriced is what is missing
    from an amount of money: spending without a price, or a hit whose saving has none.
    """
    unpriced = not record.spent.priced or (record.status in HIT_STATUSES and not record.saved.priced)
    return LedgerHour(
        hour_s=int(record.at_s // SECONDS_PER_HOUR) * SECONDS_PER_HOUR,
        tenant=record.tenant,
        model=record.model,
        task_type=record.task_type,
        status=record.status,
        requests=record.requests,
        input_tokens=record.usage.input_tokens,
        cached_input_tokens=record.usage.cached_input_tokens,
        output_tokens=record.usage.output_tokens,
        spent_input_nanousd=record.spent.input_nanousd,
        spent_cached_input_nanousd=record.spent.cached_input_nanousd,
        spent_output_nanousd=record.spent.output_nanousd,
        saved_nanousd=record.saved.total_nanousd,
        unpriced=int(unpriced),
        estimated=int(record.usage.estimated),
    )


def name_of(hour: LedgerHour) -> HourName:
    """What the rollup row is about; rows of one name are merged."""
    return (hour.hour_s, hour.tenant, hour.model, hour.task_type, hour.status.value)


def merged(one: LedgerHour, other: LedgerHour) -> LedgerHour:
    """The sum of two rollup rows of one name."""
    return replace(
        one,
        requests=one.requests + other.requests,
        input_tokens=one.input_tokens + other.input_tokens,
        cached_input_tokens=one.cached_input_tokens + other.cached_input_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
        spent_input_nanousd=one.spent_input_nanousd + other.spent_input_nanousd,
        spent_cached_input_nanousd=one.spent_cached_input_nanousd + other.spent_cached_input_nanousd,
        spent_output_nanousd=one.spent_output_nanousd + other.spent_output_nanousd,
        saved_nanousd=one.saved_nanousd + other.saved_nanousd,
        unpriced=one.unpriced + other.unpriced,
        estimated=one.estimated + other.estimated,
    )


def rolled_up(records: Iterable[LedgerRecord]) -> dict[HourName, LedgerHour]:
    """The rollup rows of many log lines."""
    hours: dict[HourName, LedgerHour] = {}
    for record in records:
        hour = hour_of(record)
        name = name_of(hour)
        hours[name] = merged(hours[name], hour) if name in hours else hour
    return hours
