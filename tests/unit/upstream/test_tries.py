"""Which target is asked next, after which wait and for how long, at times that the test gives."""

import contextlib
import random
from collections import Counter

import pytest

from semcache.errors import UpstreamError, UpstreamRefusedError, UpstreamTimedOutError
from semcache.settings import BreakerSettings, RetrySettings
from semcache.upstream.breaker import BreakerState
from semcache.upstream.fleet import Fleet
from semcache.upstream.retry_budget import RetryBudget
from semcache.upstream.routes import Destination
from semcache.upstream.tries import Step, Tries

A, B, C = (Destination(name, "m") for name in "abc")
MINI = Destination("a", "mini", degraded=True)
DOWN = UpstreamError("down", http_status=503)
BUSY = UpstreamRefusedError("busy", http_status=429, retry_after_s=2.0)


class Rig:
    """The objects that all calls share."""

    def __init__(self, *, retry=None, breaker=None, seed=0):
        self.settings = retry or RetrySettings(max_retries=2, backoff_s=0.5, max_backoff_s=8.0)
        self.fleet = Fleet("abc", breaker or BreakerSettings())
        self.breakers = self.fleet.breakers
        self.budget = RetryBudget(self.settings)
        self.rng = random.Random(seed)

    def tries(self, *plan, deadline_s=100.0):
        return Tries(plan, deadline_s, fleet=self.fleet, budget=self.budget, settings=self.settings, rng=self.rng)

    def rest(self, name, rest_s):
        breaker = self.breakers[name]
        breaker.busy(breaker.begin(), 0.0, rest_s)

    def open(self, name, now_s=0.0):
        breaker = self.breakers[name]
        while breaker.state(now_s) is BreakerState.CLOSED:
            breaker.failed(breaker.begin(), now_s)


@pytest.fixture
def rig():
    return Rig()


def fail(tries, destination, error=DOWN, now_s=0.0):
    tries.begin(destination, now_s)
    tries.failed(error, now_s)


def test_a_wait_that_led_to_no_try_costs_none(rig):
    tries = rig.tries((A,))
    fail(tries, tries.next(0.0).destination)
    for _ in range(5):  # Each time the call waited, and another call's probe was faster.
        assert tries.next(0.0).destination == A
    for _ in range(2):
        fail(tries, tries.next(0.0).destination)
    with pytest.raises(UpstreamError):
        tries.next(0.0)
    assert sum(rig.budget.take(0.0) for _ in range(100)) == 8


def test_weights_are_kept(rig):
    heavy, light, never = Destination("a", "m", 3.0), Destination("b", "m", 1.0), Destination("c", "m", 0.0)
    chosen = Counter(rig.tries((never, heavy, light)).next(0.0).destination.target for _ in range(4000))
    assert chosen["c"] == 0
    assert 2850 < chosen["a"] < 3150


def test_the_choice_is_that_of_the_chance_it_was_given():
    def chosen(seed):
        rig = Rig(seed=seed)
        return [rig.tries((A, B, C)).next(0.0).destination.target for _ in range(20)]

    assert chosen(5) == chosen(5) != chosen(6)


def test_a_target_without_weight_is_asked_when_the_others_cant_answer(rig):
    heavy, never = Destination("a", "m", 3.0), Destination("b", "m", 0.0)
    rig.open("a")
    assert rig.tries((heavy, never)).next(0.0) == Step(never)


def test_another_target_is_asked_at_once_and_each_once(rig):
    tries = rig.tries((A, B), (C,))
    asked = []
    for _ in range(3):
        step = tries.next(0.0)
        assert step.wait_s == 0
        asked.append(step.destination)
        fail(tries, step.destination)
    assert set(asked[:2]) == {A, B}
    assert asked[2] == C


@pytest.mark.parametrize("error", [DOWN, BUSY, UpstreamTimedOutError("late"), UpstreamError("", http_status=500)])
def test_a_fallback_is_for_when_the_route_cant_answer(rig, error):
    tries = rig.tries((A,), (B,))
    assert tries.next(0.0) == Step(A)
    fail(tries, A, error)
    assert tries.next(0.0) == Step(B)


def test_another_target_comes_before_another_model_of_the_one_that_failed(rig):
    tries = rig.tries((A,), (MINI,), (B,))
    fail(tries, tries.next(0.0).destination)
    assert tries.next(0.0) == Step(B)
    fail(tries, B)
    assert tries.next(0.0) == Step(MINI)


