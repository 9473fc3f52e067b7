"""The rollup's arithmetic: log lines to hours, in integers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from semcache.model import HIT_STATUSES, LedgerHour, LedgerRecord, Purpose, Status

SECONDS_PER_HOUR = 3600

HourName = tuple[int, str, str, str, str]
"""What a rollup row is about: hour, tenant, model, task type, status."""


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
        cache_write_tokens=one.cache_write_tokens + other.cache_write_tokens,
        overhead_nanousd=one.overhead_nanousd + other.overhead_nanousd,
        wrong_hits=one.wrong_hits + other.wrong_hits,
    )


def rolled_up(records: Iterable[LedgerRecord]) -> dict[HourName, LedgerHour]:
    """The rollup rows of many log lines: by name, then summed column by column. One object a line would cost more.

    A line without a request of its own (a caller's Store) still adds its tokens and money; a wrong hit's line adds its
    overhead alone, for the hit's own line has the rest. Unpriced is what is missing from an amount of money: spending
    without a price, or a hit whose saving has none.
    """
    groups: dict[tuple[int, str, str, str, Status], list[tuple[int, ...]]] = {}
    for record in records:
        usage, spent, saved, status = record.usage, record.spent, record.saved, record.status
        hour_s = int(record.at_s // SECONDS_PER_HOUR) * SECONDS_PER_HOUR
        amounts = (  # in the order of a LedgerHour's fields
            record.requests,
            usage.input_tokens,
            usage.cached_input_tokens,
            usage.output_tokens,
            spent.input_nanousd,
            spent.cached_input_nanousd,
            spent.output_nanousd,
            saved.total_nanousd,
            not spent.priced or (status in HIT_STATUSES and not saved.priced),
            usage.estimated,
            usage.cache_write_tokens,
            record.overhead_nanousd,
            record.purpose is Purpose.WRONG_HIT,
        )
        groups.setdefault((hour_s, record.tenant, record.model, record.task_type, status), []).append(amounts)
    hours = (LedgerHour(*name, *map(sum, zip(*rows, strict=True))) for name, rows in groups.items())
    return {name_of(hour): hour for hour in hours}
