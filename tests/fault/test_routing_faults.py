"""Several targets of which some fail, over real sockets: which calls are answered, and how many tries that costs."""

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from semcache.errors import OverLimitError, UpstreamError, UpstreamRefusedError, UpstreamTimedOutError
from semcache.model import Answer, UpstreamCall
from semcache.protocols import replay_chunks
from semcache.server.clock import SystemClock
from semcache.settings import UpstreamSettings
from semcache.testing.clock import FakeClock
from semcache.testing.upstream import completion_body
from semcache.testing.upstream_server import Ending, Reply, ScriptedServer, events, failure, plain
from semcache.upstream import HttpUpstream

BODY = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}'
KINDS = pytest.mark.parametrize("kind", ["plain", "stream"])
EVENT_STREAM = {"content-type": "text/event-stream"}
THREE = {"alias": "m", "targets": [{"target": name} for name in "abc"]}


class Seen:
    """An observer that records its calls."""

    def __init__(self):
        self.tries, self.calls, self.swapped, self.breakers, self.reasons = [], [], [], [], []

    def upstream_attempted(self, target, outcome):
        self.tries.append((target, outcome))

    def upstream_done(self, target, duration_s):
        self.calls.append(target)

    def upstream_swapped(self, target):
        self.swapped.append(target)

    def breaker_changed(self, target, state):
        self.breakers.append((target, state.name))

    def degraded_changed(self, reason):
        self.reasons.append(reason)


