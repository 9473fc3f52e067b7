"""The states of a breaker, at times that the test gives."""

import random

import pytest

from semcache.settings import BreakerSettings
from semcache.upstream.breaker import Breaker, BreakerState

CLOSED, HALF_OPEN, OPEN = BreakerState
SETTINGS = BreakerSettings(
    failures=3, failure_share=0.5, window_s=20, min_samples=10, open_s=5, max_open_s=30, probes=2
)


class Rig:
    """A breaker, and the changes that it reported."""

    def __init__(self, settings=SETTINGS):
        self.changes = []
        self.breaker = Breaker(settings, lambda *change: self.changes.append(change))

    def fail(self, now_s=0.0, times=1, retry_after_s=None):
        for _ in range(times):
            self.breaker.failed(self.breaker.begin(), now_s, retry_after_s)

    def succeed(self, now_s=0.0, times=1):
        for _ in range(times):
            self.breaker.succeeded(self.breaker.begin(), now_s)


@pytest.fixture
def rig():
    return Rig()


def test_failures_in_a_row_open_it(rig):
    rig.fail(times=2)
    assert rig.breaker.admits(0.0)
    rig.fail()
    assert rig.breaker.state(0.0) is OPEN
    assert not rig.breaker.admits(4.9)
    assert rig.breaker.due_in_s(1.0) == 4.0
    assert rig.changes == [(CLOSED, OPEN)]


def test_a_success_between_breaks_the_row(rig):
    for _ in range(4):
        rig.fail(times=2)
        rig.succeed(times=3)
    assert rig.breaker.state(0.0) is CLOSED


def test_a_share_of_failures_opens_it_once_there_are_samples(rig):
    for _ in range(4):
        rig.succeed()
        rig.fail()
    rig.succeed()
    assert rig.breaker.state(0.0) is CLOSED  # four of nine: fewer than min_samples
    rig.fail()
    assert rig.breaker.state(0.0) is OPEN  # five of ten


def test_old_failures_leave_the_window(rig):
    for _ in range(4):
        rig.succeed(0.0)
        rig.fail(0.0)
    rig.succeed(30.0)
    rig.fail(30.0)
    assert rig.breaker.state(30.0) is CLOSED


def test_when_its_time_is_over_a_few_may_try(rig):
    rig.fail(times=3)
    assert rig.breaker.state(5.0) is HALF_OPEN
    rig.breaker.begin()
    rig.breaker.begin()
    assert not rig.breaker.admits(5.0)
    assert rig.breaker.due_in_s(5.0) == 5.0
    assert rig.changes == [(CLOSED, OPEN), (OPEN, HALF_OPEN)]


def test_a_probe_that_succeeds_closes_it_and_forgets(rig):
    rig.fail(times=3)
    rig.succeed(5.0)
    assert rig.changes[-1] == (HALF_OPEN, CLOSED)
    rig.fail(5.0, times=2)
    assert rig.breaker.state(5.0) is CLOSED
    rig.fail(5.0)
    assert rig.breaker.due_in_s(5.0) == 5.0  # the time is no longer doubled


def test_a_probe_whose_answer_begins_closes_it(rig):
    rig.fail(times=3)
    began = rig.breaker.begin()
    rig.breaker.lives(began)
    assert rig.breaker.state(5.0) is CLOSED
    # A call that breaks off later counts as a failure.
    rig.breaker.failed(began, 6.0)
    rig.fail(6.0, times=2)
    assert rig.breaker.state(6.0) is OPEN


def test_an_answer_that_begins_breaks_no_row_while_it_is_closed(rig):
    for _ in range(3):
        began = rig.breaker.begin()
        rig.breaker.lives(began)
        rig.breaker.failed(began, 0.0)
    assert rig.breaker.state(0.0) is OPEN


def test_the_time_doubles_up_to_its_maximum(rig):
    rig.fail(times=3)
    now_s, waits = 0.0, []
    for _ in range(5):
        waits.append(rig.breaker.due_in_s(now_s))
        now_s += waits[-1]
        rig.fail(now_s)
    assert waits == [5.0, 10.0, 20.0, 30.0, 30.0]


def test_the_time_stays_finite_over_years(rig):
    rig.fail(times=3)
    for number in range(2000):
        rig.fail(30.0 * (number + 1))
    assert rig.breaker.due_in_s(30.0 * 2000) == 30.0


@pytest.mark.parametrize(("retry_after_s", "due_s"), [(2.0, 5.0), (12.0, 12.0), (86_400.0, 30.0)])
def test_retry_after_lengthens_the_time_and_never_beyond_the_maximum(rig, retry_after_s, due_s):
    rig.fail(times=3, retry_after_s=retry_after_s)
    assert rig.breaker.due_in_s(0.0) == due_s


