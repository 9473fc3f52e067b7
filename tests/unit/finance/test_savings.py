"""Savings from the ledger's hours: groups, sums, percentages."""

import pytest

from semcache.costs.periods import Calendar
from semcache.errors import InvalidRequestError
from semcache.finance.savings import SavingsGroup, savings, unpriced_models
from semcache.model import LedgerHour, Status, Usage

DAY_S = 86_400
HOURS = [
    LedgerHour(
        DAY_S, "t", "big", "code", Status.MISS, requests=2, input_tokens=100, cached_input_tokens=40, output_tokens=50,
        spent_input_nanousd=600, spent_cached_input_nanousd=100, spent_output_nanousd=300, estimated=1,
    ),
    LedgerHour(DAY_S + 3600, "t", "big", "code", Status.EXACT_HIT, requests=3, input_tokens=150, saved_nanousd=1500),
    LedgerHour(DAY_S + 3600, "t", "small", "", Status.SEMANTIC_HIT, requests=1, output_tokens=7, saved_nanousd=500),
    LedgerHour(2 * DAY_S, "t", "small", "", Status.COALESCED, requests=1, unpriced=1),
    LedgerHour(2 * DAY_S, "t", "small", "", Status.BYPASS, requests=1, spent_output_nanousd=1000),
    LedgerHour(2 * DAY_S, "t", "small", "", Status.ERROR, requests=4),
]  # fmt: skip


def test_one_row_for_the_whole_is_the_total():
    report = savings(HOURS)

    (row,) = report.rows
    assert row == report.total
    assert row.requests == {
        Status.EXACT_HIT: 3,
        Status.SEMANTIC_HIT: 1,
        Status.COALESCED: 1,
        Status.MISS: 2,
        Status.BYPASS: 1,
        Status.REFRESH: 0,
        Status.STALE: 0,
        Status.ERROR: 4,
        Status.CANCELLED: 0,
    }
    assert (row.total_requests, row.hits) == (12, 5)
    assert (row.spent_input_nanousd, row.spent_cached_input_nanousd, row.spent_output_nanousd) == (600, 100, 1300)
    assert (row.spent_nanousd, row.saved_nanousd, row.net_saved_nanousd) == (2000, 2000, 2000)
    assert (row.unpriced, row.estimated) == (1, 1)
    assert row.savings_percent == 50.0
    assert row.spent_usage == Usage(100, 40, 50, estimated=True)
    assert row.saved_usage == Usage(150, 0, 7, estimated=False)


def test_the_caches_own_calls_are_spent_and_reduce_what_is_net_saved():
    own = LedgerHour(
        DAY_S, "t", "mini", "", Status.MISS, spent_input_nanousd=200, overhead_nanousd=3, own_calls_nanousd=200
    )
    row = savings([*HOURS, own]).total

    assert (row.spent_nanousd, row.saved_nanousd, row.own_calls_nanousd) == (2200, 2000, 200)
    assert (row.overhead_nanousd, row.net_saved_nanousd) == (203, 1797)
    assert row.total_requests == 12


def test_rows_are_grouped_and_ordered_by_time_model_and_task_type():
    rows = savings(reversed(HOURS), [SavingsGroup.TASK_TYPE, SavingsGroup.HOUR, SavingsGroup.MODEL]).rows

    assert [(row.period_start_s, row.model, row.task_type) for row in rows] == [
        (DAY_S, "big", "code"),
        (DAY_S + 3600, "big", "code"),
        (DAY_S + 3600, "small", ""),
        (2 * DAY_S, "small", ""),
    ]


def test_days_are_utcs():
    rows = savings(HOURS, [SavingsGroup.DAY]).rows

    assert [(row.period_start_s, row.total_requests) for row in rows] == [(DAY_S, 6), (2 * DAY_S, 6)]


def test_rows_not_grouped_by_time_have_no_period():
    assert [(row.period_start_s, row.model) for row in savings(HOURS, [SavingsGroup.MODEL]).rows] == [
        (None, "big"),
        (None, "small"),
    ]


