"""The share of calls that is refused, against a model of a front that can't keep up."""

import random

import pytest

from semcache.server.shedding import CLOSED_LOOP, TARGET_S, Shedding

BEAT_S = 0.02
REFUSAL_COST = 0.15
"""What a refusal takes of the front, as a part of what a call takes that is answered."""


class ModelFront:
    """A queue with one server: calls come evenly, and each beat reports the queue's delay."""

    def __init__(self, calls_per_s: float) -> None:
        self.calls_per_s = calls_per_s  # what the front answers when it refuses none
        self.shedding = Shedding(lambda: 0.0, lambda: 0.5)
        self.waiting = 0.0

    def run(self, seconds: float, load: float) -> list[tuple[float, float]]:
        """Return the delay and the share at each beat under a load, 1 for what the front can answer."""
        seen = []
        for _ in range(round(seconds / BEAT_S)):
            share = self.shedding.share
            handed_over_per_s = self.calls_per_s / (1 - share + share * REFUSAL_COST)
            self.waiting = max(0.0, self.waiting + (load * self.calls_per_s - handed_over_per_s) * BEAT_S)
            delay_s = self.waiting / handed_over_per_s
            self.shedding.report(delay_s, BEAT_S, handed_over_per_s)
            seen.append((delay_s, self.shedding.share))
        return seen


@pytest.mark.parametrize("calls_per_s", [100.0, 600.0, 3000.0])
@pytest.mark.parametrize("load", [1.2, 2.0, 4.0])
def test_the_delay_settles_at_its_target_under_overload(calls_per_s, load):
    front = ModelFront(calls_per_s)
    front.run(10.0, load)
    settled = front.run(20.0, load)
    mean_s = sum(delay_s for delay_s, _ in settled) / len(settled)
    handed_over_per_s = load * calls_per_s
    target_s = max(TARGET_S, CLOSED_LOOP / handed_over_per_s)
    assert mean_s == pytest.approx(target_s, rel=0.25)
    assert max(delay_s for delay_s, _ in settled) < 2.5 * target_s
    # It answers what it can: refusals cost too.
    refused = sum(share for _, share in settled) / len(settled)
    assert refused == pytest.approx((1 - 1 / load) / (1 - REFUSAL_COST), abs=0.05)


def test_the_first_delay_of_an_overload_is_bounded():
    front = ModelFront(600.0)
    assert max(delay_s for delay_s, _ in front.run(10.0, 2.0)) < 0.3


def test_nothing_is_refused_within_two_seconds_of_the_end():
    front = ModelFront(600.0)
    front.run(20.0, 2.0)
    after = front.run(2.0, 0.5)
    assert after[-1][1] == 0.0
    assert not front.shedding.alert


def test_a_burst_refuses_nobody():
    shedding = Shedding(lambda: 0.0)
    for delay_s in (0.0, 0.1, 0.2, 0.1, 0.0):
        shedding.report(delay_s, BEAT_S, 2000.0)
        assert shedding.share == 0.0


@pytest.mark.parametrize("delay_s", [0.05, 0.5, 2.0])
def test_few_calls_that_wait_long_are_not_refused(delay_s):
    # Another program keeps the processor busy: refusing calls would make none faster.
    shedding = Shedding(lambda: 0.0)
    for _ in range(500):
        shedding.report(delay_s, BEAT_S, CLOSED_LOOP / delay_s - 0.1)
    assert shedding.share == 0.0


@pytest.mark.parametrize("calls_per_s", [20.0, 100.0, 1200.0])
def test_what_may_wait_follows_from_the_rate_of_calls(calls_per_s):
    may_wait = max(CLOSED_LOOP, TARGET_S * calls_per_s)
    for waiting, refuses in ((0.9 * may_wait, False), (1.2 * may_wait, True)):
        shedding = Shedding(lambda: 0.0)
        for _ in range(100):
            shedding.report(waiting / calls_per_s, BEAT_S, calls_per_s)
        assert (shedding.share > 0) is refuses, waiting


def refusal_times(calls_per_s: float, load: float, *, seconds: float = 12.0, settled_s: float = 4.0) -> list[float]:
    """Return how long refusals took, ordered, with calls that come at random and a front that sees one after another.

    A probe that was sent at a beat would wait as long as the last call has.
    """
    chance = random.Random(int(calls_per_s * load))
    shedding = Shedding(lambda: 0.0, chance.random)
    came_s = free_s = waited_s = rate = 0.0
    seen = seen_before = 0
    beat_s = BEAT_S
    times = []
    while came_s < seconds:
        came_s += chance.expovariate(load * calls_per_s)
        begins_s = max(came_s, free_s)
        while beat_s <= begins_s:
            rate += BEAT_S / 0.5 * ((seen - seen_before) / BEAT_S - rate)
            seen_before = seen
            shedding.report(waited_s, BEAT_S, rate)
            beat_s += BEAT_S
        waited_s, seen = begins_s - came_s, seen + 1
        refused = shedding.alert and shedding.refusal(None) is not None
        free_s = begins_s + (REFUSAL_COST if refused else 1.0) / calls_per_s
        if refused and came_s > settled_s:
            times.append(free_s - came_s)
    return sorted(times)


@pytest.mark.parametrize("load", [1.2, 2.0, 4.0])
@pytest.mark.parametrize(("calls_per_s", "most_s"), [(100.0, 0.6), (300.0, 0.25), (1200.0, 0.07), (3000.0, 0.05)])
def test_a_refusal_comes_fast_where_the_front_is(calls_per_s, load, most_s):
    times = refusal_times(calls_per_s, load)
    assert len(times) > 50
    assert times[int(0.99 * len(times))] < most_s
    assert times[len(times) // 2] < max(0.04, 1.2 * CLOSED_LOOP / calls_per_s)


def test_a_front_without_calls_refuses_nobody():
    shedding = Shedding(lambda: 0.0)
    for _ in range(100):
        shedding.report(0.5, BEAT_S, 0.0)
    assert shedding.share == 0.0


def test_the_share_is_drawn_for_each_call():
    draws = iter([0.1, 0.9])
    shedding = Shedding(lambda: 0.0, lambda: next(draws))
    while shedding.share < 0.5:
        shedding.report(0.08, BEAT_S, 2000.0)
    assert shedding.share < 0.9
    refusal = shedding.refusal(None)
    assert refusal is not None
    assert (refusal.reason, refusal.retry_after_s) == ("OVERLOADED", 1.0)
    assert shedding.refusal(None) is None


@pytest.mark.parametrize(
    ("wait_s", "remaining_s", "refused"), [(2.0, 1.0, True), (2.0, 2.5, False), (2.0, None, False)]
)
def test_the_wait_for_the_embedder_is_held_against_the_deadline(wait_s, remaining_s, refused):
    shedding = Shedding(lambda: wait_s)
    shedding.report(0.0, BEAT_S, 100.0)
    assert shedding.alert
    refusal = shedding.refusal(remaining_s)
    assert (refusal is not None) is refused
    assert refusal is None or refusal.retry_after_s == wait_s