def test_a_probe_that_is_left_makes_room_for_another(rig):
    rig.fail(times=3)
    first = rig.breaker.begin()
    rig.breaker.begin()
    rig.breaker.abandoned(first)
    assert rig.breaker.admits(5.0)
    assert rig.breaker.state(5.0) is HALF_OPEN


def test_what_began_before_it_opened_says_nothing_afterwards(rig):
    old = [rig.breaker.begin() for _ in range(4)]
    rig.fail(times=3)
    rig.breaker.succeeded(old[0], 1.0)
    rig.breaker.lives(old[1])
    assert rig.breaker.state(1.0) is OPEN
    rig.breaker.begin()
    rig.breaker.failed(old[2], 6.0)
    rig.breaker.abandoned(old[3])
    assert rig.breaker.state(6.0) is HALF_OPEN
    assert rig.breaker.admits(6.0)


def test_a_rest_is_told_and_no_failure_however_many_calls_hear_it(rig):
    under_way = [rig.breaker.begin() for _ in range(20)]
    for began, rest_s in zip(under_way, [3.0, 1.0] * 10, strict=True):
        rig.breaker.busy(began, 0.0, rest_s)
    assert (rig.breaker.rest_s(1.0), rig.breaker.rest_s(4.0)) == (2.0, 0.0)
    assert rig.breaker.state(0.0) is CLOSED
    assert rig.changes == []


def test_a_rest_is_bounded(rig):
    rig.breaker.busy(rig.breaker.begin(), 0.0, 1e9)
    assert rig.breaker.rest_s(0.0) == 30.0


def test_a_failure_may_ask_for_a_rest_too(rig):
    rig.fail(retry_after_s=4.0)
    assert rig.breaker.rest_s(1.0) == 3.0


def avoided_s(breaker, now_s):
    return next(wait_s for wait_s in range(1000) if not breaker.is_avoided(now_s + wait_s))


def test_a_target_that_is_busy_after_every_rest_is_avoided_for_longer_and_never_cut_off(rig):
    now_s, waits = 0.0, []
    for _ in range(6):
        rig.breaker.busy(rig.breaker.begin(), now_s, 1.0)
        assert rig.breaker.rest_s(now_s) == 1.0
        waits.append(avoided_s(rig.breaker, now_s))
        now_s += waits[-1]
    assert waits == [1, 5, 10, 20, 30, 30]
    assert rig.breaker.admits(0.0)
    assert rig.changes == []


def test_a_target_that_answers_between_its_rests_is_avoided_for_as_long_as_it_says(rig):
    for now_s in range(0, 100, 2):
        rig.breaker.busy(rig.breaker.begin(), now_s, 1.0)
        assert avoided_s(rig.breaker, now_s) == 1
        rig.succeed(now_s + 1)


def test_a_probe_that_finds_it_busy_shows_that_it_lives(rig):
    rig.fail(times=3)
    rig.breaker.busy(rig.breaker.begin(), 5.0, 2.0)
    assert rig.changes[-1] == (HALF_OPEN, CLOSED)
    assert rig.breaker.is_avoided(6.0)


def test_it_is_proven_while_the_window_has_no_failure_and_the_last_word_was_an_answer(rig):
    assert rig.breaker.is_proven(0.0)
    rig.fail()
    rig.succeed()
    assert not rig.breaker.is_proven(18.0)
    assert rig.breaker.is_proven(20.0)
    rig.breaker.busy(rig.breaker.begin(), 20.0, 1.0)
    assert not rig.breaker.is_proven(50.0)
    rig.succeed(50.0)
    assert rig.breaker.is_proven(50.0)
    rig.fail(50.0, times=3)
    rig.breaker.begin()
    assert not rig.breaker.is_proven(500.0)


def test_it_is_never_half_open_for_more_than_its_probes_whatever_happens():
    chance = random.Random(7)
    rig, now_s, running = Rig(), 0.0, []
    for _ in range(20_000):
        now_s += chance.random()
        if chance.random() < 0.6 and rig.breaker.admits(now_s):
            running.append(rig.breaker.begin())
        elif running:
            began = running.pop(chance.randrange(len(running)))
            end = chance.choice(("failed", "failed", "busy", "succeeded", "abandoned"))
            if end == "abandoned":
                rig.breaker.abandoned(began)
            elif end == "busy":
                rig.breaker.busy(began, now_s, 2.0)
            else:
                getattr(rig.breaker, end)(began, now_s)
        assert 0 <= rig.breaker._probing <= 2
        if rig.breaker.state(now_s) is CLOSED:
            assert rig.breaker.admits(now_s)
    # Every change is one that the states allow.
    assert set(rig.changes) == {
        (CLOSED, OPEN),
        (OPEN, HALF_OPEN),
        (HALF_OPEN, OPEN),
        (HALF_OPEN, CLOSED),
    }
