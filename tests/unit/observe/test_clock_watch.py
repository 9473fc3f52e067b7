"""A jump of the wall clock is noticed in both directions, and nothing is deleted before the clock has gone evenly."""

import pytest
from structlog.testing import capture_logs

from semcache.observe.clock_watch import SETTLING_S, ClockWatch
from semcache.testing.clock import FakeClock

DAY_S = 86_400


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def settled(clock: FakeClock) -> ClockWatch:
    watch = ClockWatch(clock)
    clock.advance(SETTLING_S)
    assert watch.settled_wall_s() == clock.wall()
    return watch


def test_after_the_start_the_clock_settles_first(clock):
    watch = ClockWatch(clock)
    assert watch.settled_wall_s() is None
    clock.advance(SETTLING_S - 1)
    assert watch.settled_wall_s() is None
    clock.advance(1)
    assert watch.settled_wall_s() == clock.wall()
    assert watch.jumps == 0


def test_the_start_alone_casts_no_doubt_on_the_clock_and_a_jump_does(clock):
    watch = ClockWatch(clock, "an effect")
    assert watch.undoubted_wall_s() == clock.wall()
    clock.jump_wall(-60)
    with capture_logs() as logs:
        assert watch.undoubted_wall_s() is None
    assert logs[0]["effect"] == "an effect"
    clock.advance(SETTLING_S)
    assert watch.undoubted_wall_s() == clock.wall()


@pytest.mark.parametrize("seconds", [32 * DAY_S, -32 * DAY_S, 6, -6])
def test_a_jump_is_counted_logged_and_waited_out(clock, settled, seconds):
    clock.jump_wall(seconds)
    with capture_logs() as logs:
        assert settled.settled_wall_s() is None
    assert [(line["event"], line["log_level"], line["seconds"]) for line in logs] == [
        ("observe.clock_jumped", "warning", seconds)
    ]
    clock.advance(SETTLING_S - 1)
    assert settled.settled_wall_s() is None
    clock.advance(1)
    assert settled.settled_wall_s() == clock.wall()
    assert settled.jumps == 1


def test_a_jump_that_is_taken_back_is_two_jumps(clock, settled):
    clock.jump_wall(32 * DAY_S)
    assert settled.settled_wall_s() is None
    clock.advance(3)
    clock.jump_wall(-32 * DAY_S)
    assert settled.settled_wall_s() is None
    clock.advance(SETTLING_S)
    assert settled.settled_wall_s() == clock.wall()
    assert settled.jumps == 2


def test_a_clock_that_is_slewed_does_not_jump(clock, settled):
    for _ in range(500):
        clock.advance(30)
        clock.jump_wall(30 / 12)
        assert settled.settled_wall_s() is not None
    assert settled.jumps == 0