def test_a_missing_model_says_nothing_against_its_target(rig):
    tries = rig.tries((A,), (MINI,), (B,))
    fail(tries, tries.next(0.0).destination, UpstreamRefusedError("", http_status=404))
    assert tries.next(0.0) == Step(MINI)


@pytest.mark.parametrize("status", [400, 409, 413, 422])
def test_the_requests_own_fault_is_told_at_once(rig, status):
    error = UpstreamRefusedError("no", http_status=status)
    tries = rig.tries((A, B), (C,))
    fail(tries, tries.next(0.0).destination, error)
    with pytest.raises(UpstreamRefusedError) as caught:
        tries.next(0.0)
    assert caught.value is error


def test_alone_a_target_is_asked_again_after_a_wait(rig):
    tries = rig.tries((A,))
    fail(tries, tries.next(0.0).destination)
    step = tries.next(0.0)
    assert step.destination == A
    assert 0 < step.wait_s <= 0.5


def test_retry_after_is_waited_for_and_the_repeats_end(rig):
    tries = rig.tries((A,))
    fail(tries, tries.next(0.0).destination, BUSY)
    assert tries.next(0.0) == Step(A, 2.0)
    fail(tries, A, BUSY, 2.0)
    assert tries.next(2.0) == Step(A, 2.0)
    fail(tries, A, BUSY, 4.0)
    with pytest.raises(UpstreamRefusedError, match="busy"):
        tries.next(4.0)
    assert tries.made == 3


def test_when_all_failed_the_one_that_is_back_first_is_asked_again(rig):
    tries = rig.tries((A,), (B,))
    fail(tries, A, UpstreamRefusedError("", http_status=429, retry_after_s=5.0))
    fail(tries, B, UpstreamRefusedError("", http_status=429, retry_after_s=3.0))
    assert tries.next(0.0) == Step(B, 3.0)


def test_no_wait_reaches_the_deadline(rig):
    tries = rig.tries((A,), deadline_s=1.5)
    fail(tries, tries.next(0.0).destination, BUSY)
    with pytest.raises(UpstreamRefusedError, match="busy"):
        tries.next(0.0)


def test_after_the_deadline_nobody_is_asked(rig):
    tries = rig.tries((A, B), deadline_s=10.0)
    fail(tries, tries.next(0.0).destination, UpstreamTimedOutError("late"), 10.0)
    with pytest.raises(UpstreamTimedOutError):
        tries.next(10.0)


def test_calls_that_come_too_late_are_no_fault_of_the_target(rig):
    for _ in range(20):
        tries = rig.tries((A,), deadline_s=10.0)
        assert tries.begin(tries.next(10.0).destination, 10.0) == 0.0
        tries.failed(UpstreamTimedOutError("late"), 10.0)
    assert rig.breakers["a"].state(10.0) is BreakerState.CLOSED
    assert rig.breakers["a"].is_proven(10.0)


def test_the_time_is_shared_with_the_targets_not_yet_tried(rig):
    tries = rig.tries((A, B), (C, Destination("c", "other")), deadline_s=90.0)
    assert tries.begin(A, 0.0) == 30.0
    tries.failed(UpstreamTimedOutError("late"), 30.0)
    assert tries.begin(B, 30.0) == 30.0
    tries.failed(UpstreamTimedOutError("late"), 60.0)
    assert tries.begin(C, 60.0) == 30.0


def test_a_target_whose_breaker_is_open_takes_no_share(rig):
    rig.open("b")
    assert rig.tries((A, B), deadline_s=90.0).begin(A, 0.0) == 90.0


def test_an_open_breaker_is_passed_over_without_a_try(rig):
    rig.open("a")
    tries = rig.tries((A,), (B,))
    assert tries.next(0.0) == Step(B)
    assert tries.made == 0
    assert sum(rig.budget.take(0.0) for _ in range(100)) == 10  # and no extra try was taken for it


def test_when_all_are_open_it_fails_at_once_and_says_when_to_come_back(rig):
    rig.open("a", 0.0)
    rig.open("b", 3.0)
    with pytest.raises(UpstreamError) as caught:
        rig.tries((B,), (A,)).next(4.0)
    assert caught.value.reason == "UPSTREAM_UNAVAILABLE"
    assert caught.value.retry_after_s == 1.0
    assert "'b', 'a'" in caught.value.message
    assert caught.value.hint == "One is tried again in 1.0 s."


