"""The limit of extra tries, and how they are counted."""

import random

import pytest

from semcache.settings import RetrySettings
from semcache.upstream.retry_budget import RetryBudget
from semcache.upstream.sliding import SlidingCounts


def taken(budget, now_s, asked=1000):
    return sum(budget.take(now_s) for _ in range(asked))


@pytest.mark.parametrize(("calls", "extra"), [(0, 4), (20, 4), (25, 5), (1000, 200)])
def test_a_share_of_the_calls_and_a_floor(calls, extra):
    budget = RetryBudget(RetrySettings(budget_ratio=0.2, budget_floor=4))
    for _ in range(calls):
        budget.called(0.0)
    assert taken(budget, 0.0) == extra
    assert not budget.allows(0.0)


def test_asking_takes_nothing():
    budget = RetryBudget(RetrySettings(budget_floor=1))
    assert budget.allows(0.0)
    assert budget.take(0.0)


def test_what_is_staked_is_left_for_who_staked_it():
    budget = RetryBudget(RetrySettings(budget_floor=2))
    budget.reserve()
    assert budget.allows(0.0)
    budget.reserve()
    assert not budget.allows(0.0)
    assert budget.take(0.0)
    budget.release()
    assert not budget.allows(0.0)
    budget.release()
    assert budget.allows(0.0)


def test_no_ratio_and_no_floor_allow_none():
    budget = RetryBudget(RetrySettings(budget_ratio=0, budget_floor=0))
    budget.called(0.0)
    assert taken(budget, 0.0) == 0


def test_what_was_taken_comes_back_with_the_window():
    budget = RetryBudget(RetrySettings(budget_floor=3, budget_window_s=10))
    assert taken(budget, 0.0) == 3
    assert taken(budget, 5.0) == 0
    assert taken(budget, 10.5) == 3


def test_counts_are_those_of_the_window_to_a_twentieth():
    chance = random.Random(3)
    counts, added, now_s = SlidingCounts(10.0), [], 0.0
    for _ in range(3000):
        now_s += chance.expovariate(5)
        total, marked = chance.randrange(3), chance.randrange(2)
        counts.add(now_s, total=total, marked=marked)
        added.append((now_s, total, marked))
        found = counts.read(now_s)
        for position in (0, 1):
            minimum = sum(entry[position + 1] for entry in added if entry[0] > now_s - 9.5)
            maximum = sum(entry[position + 1] for entry in added if entry[0] > now_s - 10.0)
            assert minimum <= found[position] <= maximum
        added = [entry for entry in added if entry[0] > now_s - 11]
    counts.clear()
    assert counts.read(now_s) == (0, 0)


def test_a_time_that_is_earlier_than_the_last_counts_as_the_last():
    counts = SlidingCounts(10.0)
    counts.add(50.0, total=1)
    counts.add(20.0, total=1)
    assert counts.read(50.0) == (2, 0)
    assert counts.read(70.0) == (0, 0)