def test_filters_apply_to_rows_and_total():
    report = savings(HOURS, [SavingsGroup.MODEL], models=["big"], task_types=["code"])

    assert [row.model for row in report.rows] == ["big"]
    assert report.total.total_requests == 5
    assert savings(HOURS, task_types=["chat"]).rows == ()


def test_nothing_is_no_rows_and_a_total_of_nothing():
    report = savings([])

    assert report.rows == ()
    assert report.total.total_requests == 0
    assert report.total.savings_percent is None


def test_days_and_months_are_the_calendars():
    # Berlin's clocks go back on 2027-10-31, the month's last day, which has 25 hours and ends at 23:00 UTC.
    last_hour_s = 1_825_020_000  # 2027-10-31T22:00Z
    hours = [
        LedgerHour(last_hour_s - 25 * 3600, "t", "m", "", Status.MISS, requests=1),
        LedgerHour(last_hour_s, "t", "m", "", Status.MISS, requests=2),
        LedgerHour(last_hour_s + 3600, "t", "m", "", Status.MISS, requests=4),
    ]

    berlin = Calendar("Europe/Berlin")
    days = savings(hours, [SavingsGroup.DAY], calendar=berlin).rows
    months = savings(hours, [SavingsGroup.MONTH], calendar=berlin).rows

    assert [row.total_requests for row in days] == [1, 2, 4]
    assert days[1].period_start_s == last_hour_s - 24 * 3600
    assert [row.total_requests for row in months] == [3, 4]
    assert months[1].period_start_s == last_hour_s + 3600
    assert [row.total_requests for row in savings(hours, [SavingsGroup.MONTH]).rows] == [7]


def test_rows_by_tenant_and_status():
    hours = [
        LedgerHour(0, "b", "m", "", Status.MISS, requests=1, overhead_nanousd=5),
        LedgerHour(0, "a", "m", "", Status.SEMANTIC_HIT, requests=2, overhead_nanousd=7, wrong_hits=1, saved_nanousd=9),
        LedgerHour(0, "a", "m", "", Status.MISS, requests=4, cache_write_tokens=3),
    ]

    report = savings(hours, [SavingsGroup.STATUS, SavingsGroup.TENANT])

    assert [(row.tenant, row.status, row.total_requests) for row in report.rows] == [
        ("a", Status.MISS, 4),
        ("a", Status.SEMANTIC_HIT, 2),
        ("b", Status.MISS, 1),
    ]
    assert (report.total.tenant, report.total.status) == ("", None)
    assert (report.total.overhead_nanousd, report.total.wrong_hits, report.total.net_saved_nanousd) == (12, 1, -3)
    assert report.total.spent_usage.cache_write_tokens == 3


def test_a_request_costs_what_was_spent_by_requests_with_a_price():
    hours = [
        LedgerHour(0, "t", "m", "", Status.MISS, requests=4, spent_output_nanousd=8_000_000_000),
        LedgerHour(0, "t", "own", "", Status.MISS, requests=6, unpriced=6),
        LedgerHour(0, "t", "other", "", Status.MISS, requests=1, unpriced=1),
        LedgerHour(3600, "t", "own", "", Status.EXACT_HIT, requests=1, unpriced=1),
    ]

    total = savings(hours).total

    assert (total.priced_requests, total.cost_per_request_usd) == (4, 2.0)
    assert savings(hours[1:]).total.cost_per_request_usd is None
    assert list(unpriced_models(hours).items()) == [("own", 7), ("other", 1)]


@pytest.mark.parametrize(
    "groups",
    [
        [SavingsGroup.HOUR, SavingsGroup.DAY],
        [SavingsGroup.DAY, SavingsGroup.MONTH],
        [SavingsGroup.MODEL, SavingsGroup.MODEL],
    ],
)
def test_groups_that_contradict_or_repeat_are_refused(groups):
    with pytest.raises(InvalidRequestError, match="group_by"):
        savings(HOURS, groups)
