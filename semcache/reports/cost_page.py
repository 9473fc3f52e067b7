"""The page of `semcache cost report --html`: what was spent and saved, in charts and tables."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from semcache.finance import goals as targets
from semcache.finance.formatting import Dollars, counted, per_request, percent, printable
from semcache.finance.report import CostReport, remarks
from semcache.finance.request_costs import CostRange
from semcache.finance.savings import SavingsRow
from semcache.model import HIT_STATUSES, NANOUSD_PER_USD, Status
from semcache.reports.charts import FIRST, SECOND
from semcache.reports.money_charts import (
    Limit,
    RangeBar,
    StackedSeries,
    range_bars,
    stacked_columns,
    stacked_rows,
    trend,
)
from semcache.reports.page import figure, notes, page, table

_ROWS = 12
_HEADS = ("", "requests", "hits", "spent $", "saved $", "overhead $", "net $", "saved %", "$ / request")
_COST_LIMIT = Limit(f"${targets.COST_PER_REQUEST_USD:g}", targets.COST_PER_REQUEST_USD)
_SAVINGS_LIMIT = Limit(f"{targets.SAVINGS_PERCENT:g} %", targets.SAVINGS_PERCENT)


def cost_page(report: CostReport, ranges: Sequence[CostRange], window: str, provenance: str) -> str:
    """Return the page as HTML.

    Args:
        report: the sums; there is at least one request.
        ranges: the range of what an upstream call costs by model, the highest sum first; may be empty.
        window: the tenants and the time of the report, in words.
        provenance: a sentence that says when and from where the ledger was read.
    """
    total = report.total
    periods = [(period.name, row) for period, row in report.by_period if row is not None]
    body = [
        f'<p class="{_summary_class(total)}">{escape(_summary(total))}</p>',
        f'<div class="charts">{"".join(_charts(report, ranges))}</div>',
        f"<h2>How requests ended</h2>{_statuses(total)}",
        f"<h2>Tokens</h2>{_tokens(total)}",
        f"<h2>By model</h2>{_table(_models(report))}",
        f"<h2>By task type</h2>{_table(_task_types(report))}",
        f"<h2>By {report.period_kind}</h2>{_table(periods)}",
        "<h2>To keep in mind</h2>",
        notes([*remarks(total, report.unpriced), *_of_the_page()]),
    ]
    return page("semcache cost report", f"What was spent and saved: {window}", provenance, body)


def _models(report: CostReport) -> list[tuple[str, SavingsRow]]:
    return [(printable(row.model) or "–", row) for row in report.by_model]


def _task_types(report: CostReport) -> list[tuple[str, SavingsRow]]:
    return [(printable(row.task_type) or "without one", row) for row in report.by_task_type]


def _summary(total: SavingsRow) -> str:
    dollars = Dollars.fitting((total.spent_nanousd, total.saved_nanousd))
    spent, saved, net = map(dollars.with_sign, (total.spent_nanousd, total.saved_nanousd, total.net_saved_nanousd))
    return (
        f"{counted(total.total_requests, 'request')} cost {spent}; the cache saved {saved}, "
        f"{percent(total.savings_percent)} % of what they would have cost ({net} net). "
        f"A request cost ${per_request(total.cost_per_request_usd)}."
    )


def _summary_class(total: SavingsRow) -> str:
    """Return the CSS class of the summary, which marks it as good if both targets are reached."""
    saves = (total.savings_percent or 0.0) > targets.SAVINGS_PERCENT
    return "summary" if saves and (total.cost_per_request_usd or 0.0) < targets.COST_PER_REQUEST_USD else "summary none"


def _of_the_page() -> list[str]:
    amounts = (
        "Spent is what upstreams charged, once for each call. Saved is what they would have charged for each hit. "
        "Net is saved less overhead: embedding and wrong answers at the configured rates, and the calls of verifiers "
        "and judges."
    )
    lines = (
        f"The lines are targets: less than ${targets.COST_PER_REQUEST_USD:g} a request, more than "
        f"{targets.SAVINGS_PERCENT:g} % saved. The cost of a request is over all with a known price, hits included; "
        "the range of a call is over calls that an upstream charged for, as far back as the request log is kept."
    )
    return [amounts, lines]


def _charts(report: CostReport, ranges: Sequence[CostRange]) -> list[str]:
    kind = report.period_kind
    places = [period.name[5:] if kind == "day" else period.name for period, _ in report.by_period]
    rows = [row for _, row in report.by_period]
    stacks = [
        StackedSeries("spent", [_usd(row.spent_nanousd) if row else 0.0 for row in rows], FIRST),
        StackedSeries("saved", [_usd(row.saved_nanousd) if row else 0.0 for row in rows], SECOND),
    ]
    models = _models(report)
    charts = [
        figure(f"Spent and saved by {kind}", stacked_columns("periods", places, stacks, "dollars")),
        figure(
            f"Saved, percent of what it would have cost, by {kind}",
            trend("percent", places, [row.savings_percent if row else None for row in rows], _SAVINGS_LIMIT, "%"),
        ),
        figure(
            f"Cost of a request by {kind}",
            trend(
                "request", places, [row.cost_per_request_usd if row else None for row in rows], _COST_LIMIT, "dollars"
            ),
        ),
        figure("Spent and saved by model", _by_name("models", models)),
        figure(
            "Spent and saved by task type",
            _by_name("tasks", _task_types(report)),
        ),
        figure("Share of spending by model", _shares(models)),
    ]
    if ranges:
        charts.append(figure("Cost of an upstream call by model: 5 to 95 %, and the median", _ranges_chart(ranges)))
    return charts


def _by_name(name: str, named: Sequence[tuple[str, SavingsRow]]) -> str:
    shown = named[:_ROWS]
    dollars = Dollars.fitting(row.spent_nanousd + row.saved_nanousd for _, row in shown)
    return stacked_rows(
        name,
        [label for label, _ in shown],
        [
            StackedSeries("spent", [_usd(row.spent_nanousd) for _, row in shown], FIRST),
            StackedSeries("saved", [_usd(row.saved_nanousd) for _, row in shown], SECOND),
        ],
        [f"{dollars.of(row.spent_nanousd)} + {dollars.of(row.saved_nanousd)}" for _, row in shown],
        "dollars" + _left_out(named),
    )


def _shares(named: Sequence[tuple[str, SavingsRow]]) -> str:
    spent = sum(row.spent_nanousd for _, row in named)
    shown = sorted(named, key=lambda item: -item[1].spent_nanousd)[:_ROWS]
    shares = [100 * row.spent_nanousd / spent if spent else 0.0 for _, row in shown]
    return stacked_rows(
        "shares",
        [label for label, _ in shown],
        [StackedSeries("share", shares, FIRST)],
        [f"{share:.1f} %" for share in shares],
        "% of what was spent" + _left_out(named),
        whole=100.0,
    )


def _ranges_chart(ranges: Sequence[CostRange]) -> str:
    rows = [
        RangeBar(
            printable(cost.model) or "–",
            _usd(cost.low_nanousd),
            _usd(cost.median_nanousd),
            _usd(cost.high_nanousd),
            f"{_usd(cost.median_nanousd):.2g} · {cost.calls:,} calls",
        )
        for cost in ranges[:_ROWS]
    ]
    return range_bars("spread", rows, _COST_LIMIT, "dollars" + _left_out(ranges))


def _left_out(every: Sequence[object]) -> str:
    return f"; {len(every) - _ROWS:,} more are not drawn" if len(every) > _ROWS else ""


def _statuses(total: SavingsRow) -> str:
    rows = []
    for status in Status:
        share = 100 * total.requests[status] / total.total_requests if total.total_requests else None
        answered = "the cache" if status in HIT_STATUSES else ""
        rows.append(("", (status.value.replace("_", " "), f"{total.requests[status]:,}", percent(share), answered)))
    rows.append(("", ("of the hits, reported wrong", f"{total.wrong_hits:,}", "", "")))
    return table(("", "requests", "%", "answered by"), rows)


def _tokens(total: SavingsRow) -> str:
    heads = ("", "input", "of it from providers' caches", "of it written to them", "output")
    rows = [
        ("", (name, *(f"{count:,}" for count in counts)))
        for name, counts in (
            (name, (used.input_tokens, used.cached_input_tokens, used.cache_write_tokens, used.output_tokens))
            for name, used in (("upstream calls", total.spent_usage), ("answers from the cache", total.saved_usage))
        )
    ]
    return table(heads, rows)


def _table(named: Sequence[tuple[str, SavingsRow]]) -> str:
    dollars = Dollars.fitting(amount for _, row in named for amount in (row.spent_nanousd, row.saved_nanousd))
    rows = []
    for name, row in named:
        cells = (
            name,
            f"{row.total_requests:,}",
            f"{row.hits:,}",
            dollars.of(row.spent_nanousd),
            dollars.of(row.saved_nanousd),
            dollars.of(row.overhead_nanousd),
            dollars.of(row.net_saved_nanousd),
            percent(row.savings_percent),
            per_request(row.cost_per_request_usd),
        )
        rows.append(("", cells))
    return table(_HEADS, rows)


def _usd(nanousd: int) -> float:
    return nanousd / NANOUSD_PER_USD
