"""Splitting the ledger's hours at a quota."""

from semcache.finance.quota import split_at_quota
from semcache.model import LedgerHour, Status

H = 3600


def row(hour: int, requests: int, tokens: int = 0, spent: int = 0, status: Status = Status.MISS) -> LedgerHour:
    return LedgerHour(
        hour * H, "t", "m", "", status, requests=requests, input_tokens=tokens, spent_output_nanousd=spent
    )


def beyond(hours, quota):
    return [
        (part.requests_beyond, part.tokens_beyond, part.cost_beyond_nanousd) for part in split_at_quota(hours, quota)
    ]


def test_below_the_quota_nothing_is_beyond():
    assert beyond([row(0, 3, 30, 9), row(1, 2, 5, 5)], 5) == [(0, 0, 0), (0, 0, 0)]


def test_hours_after_the_quota_are_beyond_and_its_own_hour_is_split_by_proportion():
    # Hour 1 has ten requests and the quota has four left, so six tenths of the hour are beyond it.
    hours = [row(0, 6, 60, 6), row(1, 7, 70, 7), row(1, 3, 31, 2, Status.BYPASS), row(2, 1, 8, 3)]

    assert beyond(hours, 10) == [(0, 0, 0), (4, 42, 4), (2, 18, 1), (1, 8, 3)]


def test_the_requests_of_a_split_hour_add_up():
    hours = [row(0, 1, 100), row(0, 1, 100, status=Status.BYPASS), row(0, 1, 100, status=Status.REFRESH)]

    for quota in range(4):
        assert sum(requests for requests, _, _ in beyond(hours, quota)) == 3 - quota


def test_what_callers_stored_goes_with_its_hour():
    deposit = row(1, 0, 90, 9)

    assert beyond([row(0, 5), deposit], 6) == [(0, 0, 0), (0, 0, 0)]
    assert beyond([row(0, 6), deposit], 6) == [(0, 0, 0), (0, 90, 9)]
    assert beyond([row(1, 3, 3), deposit], 2) == [(1, 1, 0), (0, 30, 3)]


def test_a_quota_of_nothing_ends_at_once():
    assert beyond([row(0, 2, 5, 7)], 0) == [(2, 5, 7)]
    assert beyond([], 0) == []
