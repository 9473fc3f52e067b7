"""When the degraded mode begins and ends, at times that the test gives."""

import pytest

from semcache.settings import DegradedSettings
from semcache.upstream.modes import NORMAL, DegradedMode

SETTINGS = DegradedSettings(
    enabled=True,
    error_rate_enter=0.3,
    error_rate_leave=0.1,
    p95_enter_s=2.0,
    p95_leave_s=1.0,
    window_s=60,
    min_samples=20,
    hold_s=30,
)


class Rig:
    def __init__(self, settings=SETTINGS):
        self.changes = []
        self.mode = DegradedMode(settings, lambda before, now: self.changes.append((before.reason, now.reason)))

    def feed(self, now_s, good=0, bad=0, latency_s=0.2):
        for number in range(good + bad):
            self.mode.observe(now_s, latency_s, failed=number < bad)

    def reason(self, now_s):
        return self.mode.current(now_s).reason


@pytest.fixture
def rig():
    return Rig()


def test_off_by_default_and_then_deaf():
    rig = Rig(DegradedSettings())
    rig.feed(0.0, bad=100)
    rig.mode.press_budget(0.0, pressed=True)
    assert rig.mode.current(1.0) is NORMAL
    assert rig.changes == []


@pytest.mark.parametrize(
    ("good", "bad", "reason"), [(14, 6, ""), (13, 7, "error_rate"), (0, 19, ""), (0, 20, "error_rate")]
)
def test_an_error_rate_above_its_threshold_with_enough_samples(rig, good, bad, reason):
    rig.feed(0.0, good=good, bad=bad)
    assert rig.reason(0.0) == reason


def test_the_95th_percentile_of_the_latency(rig):
    rig.feed(0.0, good=19)
    rig.feed(0.0, good=1, latency_s=9.0)
    assert rig.reason(0.0) == ""  # one of twenty lies above the 95th percentile
    rig.feed(1.0, good=1, latency_s=9.0)
    assert rig.reason(1.0) == "latency"


def test_failures_have_no_latency(rig):
    rig.feed(0.0, good=95)
    rig.feed(0.0, bad=20, latency_s=100.0)
    assert rig.reason(0.0) == ""


def test_what_is_active_says_why_and_what_to_do(rig):
    rig.mode.press_budget(0.0, pressed=True)
    mode = rig.mode.current(0.0)
    assert (mode.active, mode.reason, mode.measures) == (True, "budget", {"mini_model", "optional_off"})
    assert rig.changes == [("", "budget")]


def test_a_budget_that_isnt_a_condition_is_none():
    rig = Rig(SETTINGS.model_copy(update={"on_budget": False}))
    rig.mode.press_budget(0.0, pressed=True)
    assert rig.mode.current(5.0) is NORMAL


def test_it_is_left_below_the_lower_threshold_only(rig):
    rig.feed(0.0, good=60, bad=40)
    assert rig.reason(0.0) == "error_rate"
    # In the next window 20 % fail: below the threshold for entering, above the one for leaving.
    for now_s in range(70, 300, 10):
        rig.feed(now_s, good=8, bad=2)
        assert rig.reason(now_s) == "error_rate"
    for now_s in range(300, 360, 10):
        rig.feed(now_s, good=10)
        rig.reason(now_s)
    assert rig.reason(400) == ""
    assert rig.changes == [("", "error_rate"), ("error_rate", "")]


def test_all_must_have_been_over_for_the_time_of_hold(rig):
    rig.mode.press_budget(0.0, pressed=True)
    rig.mode.press_budget(100.0, pressed=False)
    assert rig.reason(129.0) == "budget"
    rig.mode.press_budget(129.5, pressed=True)  # the time of calm begins again
    rig.mode.press_budget(130.0, pressed=False)
    assert rig.reason(159.0) == "budget"
    assert rig.reason(160.0) == ""


def test_one_reason_may_follow_another(rig):
    rig.mode.press_budget(0.0, pressed=True)
    rig.feed(0.0, bad=40)
    rig.mode.press_budget(5.0, pressed=False)
    assert rig.reason(5.0) == "error_rate"
    assert rig.changes == [("", "budget"), ("budget", "error_rate")]


def test_without_traffic_it_ends(rig):
    rig.feed(0.0, bad=40)
    assert rig.reason(0.0) == "error_rate"
    assert rig.reason(100.0) == "error_rate"  # the window is empty; the mode is held for hold_s
    assert rig.reason(130.0) == ""


def test_no_flutter_around_a_threshold(rig):
    """An error rate goes up and down around the threshold for entering, and never reaches the one for leaving."""
    for now_s in range(0, 3600, 5):
        rig.feed(now_s, good=13, bad=7 if now_s % 10 else 5)
        rig.reason(now_s)
    assert len(rig.changes) == 1


def test_a_look_is_taken_seldom():
    rig = Rig()
    rig.feed(0.0, good=20)
    rig.reason(0.0)
    rig.feed(0.5, bad=60)
    assert rig.reason(0.9) == ""
    assert rig.reason(1.0) == "error_rate"
