"""Presents the results of `semcache cost report`: tables for people, one JSON object for programs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence

from rich.table import Table
from rich.text import Text

from semcache.cli.cost.ledger import OpenLedger
from semcache.cli.cost.titles import named, titled
from semcache.costs.periods import Period
from semcache.finance import goals as targets
from semcache.finance.formatting import Dollars, per_request, percent
from semcache.finance.savings import Savings, SavingsGroup, SavingsRow
from semcache.model import Status, Usage

_WIDE = 110
"""The width of a terminal, in characters, from which all columns of a group fit beside its name."""
_FORMATS = {SavingsGroup.HOUR: "%Y-%m-%d %H:00 %Z", SavingsGroup.DAY: "%Y-%m-%d", SavingsGroup.MONTH: "%Y-%m"}


def money_table(total: SavingsRow, window: str) -> Table:
    """Return a table of what was spent by part, saved, net and per request."""
    amounts = (total.spent_nanousd, total.saved_nanousd, total.overhead_nanousd)
    dollars = Dollars.fitting(amounts)
    table = Table("", "$", title=titled(f"Costs: {window}"), title_justify="left")
    table.columns[1].justify = "right"
    spent_rows = (
        ("input", total.spent_input_nanousd),
        ("cached input (provider's)", total.spent_cached_input_nanousd),
        ("output", total.spent_output_nanousd),
    )
    for name, nanousd in spent_rows:
        table.add_row(f"  {name}", dollars.of(nanousd))
    table.add_row("spent", dollars.of(total.spent_nanousd), style="bold")
    table.add_section()
    table.add_row("saved", dollars.of(total.saved_nanousd))
    table.add_row("overhead", dollars.of(total.overhead_nanousd))
    if total.own_calls_nanousd:
        table.add_row("  of it own calls (judge, verifier)", dollars.of(total.own_calls_nanousd))
    table.add_row("net saved", dollars.of(total.net_saved_nanousd), style="bold")
    table.add_section()
    saved = total.savings_percent
    table.add_row("saved %" + _against(saved, ">", targets.SAVINGS_PERCENT), percent(saved))
    cost = total.cost_per_request_usd
    table.add_row("a request" + _against(cost, "<", targets.COST_PER_REQUEST_USD), per_request(cost))
    return table


def _against(value: float | None, sign: str, target: float) -> str:
    if value is None:
        return ""
    reached = value > target if sign == ">" else value < target
    return f" ({'' if reached else 'not '}{sign} {target:g})"


def requests_table(total: SavingsRow) -> Table:
    """Return a table of the number of requests by status."""
    table = Table("status", "requests", "%", title="Requests", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    whole = total.total_requests
    for status in Status:
        count = total.requests[status]
        table.add_row(_words(status), f"{count:,}", percent(100 * count / whole if whole else None))
    table.add_section()
    table.add_row("all", f"{whole:,}", "", style="bold")
    table.add_row("hits", f"{total.hits:,}", percent(100 * total.hits / whole if whole else None))
    wrong = 100 * total.wrong_hits / total.hits if total.hits else None
    table.add_row("reported wrong, % of hits", f"{total.wrong_hits:,}", percent(wrong))
    return table


def tokens_table(total: SavingsRow) -> Table:
    """Return a table of the tokens of upstream calls and of the cache's answers."""
    table = Table("tokens", "upstream", "cache", title="Tokens", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    spent, saved = total.spent_usage, total.saved_usage
    rows: tuple[tuple[str, Callable[[Usage], int]], ...] = (
        ("input", lambda usage: usage.input_tokens),
        ("  read from provider's cache", lambda usage: usage.cached_input_tokens),
        ("  written to it", lambda usage: usage.cache_write_tokens),
        ("output", lambda usage: usage.output_tokens),
    )
    for name, count in rows:
        table.add_row(name, f"{count(spent):,}", f"{count(saved):,}")
    table.caption = "upstream: paid for; cache: of the answers that hits got instead"
    table.caption_justify = "left"
    return table


def groups_table(
    savings_by_group: Savings, by: Sequence[SavingsGroup], window: str, ledger: OpenLedger, width: int
) -> Table:
    """Return a table with a row for each group; a terminal narrower than `_WIDE` gets fewer columns."""
    table = Table(title=titled(f"Costs: {window}"), title_justify="left")
    for group in by:
        never_folded = group in _FORMATS or group is SavingsGroup.STATUS
        table.add_column(group.value.replace("_", " "), overflow="fold", no_wrap=never_folded)
    columns = _columns(savings_by_group, wide=width >= _WIDE)
    if width < _WIDE and len(by) > 1:
        columns.pop()
    for name, _ in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for row in savings_by_group.rows:
        table.add_row(*(_group(row, group, ledger) for group in by), *(tell(row) for _, tell in columns))
    table.add_section()
    table.add_row("all", *[""] * (len(by) - 1), *(tell(savings_by_group.total) for _, tell in columns), style="bold")
    return table


def _columns(savings_by_group: Savings, *, wide: bool) -> list[tuple[str, Callable[[SavingsRow], str]]]:
    dollars = Dollars.fitting((savings_by_group.total.spent_nanousd, savings_by_group.total.saved_nanousd))
    columns: list[tuple[str, Callable[[SavingsRow], str]]] = [
        ("requests", lambda row: f"{row.total_requests:,}"),
        ("spent $", lambda row: dollars.of(row.spent_nanousd)),
        ("saved $", lambda row: dollars.of(row.saved_nanousd)),
        ("saved %", lambda row: percent(row.savings_percent)),
        ("$ / request", lambda row: per_request(row.cost_per_request_usd)),
    ]
    if wide:
        columns[1:1] = [("hits", lambda row: f"{row.hits:,}")]
        columns[4:4] = [
            ("overhead $", lambda row: dollars.of(row.overhead_nanousd)),
            ("net $", lambda row: dollars.of(row.net_saved_nanousd)),
        ]
    return columns


def _group(row: SavingsRow, group: SavingsGroup, ledger: OpenLedger) -> Text:
    """Return the name of a row's group, as Text because names chosen by callers may contain markup."""
    if group in _FORMATS:
        at = dt.datetime.fromtimestamp(row.period_start_s or 0, tz=ledger.calendar.zone)
        return Text(f"{at:{_FORMATS[group]}}")
    name = _name(row, group)
    return named(name.replace("_", " ") if group is SavingsGroup.STATUS else name or "–")


def _name(row: SavingsRow, group: SavingsGroup) -> str:
    return {
        SavingsGroup.TENANT: row.tenant,
        SavingsGroup.MODEL: row.model,
        SavingsGroup.TASK_TYPE: row.task_type,
        SavingsGroup.STATUS: "" if row.status is None else row.status.value,
    }[group]


def as_json(
    savings_by_group: Savings,
    by: Sequence[SavingsGroup],
    unpriced: Mapping[str, int],
    ledger: OpenLedger,
    window: Period,
    tenants: Sequence[str] | None,
) -> dict[str, object]:
    """Return all results as an object for `json.dumps`, money as integer nanodollars."""
    return {
        **ledger.as_json(window),
        "tenants": list(tenants or ()),
        "group_by": [group.value for group in by],
        "total": _row_json(savings_by_group.total),
        "rows": [
            {
                **{
                    group.value: ledger.iso(row.period_start_s or 0) if group in _FORMATS else _name(row, group)
                    for group in by
                },
                **_row_json(row),
            }
            for row in savings_by_group.rows
        ],
        "unpriced_models": dict(unpriced),
        "targets": {
            "cost_per_request_usd": targets.COST_PER_REQUEST_USD,
            "savings_percent": targets.SAVINGS_PERCENT,
        },
    }


def _row_json(row: SavingsRow) -> dict[str, object]:
    return {
        "requests": row.total_requests,
        "hits": row.hits,
        "requests_by_status": {status.value: count for status, count in row.requests.items()},
        "spent_input_nanousd": row.spent_input_nanousd,
        "spent_cached_input_nanousd": row.spent_cached_input_nanousd,
        "spent_output_nanousd": row.spent_output_nanousd,
        "spent_nanousd": row.spent_nanousd,
        "saved_nanousd": row.saved_nanousd,
        "overhead_nanousd": row.overhead_nanousd,
        "own_calls_nanousd": row.own_calls_nanousd,
        "net_saved_nanousd": row.net_saved_nanousd,
        "savings_percent": row.savings_percent,
        "cost_per_request_usd": row.cost_per_request_usd,
        "upstream_tokens": _usage_json(row.spent_usage),
        "cache_tokens": _usage_json(row.saved_usage),
        "unpriced": row.unpriced,
        "estimated": row.estimated,
        "partly_priced": row.partly_priced,
        "wrong_hits": row.wrong_hits,
    }


def _usage_json(usage: Usage) -> dict[str, int]:
    return {
        "input": usage.input_tokens,
        "provider_cached_input": usage.cached_input_tokens,
        "provider_cache_write": usage.cache_write_tokens,
        "output": usage.output_tokens,
    }


def _words(status: Status) -> str:
    return status.value.replace("_", " ")
