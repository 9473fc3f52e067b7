"""The sums of the rollup: log lines to hours, in integers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from semcache.model import HIT_STATUSES, LedgerHour, LedgerRecord, Purpose, Status

SECONDS_PER_HOUR = 3600

HourName = tuple[int, str, str, str, str]
"""The name of a rollup row: hour (wall seconds), tenant, model, task type, status."""


def name_of(hour: LedgerHour) -> HourName:
    """Return the name of a rollup row; rows of one name are merged."""
    return (hour.hour_s, hour.tenant, hour.model, hour.task_type, hour.status.value)


def merged(first: LedgerHour, second: LedgerHour) -> LedgerHour:
    """Return the sum of two rollup rows of one name."""
    return replace(
        first,
        requests=first.requests + second.requests,
        input_tokens=first.input_tokens + second.input_tokens,
        cached_input_tokens=first.cached_input_tokens + second.cached_input_tokens,
        output_tokens=first.output_tokens + second.output_tokens,
        spent_input_nanousd=first.spent_input_nanousd + second.spent_input_nanousd,
        spent_cached_input_nanousd=first.spent_cached_input_nanousd + second.spent_cached_input_nanousd,
        spent_output_nanousd=first.spent_output_nanousd + second.spent_output_nanousd,
        saved_nanousd=first.saved_nanousd + second.saved_nanousd,
        unpriced=first.unpriced + second.unpriced,
        estimated=first.estimated + second.estimated,
        cache_write_tokens=first.cache_write_tokens + second.cache_write_tokens,
        overhead_nanousd=first.overhead_nanousd + second.overhead_nanousd,
        wrong_hits=first.wrong_hits + second.wrong_hits,
        partly_priced=first.partly_priced + second.partly_priced,
        own_calls_nanousd=first.own_calls_nanousd + second.own_calls_nanousd,
    )


def rolled_up(records: Iterable[LedgerRecord]) -> dict[HourName, LedgerHour]:
    """Return the rollup rows of many log lines, by name.

    - A line without a request of its own (a caller's Store) adds its tokens and money.
    - The line of a wrong hit adds its overhead alone, because the hit's own line has the rest.
    - `unpriced` counts lines whose money is unknown: spending without a price, or a hit without a known saving.
    - `partly_priced` counts lines whose money lacks the price of a part, or of the service tier.

    The lines of one name are summed column by column, which costs less than one object per line.
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
            spent.partly_priced or saved.partly_priced,
            record.own_call_nanousd,
        )
        groups.setdefault((hour_s, record.tenant, record.model, record.task_type, status), []).append(amounts)
    hours = (LedgerHour(*name, *map(sum, zip(*rows, strict=True))) for name, rows in groups.items())
    return {name_of(hour): hour for hour in hours}
