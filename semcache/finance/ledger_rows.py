"""Writes ledger lines and ledger hours as flat rows for other programs: integer nanodollars, times in UTC."""

from __future__ import annotations

from datetime import UTC, datetime

from semcache.model import NO_COST, Cost, LedgerHour, LedgerRecord, Status, Usage, format_entry_id

Cell = str | int | float | bool | None
FlatRow = dict[str, Cell]


def line_row(record: LedgerRecord) -> FlatRow:
    """Return all fields of a ledger line; `time` is in ISO 8601 with microseconds."""
    usage = record.usage
    return {
        "request_id": record.request_id,
        "time": _utc(record.at_s, "microseconds"),
        "tenant": record.tenant,
        "namespace": record.namespace,
        "alias": record.alias,
        "model": record.model,
        "task_type": record.task_type,
        "status": record.status.value,
        "purpose": record.purpose.value,
        "requests": record.requests,
        "input_tokens": usage.input_tokens,
        "cached_input_tokens": usage.cached_input_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "output_tokens": usage.output_tokens,
        "estimated": usage.estimated,
        "service_tier": usage.service_tier,
        "parts": " ".join(f"{name}={count}" for name, count in usage.parts),
        **_cost("spent", record.spent),
        **_cost("saved", record.saved),
        "overhead_nanousd": record.overhead_nanousd,
        "entry_id": format_entry_id(record.entry_id),
        "similarity": record.similarity,
        "latency_s": record.latency_s,
        "route": record.route,
        "degraded": record.degraded,
    }


def hour_row(hour: LedgerHour) -> FlatRow:
    """Return all fields of a ledger hour; `hour` is its start in ISO 8601."""
    return {
        "hour": _utc(hour.hour_s, "seconds"),
        "tenant": hour.tenant,
        "model": hour.model,
        "task_type": hour.task_type,
        "status": hour.status.value,
        "requests": hour.requests,
        "input_tokens": hour.input_tokens,
        "cached_input_tokens": hour.cached_input_tokens,
        "cache_write_tokens": hour.cache_write_tokens,
        "output_tokens": hour.output_tokens,
        "spent_input_nanousd": hour.spent_input_nanousd,
        "spent_cached_input_nanousd": hour.spent_cached_input_nanousd,
        "spent_output_nanousd": hour.spent_output_nanousd,
        "spent_nanousd": hour.spent_nanousd,
        "saved_nanousd": hour.saved_nanousd,
        "overhead_nanousd": hour.overhead_nanousd,
        "unpriced": hour.unpriced,
        "estimated": hour.estimated,
        "wrong_hits": hour.wrong_hits,
        "partly_priced": hour.partly_priced,
        "own_calls_nanousd": hour.own_calls_nanousd,
    }


def _cost(name: str, cost: Cost) -> FlatRow:
    return {
        f"{name}_input_nanousd": cost.input_nanousd,
        f"{name}_cached_input_nanousd": cost.cached_input_nanousd,
        f"{name}_output_nanousd": cost.output_nanousd,
        f"{name}_nanousd": cost.total_nanousd,
        f"{name}_priced": cost.priced,
        f"{name}_partly_priced": cost.partly_priced,
        f"{name}_price_version": cost.price_version,
    }


def _utc(at_s: float, precision: str) -> str:
    return datetime.fromtimestamp(at_s, tz=UTC).isoformat(timespec=precision).replace("+00:00", "Z")


LINE_COLUMNS = tuple(line_row(LedgerRecord("", 0.0, "", "", "", "", "", Status.MISS, Usage(), NO_COST, NO_COST)))
"""The column names of a ledger line, in order."""
HOUR_COLUMNS = tuple(hour_row(LedgerHour(0, "", "", "", Status.MISS)))
"""The column names of a ledger hour, in order."""
