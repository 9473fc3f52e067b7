"""Cost reports: time without gaps, the highest cost first, remarks, ranges, flat rows."""

from dataclasses import fields

from semcache.costs.periods import Calendar
from semcache.finance.ledger_rows import HOUR_COLUMNS, LINE_COLUMNS, hour_row, line_row
from semcache.finance.report import cost_report, remarks
from semcache.finance.request_costs import CostRange, cost_ranges
from semcache.model import Cost, LedgerHour, LedgerRecord, Status, Usage
from semcache.store.rollup import rolled_up
from tests.support.ledgers import at, line, mixed_days

DAY_S = 86_400


def test_days_without_requests_are_there_too():
    hours = [LedgerHour(day * DAY_S, "t", "m", "", Status.MISS, requests=1) for day in (1, 4)]
    report = cost_report(hours, Calendar())

    assert report.period_kind == "day"
    assert [(period.name, row is not None) for period, row in report.by_period] == [
        ("1970-01-02", True),
        ("1970-01-03", False),
        ("1970-01-04", False),
        ("1970-01-05", True),
    ]


def test_a_year_is_told_by_months():
    hours = [LedgerHour(day * DAY_S, "t", "m", "", Status.MISS, requests=1) for day in (0, 360)]
    report = cost_report(hours, Calendar())

    assert report.period_kind == "month"
    assert len(report.by_period) == 12


def test_nothing_is_a_report_of_nothing():
    report = cost_report([], Calendar())

    assert (report.by_period, report.by_model, report.total.total_requests) == ((), (), 0)


def test_what_would_have_cost_most_comes_first():
    hours = [
        LedgerHour(0, "t", "small", "", Status.MISS, requests=9, spent_output_nanousd=5),
        LedgerHour(0, "t", "large", "", Status.EXACT_HIT, requests=1, saved_nanousd=9),
    ]

    assert [row.model for row in cost_report(hours, Calendar()).by_model] == ["large", "small"]


def test_remarks_name_what_the_figures_leave_out():
    report = cost_report(list(rolled_up(mixed_days()).values()), Calendar())
    sentences = remarks(report.total, report.unpriced)

    assert sentences[0].startswith("In no amount of money, for the price of the model isn't known: 2 requests of ")
    assert "own-model (1)" in sentences[0]
    assert sentences[1].startswith("The tokens of 1 request are an estimate")
    assert "the providers' own prompt caches" in sentences[2]
    assert len(sentences) == 3  # Overhead is booked, so there is no remark about it.


def test_spreads_are_of_calls_that_were_charged_for():
    lines = [line(number, Status.MISS, 1000 * number, model="m") for number in range(100)]
    lines += [line(1, Status.EXACT_HIT, 10**9, model="m"), line(1, Status.REFRESH, 10**9, model="dear")]

    assert cost_ranges(lines) == (
        CostRange("dear", 1, 10**9, 10**9, 10**9),
        CostRange("m", 99, 5_000, 50_000, 95_000),
    )


def test_rows_say_everything_in_the_order_of_their_columns():
    (record,) = [one for one in mixed_days() if one.request_id == "hit"]
    row = line_row(record)

    assert tuple(row) == LINE_COLUMNS
    assert row["time"] == "2027-10-30T12:00:04.000000Z"
    assert (row["spent_nanousd"], row["saved_nanousd"], row["saved_price_version"]) == (0, 10, "p2")
    assert (row["similarity"], row["route"], row["degraded"], row["entry_id"]) == (0.9875, "openai", True, "eff")
    assert (row["purpose"], row["overhead_nanousd"], row["requests"]) == ("request", 77, 1)

    hour = LedgerHour(int(at("2027-10-30T12:00")), "t", "m", "", Status.MISS, requests=2, wrong_hits=1)
    assert tuple(hour_row(hour)) == HOUR_COLUMNS
    assert (hour_row(hour)["hour"], hour_row(hour)["wrong_hits"]) == ("2027-10-30T12:00:00Z", 1)


def test_an_export_leaves_no_field_out():
    apart = {"at_s": "time", "usage": "input_tokens", "spent": "spent_nanousd", "saved": "saved_nanousd"}
    assert {apart.get(name, name) for name in LedgerRecord._fields} <= set(LINE_COLUMNS)
    assert set(Usage._fields) <= set(LINE_COLUMNS)
    for cost in ("spent", "saved"):
        assert {f"{cost}_{name}" for name in Cost._fields} <= set(LINE_COLUMNS)
    assert {field.name for field in fields(LedgerHour)} - {"hour_s"} <= set(HOUR_COLUMNS)