def test_nobody_left_to_ask_says_how_they_failed(rig):
    for _ in range(5):
        fail(rig.tries((A,)), A, UpstreamRefusedError("The upstream 'a' refused with 401.", http_status=401))
    with pytest.raises(UpstreamError) as caught:
        rig.tries((A,)).next(0.0)
    assert caught.value.hint == "One is tried again in 5.0 s. The upstream 'a' refused with 401."


def test_a_breaker_that_opens_under_a_call_leaves_it_its_own_error():
    rig = Rig(breaker=BreakerSettings(failures=1))
    tries = rig.tries((A,))
    fail(tries, tries.next(0.0).destination)
    with pytest.raises(UpstreamError, match="down"):
        tries.next(0.0)


def test_a_target_that_rests_is_passed_over(rig):
    rig.rest("a", 5.0)
    assert {rig.tries((A, B)).next(0.0) for _ in range(50)} == {Step(B)}
    assert rig.tries((A,), (C,)).next(0.0) == Step(C)


def test_alone_a_target_that_rests_is_waited_for(rig):
    rig.rest("a", 5.0)
    step = rig.tries((A,)).next(1.0)
    assert step.destination == A
    assert 4.0 <= step.wait_s <= 4.5


@pytest.mark.parametrize(("rest_s", "deadline_s"), [(9.0, 100.0), (5.0, 4.0)])
def test_a_rest_longer_than_patience_or_deadline_isnt_waited_for(rig, rest_s, deadline_s):
    rig.rest("a", rest_s)
    assert rig.tries((A,), deadline_s=deadline_s).next(0.0) == Step(A)


def test_extra_tries_end_with_the_budget_of_all():
    rig = Rig(retry=RetrySettings(budget_floor=2, budget_ratio=0.1))
    made = []
    for _ in range(40):
        tries = rig.tries((A,), (B,))
        fail(tries, tries.next(0.0).destination, UpstreamRefusedError("", http_status=404))
        with contextlib.suppress(UpstreamRefusedError):
            fail(tries, tries.next(0.0).destination, UpstreamRefusedError("", http_status=404))
        made.append(tries.made)
    assert sum(made) == 40 + 4
    assert made[:3] == [2, 2, 1]


def test_a_probe_is_made_while_the_budget_can_pay_for_the_way_on():
    rig = Rig(retry=RetrySettings(budget_floor=1, budget_ratio=0))
    rig.open("a")
    assert {rig.tries((A, B)).next(6.0).destination for _ in range(50)} == {A, B}
    assert rig.budget.take(6.0)
    assert {rig.tries((A, B)).next(6.0).destination for _ in range(50)} == {B}
    # Without another target, it is asked even so.
    assert rig.tries((A,)).next(6.0) == Step(A)


def test_a_call_stakes_a_try_while_it_asks_who_is_in_doubt(rig):
    rig = Rig(retry=RetrySettings(budget_floor=2, budget_ratio=0))
    fail(rig.tries((A,)), A)
    under_way = []
    for _ in range(2):
        tries = rig.tries((A,))
        tries.begin(tries.next(0.0).destination, 0.0)
        under_way.append(tries)
    # The two calls under way have reserved all extra tries.
    assert {rig.tries((A, B)).next(0.0).destination for _ in range(50)} == {B}
    under_way[0].succeeded(0.0)
    assert {rig.tries((A, B)).next(0.0).destination for _ in range(50)} == {A, B}
    tries = rig.tries((A,))
    tries.begin(A, 0.0)
    assert {rig.tries((A, B)).next(0.0).destination for _ in range(50)} == {B}
    tries.abandoned()
    assert {rig.tries((A, B)).next(0.0).destination for _ in range(50)} == {A, B}


@pytest.mark.parametrize("share", [0.1, 0.3, 0.45])
@pytest.mark.parametrize("at_once", [1, 8])
def test_a_target_that_fails_now_and_then_costs_no_request_its_answer_either(share, at_once):
    rig, chance = Rig(), random.Random(4)
    requests = calls = 0
    for number in range(800):
        now_s = number * 0.5
        under_way = [rig.tries((A,), (B,), deadline_s=now_s + 30) for _ in range(at_once)]
        requests += at_once
        while under_way:
            for tries in under_way:
                tries.begin(tries.next(now_s).destination, now_s)
                calls += 1
            for tries in list(under_way):
                if tries.last == A and chance.random() < share:
                    tries.failed(DOWN, now_s)
                else:
                    tries.succeeded(now_s)
                    under_way.remove(tries)
    assert calls <= 1.2 * requests + 10


