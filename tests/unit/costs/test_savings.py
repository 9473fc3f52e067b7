"""Savings from the ledger's hours: grouping, sums, percent."""

import pytest

from semcache.costs.savings import SavingsGroup, savings
from semcache.errors import InvalidRequestError
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


@pytest.mark.parametrize("groups", [[SavingsGroup.HOUR, SavingsGroup.DAY], [SavingsGroup.MODEL, SavingsGroup.MODEL]])
def test_groups_that_contradict_or_repeat_are_refused(groups):
    with pytest.raises(InvalidRequestError, match="group_by"):
        savings(HOURS, groups)