class Rig:
    """A router over scripted servers."""

    def __init__(self, servers, scripts, routes, *, clock=None, timeouts=None, answer_bytes=1 << 20, **settings):
        self.servers, self.scripts = servers, scripts
        self.clock, self.seen, self.slept_s = clock or FakeClock(), Seen(), []
        targets = [
            {"name": name, "base_url": server.base_url, "timeout_s": (timeouts or {}).get(name, 120.0)}
            for name, server in servers.items()
        ]
        self.upstream = HttpUpstream(
            UpstreamSettings(targets=targets, routes=routes, **settings),
            self.clock,
            observer=self.seen,
            answer_bytes=answer_bytes,
            rng=random.Random(11),
            sleep=self.sleep,
            environ={},
        )

    async def sleep(self, delay_s):
        self.slept_s.append(delay_s)
        self.clock.advance(delay_s)

    async def ask(self, kind="plain", alias="m", *, within_s=100.0, **fields):
        call = UpstreamCall(alias, BODY, self.clock.monotonic() + within_s, "r1", **fields)
        if kind == "plain":
            return await self.upstream.complete(call)
        *_, answer = [item async for item in self.upstream.stream(call)]
        return answer

    async def ask_many(self, kind, requests, at_once):
        """Return the answers, with the errors of those that failed; a second passes between two waves."""
        found = []
        for _ in range(requests // at_once):
            found += await asyncio.gather(*(self.ask(kind) for _ in range(at_once)), return_exceptions=True)
            self.clock.advance(1.0)
        return found

    @property
    def calls(self):
        """Return how often each target was asked."""
        return Counter(target for target, _ in self.seen.tries)


@asynccontextmanager
async def rig(routes, names="abc", **rest):
    scripts = {}

    def handler(name):
        def answer(request):
            script = scripts.get(name, good)
            return script(request) if callable(script) else script

        return answer

    async with AsyncExitStack() as stack:
        servers = {name: await stack.enter_async_context(ScriptedServer(handler(name))) for name in names}
        made = Rig(servers, scripts, routes, **rest)
        stack.push_async_callback(made.upstream.close)
        yield made


def good(request):
    body = completion_body("Good.", model=request.json["model"])
    return events(replay_chunks(body, include_usage=True)) if request.streams else plain(body)


def half(request):
    """The connection is cut before anything was passed on: within a body, or after a stream's first comment."""
    if request.streams:
        return Reply(headers=EVENT_STREAM, pieces=(b": wait\n\n",), chunked=True, ending=Ending.CUT)
    return Reply(headers={"content-length": "500"}, pieces=(b'{"choices": ',), ending=Ending.CUT)


FAULTS = {
    "429": failure(429),
    "429 with Retry-After": failure(429, headers={"retry-after": "60"}),
    "429 with a short Retry-After": failure(429, headers={"retry-after": "0.5"}),
    "500": failure(500),
    "503 with Retry-After": failure(503, headers={"retry-after": "30"}),
    "401": failure(401),
    "403": failure(403),
    "404": failure(404),
    "reset": Reply(status=0, ending=Ending.RESET),
    "hang": Reply(status=0, ending=Ending.HANG),
    "half an answer": half,
    "HTML": plain(b"<html>Sign in</html>", content_type="text/html"),
    "no choices": plain(b'{"choices": []}'),
    "redirect": plain(b"", status=302, headers={"location": "https://elsewhere.test"}),
}
FAULT = pytest.mark.parametrize("fault", FAULTS)


@KINDS
@FAULT
async def test_one_of_three_targets_fails_and_no_request_does(kind, fault):
    async with rig([THREE], timeouts={"b": 0.02} if fault == "hang" else None) as it:
        it.scripts["b"] = FAULTS[fault]
        found = await it.ask_many(kind, requests=120, at_once=4)
    assert {type(one) for one in found} == {Answer}
    assert {one.route for one in found} == {"a", "c"}
    assert not any(one.degraded for one in found)
    assert it.slept_s == []
    # It is asked a few times, then only by probes.
    assert 1 <= it.calls["b"] <= 24
    assert it.calls.total() == 120 + it.calls["b"]


@KINDS
@FAULT
async def test_when_the_whole_route_fails_its_fallback_answers(kind, fault):
    routes = [
        {"alias": "m", "target": "a", "fallbacks": ["n", {"alias": "mini", "degraded": True}]},
        {"alias": "n", "target": "b"},
        {"alias": "mini", "target": "c"},
    ]
    async with rig(routes, timeouts={"a": 0.2, "b": 0.2} if fault == "hang" else None) as it:
        it.scripts["a"] = it.scripts["b"] = FAULTS[fault]
        answer = await it.ask(kind)
        assert (answer.target_model, answer.route, answer.degraded, answer.attempts) == ("mini", "c", True, 3)
        assert it.slept_s == []
        del it.scripts["b"]
        it.clock.advance(60.0)  # longer than any target asked to rest
        answer = await it.ask(kind)
        assert (answer.target_model, answer.degraded) == ("n", False)


@KINDS
async def test_a_target_that_nobody_listens_at(kind):
    async with rig([THREE]) as it:
        await it.servers["b"].close()
        found = await it.ask_many(kind, requests=100, at_once=1)
    assert {type(one) for one in found} == {Answer}
    assert it.calls.total() <= 115


@KINDS
async def test_a_target_that_is_back_is_found_again(kind):
    async with rig([THREE], breaker={"failures": 3, "open_s": 5}) as it:
        it.scripts["b"] = failure(503)
        await it.ask_many(kind, requests=30, at_once=1)
        assert it.seen.breakers[:4] == [("a", "CLOSED"), ("b", "CLOSED"), ("c", "CLOSED"), ("b", "OPEN")]
        del it.scripts["b"]
        it.clock.advance(120.0)
        found = await it.ask_many(kind, requests=60, at_once=1)
    assert it.seen.breakers[-2:] == [("b", "HALF_OPEN"), ("b", "CLOSED")]
    assert sum(one.route == "b" for one in found) > 10


async def test_when_all_fail_it_is_told_at_once_and_when_to_come_back():
    async with rig([THREE], breaker={"failures": 2, "open_s": 5}) as it:
        it.scripts.update(dict.fromkeys("abc", failure(500)))
        found = [one for _ in range(20) for one in await asyncio.gather(it.ask(), return_exceptions=True)]
        calls = it.calls.total()
        with pytest.raises(UpstreamError) as caught:
            await it.ask()
        assert it.calls.total() == calls == 6
        assert caught.value.reason == "UPSTREAM_UNAVAILABLE"
        assert caught.value.retry_after_s == 5.0
        assert {one.http_status for one in found} == {500, None}
        # Half open, three calls may try at once; the others fail as before.
        it.clock.advance(5.0)
        it.scripts.update(dict.fromkeys("abc", good))
        assert (await it.ask()).text == "Good."


@KINDS
async def test_targets_that_hang_leave_time_for_the_one_that_answers(kind):
    routes = [
        {"alias": "m", "target": "a", "fallbacks": ["n", "o"]},
        {"alias": "n", "target": "b"},
        {"alias": "o", "target": "c"},
    ]
    async with rig(routes, clock=SystemClock()) as it:
        it.scripts["a"] = it.scripts["b"] = FAULTS["hang"]
        answer = await it.ask(kind, within_s=0.6)
    assert (answer.route, answer.attempts) == ("c", 3)
    assert it.seen.tries == [("a", "timeout"), ("b", "timeout"), ("c", "ok")]


async def test_comments_that_keep_coming_before_the_first_chunk_dont_eat_the_time_of_the_others():
    drip = Reply(headers=EVENT_STREAM, pieces=(b": wait\n\n",) * 1000, chunked=True, piece_delay_s=0.005)
    routes = [{"alias": "m", "target": "a", "fallbacks": ["n"]}, {"alias": "n", "target": "b"}]
    async with rig(routes, names="ab", clock=SystemClock()) as it:
        it.scripts["a"] = drip
        assert (await it.ask("stream", within_s=0.3)).route == "b"
        del it.scripts["a"]
        it.scripts["b"] = drip
        assert (await it.ask("stream")).route == "a"
        # A single target has the whole time of the call.
        with pytest.raises(UpstreamTimedOutError):
            await it.ask("stream", alias="n", within_s=0.05)
        await it.servers["b"].abandoned()


async def test_a_stream_that_drips_ends_with_the_calls_time():
    chunks = list(replay_chunks(completion_body("Good."), include_usage=True))
    rest = b"data: " + chunks[1]
    pieces = (b"data: " + chunks[0] + b"\n\n", *(rest[i : i + 1] for i in range(len(rest))))
    async with rig([{"alias": "m", "target": "a"}], names="a", clock=SystemClock()) as it:
        it.scripts["a"] = Reply(headers=EVENT_STREAM, pieces=pieces, chunked=True, piece_delay_s=0.005)
        with pytest.raises(UpstreamTimedOutError, match="deadline"):
            await it.ask("stream", within_s=0.08)
        await it.servers["a"].abandoned()


async def test_after_the_first_chunk_nobody_else_is_asked_and_the_breaker_learns():
    def broken(request):
        relayed = asyncio.Event()
        gates.append(relayed)
        chunks = list(replay_chunks(completion_body("Good."), include_usage=True))[:2]
        return events(chunks, done=False, ending=Ending.CUT, piece_gate=relayed)

    gates = []
    async with rig([THREE], breaker={"failures": 3}) as it:
        it.scripts["b"] = broken
        failed = []
        for _ in range(60):
            call = UpstreamCall("m", BODY, 100.0, "r1")
            try:
                async for _ in it.upstream.stream(call):
                    for gate in gates:
                        gate.set()
            except UpstreamError as error:
                failed.append(error.reason)
    assert failed == ["UPSTREAM_BROKE_OFF"] * 3
    assert it.calls == {"b": 3, "a": it.calls["a"], "c": it.calls["c"]}
    assert it.calls.total() == 60


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_what_is_the_requests_own_fault_is_asked_once_and_opens_nothing(status):
    async with rig([THREE]) as it:
        it.scripts.update(dict.fromkeys("abc", failure(status)))
        for _ in range(30):
            with pytest.raises(UpstreamRefusedError):
                await it.ask()
        it.scripts.clear()
        assert (await it.ask()).text == "Good."
    assert it.calls.total() == 31


async def test_an_answer_that_is_too_large_isnt_paid_for_twice():
    async with rig([THREE], answer_bytes=1000) as it:
        it.scripts.update(dict.fromkeys("abc", plain(completion_body("x" * 2000))))
        with pytest.raises(UpstreamError) as caught:
            await it.ask()
    assert caught.value.reason == "ANSWER_TOO_LARGE"
    assert it.calls.total() == 1


async def test_many_at_once_at_a_target_that_dies_make_no_storm():
    async with rig([{"alias": "m", "target": "a"}], names="a") as it:
        it.scripts["a"] = failure(503)
        found = await it.ask_many("plain", requests=100, at_once=100)
    assert {type(one) for one in found} == {UpstreamError}
    assert it.calls.total() <= 120


async def test_alone_a_target_that_asks_for_time_is_given_it():
    async with rig([{"alias": "m", "target": "a"}], names="a") as it:
        it.scripts["a"] = lambda request: (
            good(request) if it.clock.monotonic() >= 3.0 else failure(429, headers={"retry-after": "3"})
        )
        first = await it.ask()
        assert (first.attempts, it.slept_s) == (2, [3.0])
        assert (await it.ask()).attempts == 1
    assert it.seen.breakers == [("a", "CLOSED")]


async def test_calls_that_come_while_a_target_rests_wait_instead_of_asking():
    async with rig([{"alias": "m", "target": "a"}], names="a") as it:
        it.scripts["a"] = failure(429, headers={"retry-after": "9"})
        with pytest.raises(UpstreamRefusedError):
            await it.ask()
        it.scripts.clear()
        it.clock.advance(5.0)
        answer = await it.ask()
    assert answer.attempts == 1
    assert 4.0 <= it.slept_s[0] <= 4.25


@KINDS
async def test_weights_share_the_calls(kind):
    route = {"alias": "m", "targets": [{"target": "a", "weight": 3}, {"target": "b"}, {"target": "c", "weight": 0}]}
    async with rig([route]) as it:
        await it.ask_many(kind, requests=200, at_once=10)
    assert it.calls["c"] == 0
    assert 130 <= it.calls["a"] <= 170


async def test_task_type_and_complexity_choose_the_route():
    routes = [
        {"alias": "m", "target": "a"},
        {"alias": "m", "task_type": "code", "target": "b", "model": "coder"},
        {"alias": "m", "task_type": "code", "complexity": "high", "target": "c", "model": "coder-max"},
    ]
    async with rig(routes) as it:
        assert (await it.ask()).target_model == "m"
        assert (await it.ask(task_type="code", complexity="low")).target_model == "coder"
        answer = await it.ask("stream", task_type="code", complexity="high")
        assert (answer.target_model, answer.route, answer.model) == ("coder-max", "c", "coder-max")
        assert it.upstream.models("m") == {"m", "coder", "coder-max"}
        assert it.upstream.candidates("m", task_type="code") == ("coder",)


MINI = [{"alias": "m", "target": "a", "degraded": "mini"}, {"alias": "mini", "target": "b"}]


@KINDS
async def test_a_degraded_call_gets_the_degraded_alias_and_says_so(kind):
    async with rig(MINI, names="ab") as it:
        answer = await it.ask(kind, degraded=True)
        assert (answer.target_model, answer.degraded) == ("mini", True)
        answer = await it.ask(kind)
        assert (answer.target_model, answer.degraded) == ("m", False)
        # The full model answers where the mini model can't.
        it.scripts["b"] = failure(500)
        answer = await it.ask(kind, degraded=True)
        assert (answer.target_model, answer.degraded) == ("m", False)


async def test_a_barred_model_is_passed_over():
    async with rig([{**THREE, "fallbacks": ["mini"]}, {"alias": "mini", "target": "a"}]) as it:
        assert (await it.ask(barred=frozenset({"m"}))).target_model == "mini"
        with pytest.raises(OverLimitError):
            await it.ask(barred=frozenset({"m", "mini"}))
    assert it.calls == {"a": 1}


DEGRADED = {"enabled": True, "min_samples": 10, "window_s": 60, "hold_s": 30}


@KINDS
async def test_failures_bring_the_mini_model_and_their_end_the_full_one(kind):
    mode = {**DEGRADED, "error_rate_enter": 0.3, "error_rate_leave": 0.1}
    async with rig(MINI, names="ab", degraded=mode) as it:
        it.scripts["a"] = failure(500)
        failed = await it.ask_many(kind, requests=10, at_once=1)
        assert {type(one) for one in failed} == {UpstreamError}
        assert it.upstream.mode.reason == "error_rate"
        assert it.upstream.mode.measures == {"mini_model", "optional_off"}
        assert it.upstream.candidates("m") == ("mini", "m")
        answer = await it.ask(kind)
        assert (answer.target_model, answer.degraded) == ("mini", True)
        del it.scripts["a"]
        found = await it.ask_many(kind, requests=120, at_once=1)
    assert [one.degraded for one in found[:60]] == [True] * 60
    assert not found[-1].degraded
    assert it.seen.reasons == ["error_rate", ""]


async def test_slow_answers_bring_the_mini_model():
    mode = {**DEGRADED, "on_budget": False, "p95_enter_s": 2.0, "p95_leave_s": 1.0}
    async with rig(MINI, names="ab", degraded=mode) as it:

        def slow(request):
            it.clock.advance(3.0)
            return good(request)

        it.scripts["a"] = slow
        found = await it.ask_many("plain", requests=12, at_once=1)
        assert [one.degraded for one in found] == [False] * 10 + [True] * 2
        assert it.upstream.mode.reason == "latency"


async def test_a_pressed_budget_brings_the_mini_model():
    async with rig(MINI, names="ab", degraded=DEGRADED) as it:
        it.upstream.press_budget(pressed=True)
        assert (await it.ask()).degraded
        it.upstream.press_budget(pressed=False)
        assert (await it.ask()).degraded  # the mode is held for hold_s
        it.clock.advance(30.0)
        assert not (await it.ask()).degraded


async def test_what_is_the_requests_own_fault_degrades_nothing():
    mode = {**DEGRADED, "error_rate_enter": 0.3, "error_rate_leave": 0.1}
    async with rig(MINI, names="ab", degraded=mode) as it:
        it.scripts["a"] = failure(400)
        await it.ask_many("plain", requests=30, at_once=1)
        assert not it.upstream.mode.active


@KINDS
async def test_an_answer_of_another_model_is_kept_under_its_name_and_counted(kind):
    def other(request):
        body = completion_body("Good.", model="cheap-1")
        return events(replay_chunks(body, include_usage=True)) if request.streams else plain(body)

    async with rig([THREE]) as it:
        it.scripts.update(dict.fromkeys("abc", other))
        answer = await it.ask(kind)
    assert (answer.model, answer.target_model) == ("cheap-1", "m")
    assert it.seen.swapped == [answer.route]


async def test_a_probe_whose_answer_has_begun_holds_nobody_up():
    gate = asyncio.Event()

    def slow(request):
        chunks = replay_chunks(completion_body("Good.", model="m"), include_usage=True)
        return events(chunks, piece_gate=gate)

    async with rig([{"alias": "m", "target": "a"}], names="a", breaker={"failures": 1, "probes": 1}) as it:
        it.scripts["a"] = failure(500)
        with pytest.raises(UpstreamError):
            await it.ask()
        it.clock.advance(60.0)
        it.scripts["a"] = slow
        probe = it.upstream.stream(UpstreamCall("m", BODY, 200.0, "r1"))
        await anext(probe)
        del it.scripts["a"]
        assert (await it.ask()).text == "Good."
        gate.set()
        *_, answer = [item async for item in probe]
        assert answer.text == "Good."
    assert it.seen.breakers[-1] == ("a", "CLOSED")


@KINDS
async def test_a_probe_that_is_left_makes_room_for_the_next(kind):
    async with rig([{"alias": "m", "target": "a"}], names="a", breaker={"failures": 1, "probes": 1}) as it:
        it.scripts["a"] = failure(500)
        with pytest.raises(UpstreamError):
            await it.ask(kind)
        it.clock.advance(60.0)
        it.scripts["a"] = FAULTS["hang"]
        probe = asyncio.create_task(it.ask(kind))
        await it.servers["a"].received(2)
        with pytest.raises(UpstreamError) as caught:
            await it.ask(kind)
        assert caught.value.reason == "UPSTREAM_UNAVAILABLE"
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe
        del it.scripts["a"]
        assert (await it.ask(kind)).text == "Good."