@pytest.mark.parametrize(
    ("end", "state"),
    [
        (lambda tries: tries.succeeded(6.0), BreakerState.CLOSED),
        (lambda tries: tries.lives(), BreakerState.CLOSED),
        (lambda tries: tries.abandoned(), BreakerState.HALF_OPEN),
        (lambda tries: tries.failed(DOWN, 6.0), BreakerState.OPEN),
        (lambda tries: tries.failed(BUSY, 6.0), BreakerState.CLOSED),
        (lambda tries: tries.failed(UpstreamRefusedError("", http_status=400), 6.0), BreakerState.CLOSED),
        (lambda tries: tries.failed(UpstreamRefusedError("", http_status=404), 6.0), BreakerState.CLOSED),
        (lambda tries: tries.failed(UpstreamRefusedError("", http_status=401), 6.0), BreakerState.OPEN),
    ],
)
def test_the_breaker_learns_how_a_probe_ended(rig, end, state):
    rig.open("a")
    tries = rig.tries((A,))
    tries.begin(tries.next(6.0).destination, 6.0)
    end(tries)
    assert rig.breakers["a"].state(6.0) is state


def test_a_model_that_is_missing_somewhere_is_asked_elsewhere_first(rig):
    missing = UpstreamRefusedError("none such", http_status=404)
    for _ in range(5):
        fail(rig.tries((A,)), A, missing)
    assert rig.breakers["a"].state(0.0) is BreakerState.CLOSED
    assert {rig.tries((A, B)).next(0.0) for _ in range(50)} == {Step(B)}
    assert rig.tries((A,), (B,)).next(0.0) == Step(B)
    assert rig.tries((MINI,)).next(0.0) == Step(MINI)
    # Without another target it is asked: its own refusal says more than an error of semcache's.
    alone = rig.tries((A,))
    fail(alone, alone.next(0.0).destination, missing)
    with pytest.raises(UpstreamRefusedError, match="none such"):
        alone.next(0.0)
    # Later it is tried again, and one answer closes its breaker.
    assert {rig.tries((A, B)).next(6.0).destination for _ in range(50)} == {A, B}
    tries = rig.tries((A,))
    tries.begin(A, 6.0)
    tries.succeeded(6.0)
    fail(rig.tries((A,)), A, missing, 6.0)
    assert {rig.tries((A, B)).next(6.0).destination for _ in range(50)} == {A, B}


def test_missing_models_are_remembered_within_bounds(rig):
    for number in range(3000):
        place = Destination("a", f"m{number}")
        fail(rig.tries((place,)), place, UpstreamRefusedError("", http_status=404))
    assert len(rig.fleet._models) <= 1024


EVERY_WAY = [
    DOWN,
    UpstreamTimedOutError("late"),
    UpstreamRefusedError("", http_status=429),
    UpstreamRefusedError("", http_status=429, retry_after_s=1.0),
    UpstreamRefusedError("", http_status=401),
    UpstreamRefusedError("", http_status=403),
    UpstreamRefusedError("", http_status=404),
]


@pytest.mark.parametrize("dead", [{"a"}, {"a", "b"}])
@pytest.mark.parametrize("error", EVERY_WAY, ids=lambda error: str(error.http_status))
@pytest.mark.parametrize("seed", range(3))
def test_dead_targets_cost_no_request_its_answer_and_few_extra_tries(dead, error, seed):
    """An hour of calls one after the other holds what the module's docstring promises, with some room."""
    rig = Rig(seed=seed)
    requests = calls = 0
    for number in range(2000):
        now_s = number * 1.8
        tries = rig.tries((A, B, C), deadline_s=now_s + 30)
        requests += 1
        while True:
            step = tries.next(now_s)
            tries.begin(step.destination, now_s)
            calls += 1
            if step.destination.target not in dead:
                tries.succeeded(now_s)
                break
            tries.failed(error, now_s)
    assert calls <= 1.1 * requests
