"""A judge that is late, wrong, broken or left alone: its request is a miss in time, and each call is booked once."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
from prometheus_client import CollectorRegistry

from semcache.errors import StoreFullError, UpstreamError
from semcache.finance.savings import savings
from semcache.model import Purpose, Response, Status, UpstreamCall
from semcache.observe.metrics import Metrics
from semcache.server.clock import SystemClock
from semcache.settings import MetricsSettings, load_settings
from semcache.testing.upstream import completion_body
from semcache.testing.upstream_server import Ending, Received, Reply, ScriptedServer, failure, plain
from semcache.upstream import HttpUpstream
from tests.fault.test_cancellation import ask, at_each_turn, cancelled_after, drained_after, settled
from tests.support.caches import Rig, check_books, request, rig
from tests.support.judge import (
    DEAR_NANOUSD,
    DEAR_USAGE,
    NEAR,
    QUESTION_NANOUSD,
    SEED,
    completion,
    judged_rig,
    questions,
    says,
)

YES = says("1", {"1": 0.97, "0": 0.03})
BODY = completion("1", {"1": 0.97, "0": 0.03})
KINDS = pytest.mark.parametrize("kind", ["plain", "stream"])


# -- in process: lateness and leaving


async def test_a_late_judge_is_a_miss_in_time_and_its_word_counts_the_next_time() -> None:
    gate = asyncio.Event()
    served = judged_rig(replace(YES, gate=gate), verifier={"deadline_s": 0.02})
    await served.cache.complete(request(SEED))
    late = await served.cache.complete(request(NEAR, no_store=True))
    assert (late.status, late.reason) == (Status.MISS, "judge_late")
    assert "didn't reply in time" in late.detail
    assert check_books(served, requests=2) == 2 * DEAR_NANOUSD
    gate.set()
    await settled(served)
    assert check_books(served, requests=2) == 2 * DEAR_NANOUSD + QUESTION_NANOUSD
    again = await served.cache.complete(request(NEAR, no_store=True))
    assert (again.status, again.reason) == (Status.SEMANTIC_HIT, "judged_same")
    assert len(questions(served)) == 1


async def test_a_judge_that_hangs_gathers_no_calls() -> None:
    served = judged_rig(replace(YES, gate=asyncio.Event()), verifier={"deadline_s": 0.001})
    await served.cache.complete(request(SEED))
    texts = [f"{NEAR} {letter * 3}" for letter in "abcdefgh"]
    reasons = [(await served.cache.complete(request(text, no_store=True))).reason for text in texts]
    assert set(reasons) == {"judge_late", "below_threshold"}
    assert len(questions(served)) == 5  # Then it rests.
    await served.cache.drain(0.0)
    check_books(served, requests=9)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_more_questions_at_once_than_may_be_are_not_asked() -> None:
    gate = asyncio.Event()
    served = judged_rig(replace(YES, gate=gate))
    await served.cache.complete(request(SEED))
    words = ["".join("abcdefghij"[int(digit)] * 3 for digit in f"{number:02}") for number in range(70)]
    asked = [asyncio.create_task(served.cache.complete(request(f"{NEAR} {word}", no_store=True))) for word in words]
    await served.upstream.called(1 + 70)
    gate.set()
    reasons = Counter([(await task).reason for task in asked])
    assert reasons == {"judged_same": 64, "judge_busy": 6}
    await settled(served)
    assert check_books(served, requests=71) == 7 * DEAR_NANOUSD + 64 * QUESTION_NANOUSD


@KINDS
async def test_a_caller_who_leaves_at_any_await_is_counted_once_and_the_question_is_booked_once(kind: str) -> None:
    async def case(turns: int) -> bool:
        served = judged_rig(YES, costs={"budgets": [{"name": "all", "limit_usd": 1}]})
        await served.cache.complete(request(SEED))
        left = await cancelled_after(turns, ask(served, kind, NEAR))
        await settled(served)
        spent = check_books(served, requests=2 if turns else served_requests(served))
        assert spent - DEAR_NANOUSD in {0, len(questions(served)) * QUESTION_NANOUSD}
        assert _judge_lines(served) == len(questions(served))
        (balance,) = served.accounts.budgets.balances()
        assert (balance.spent_nanousd, balance.reserved_nanousd) == (spent, 0)
        return left

    await at_each_turn(case)


def served_requests(served: Rig) -> int:
    """Return how many requests were opened: a caller that leaves before the first step has none."""
    return sum(served.metrics.counts().values())


async def test_a_lookup_that_leaves_books_its_question_once() -> None:
    async def case(turns: int) -> bool:
        served = judged_rig(YES)
        await served.cache.complete(request(SEED))
        left = await cancelled_after(turns, served.cache.lookup(request(NEAR)))
        await settled(served)
        check_books(served, requests=served_requests(served))
        assert _judge_lines(served) == len(questions(served)) <= 1
        return left

    await at_each_turn(case)


@KINDS
async def test_the_end_of_the_grace_books_what_was_answered(kind: str) -> None:
    async def case(turns: int) -> bool:
        served = judged_rig(YES, costs={"budgets": [{"name": "all", "limit_usd": 1}]})
        await served.cache.complete(request(SEED))
        running = await drained_after(turns, served, ask(served, kind, NEAR))
        spent = check_books(served, requests=2)
        (balance,) = served.accounts.budgets.balances()
        assert (balance.spent_nanousd, balance.reserved_nanousd) == (spent, 0)
        return running

    await at_each_turn(case)


async def test_a_store_that_refuses_costs_no_hit_and_loses_no_line() -> None:
    served = judged_rig(YES)
    await served.cache.complete(request(SEED))
    served.store.fail_writes = StoreFullError("full")
    response = await served.cache.complete(request(NEAR))
    assert (response.status, response.reason) == (Status.SEMANTIC_HIT, "judged_same")
    served.store.fail_writes = None
    await settled(served)
    assert check_books(served, requests=2) == DEAR_NANOUSD + QUESTION_NANOUSD


async def test_where_no_answer_may_leave_without_its_line_the_judge_is_not_asked() -> None:
    served = judged_rig(YES, without_ledger="refuse")
    await served.cache.complete(request(SEED))
    served.store.fail_writes = StoreFullError("full")
    with pytest.raises(StoreFullError):
        await served.cache.complete(request(NEAR))
    assert questions(served) == []


def _judge_lines(served: Rig) -> int:
    return sum(line.purpose is Purpose.JUDGE for line in served.store.ledger.records(None, 0, 1e12))


# -- over a socket: what a target can do


@dataclass(frozen=True)
class Stack:
    """A cache over a real upstream, and what its server received."""

    served: Rig
    server: ScriptedServer

    def asked(self) -> list[Received]:
        """The requests for the judge's model."""
        return [received for received in self.server.requests if received.json["model"] == "judge-model"]

    async def ask(self, text: str = NEAR) -> Response:
        return await self.served.cache.complete(request(text, no_store=text != SEED))


@asynccontextmanager
async def stack(judge: Callable[[Received], Reply], *, deadline_s: float = 5.0) -> AsyncIterator[Stack]:
    """Run a cache whose only target serves both models; `judge` replies for the judge's."""

    def script(received: Received) -> Reply:
        if received.json["model"] == "judge-model":
            return judge(received)
        return plain(completion_body("An answer.", model="gpt-4o-mini", usage=DEAR_USAGE))

    async with ScriptedServer(script) as server:
        target = {"name": "t", "base_url": server.base_url, "provider": "openai"}
        routes = [
            {"alias": "gpt-4o-mini", "target": "t"},
            {"alias": "judge", "target": "t", "model": "judge-model"},
        ]
        upstream_settings = {"targets": [target], "routes": routes, "retry": {"max_retries": 0}}
        settings = load_settings(None, {"upstream": upstream_settings})
        metrics = Metrics(CollectorRegistry(), MetricsSettings(), SystemClock(), [])
        upstream = HttpUpstream(settings.upstream, SystemClock(), observer=metrics, rng=random.Random(1))
        verifier = {"route": "judge", "from_similarity": 0.5, "deadline_s": deadline_s, "usd_per_s": 0}
        served = rig(upstream, threshold=0.9, clock=SystemClock(), decision={"verifier": verifier})  # type: ignore[arg-type]
        try:
            yield Stack(served, server)
        finally:
            await served.cache.drain(0.0)
            await upstream.close()


@pytest.mark.parametrize(
    "reply",
    [
        failure(500),
        failure(429),
        failure(401),
        Reply(pieces=(b'{"choices": [',), ending=Ending.CUT, headers={"content-length": "500"}),
        Reply(status=0, pieces=(), ending=Ending.RESET),
        plain(b"no JSON at all"),
        plain(b"{}"),
        plain(b'{"choices": []}'),
    ],
    ids=["500", "429", "401", "cut", "reset", "no json", "empty", "no choices"],
)
async def test_a_judge_that_fails_costs_a_hit_and_no_request(reply: Reply) -> None:
    async with stack(lambda _: reply) as each:
        await each.ask(SEED)
        response = await each.ask()
        assert (response.status, response.reason) == (Status.MISS, "judge_failed")
        check_books(each.served, requests=2)
        beside = [line for line in each.served.store.ledger.records(None, 0, 1e12) if not line.requests]
        assert {line.purpose for line in beside} <= {Purpose.JUDGE}  # What it charged for an answer that is none.
        total = savings(each.served.store.ledger.hours(None, 0, 1e12)).total
        assert total.net_saved_nanousd == -sum(line.spent.total_nanousd for line in beside)


async def test_a_yes_over_a_socket() -> None:
    async with stack(lambda _: plain(BODY)) as each:
        await each.ask(SEED)
        response = await each.ask()
        assert (response.status, response.reason) == (Status.SEMANTIC_HIT, "judged_same")
        (question,) = each.asked()
        assert (question.json["max_tokens"], question.json["logprobs"]) == (1, True)
        check_books(each.served, requests=2)


async def test_a_judge_that_is_late_again_and_again_rests_and_its_target_goes_on_answering() -> None:
    gate = asyncio.Event()
    async with stack(lambda _: plain(BODY, gate=gate), deadline_s=0.02) as each:
        await each.ask(SEED)
        responses = [await each.ask(f"{NEAR} {letter * 3}") for letter in "abcdefgh"]
        assert [response.status for response in responses] == [Status.MISS] * 8
        assert [response.reason for response in responses] == ["judge_late"] * 5 + ["below_threshold"] * 3
        assert len(each.asked()) == 5
        gate.set()
        await each.served.cache.drain(5.0)
        assert check_books(each.served, requests=9) == 9 * DEAR_NANOUSD + 5 * QUESTION_NANOUSD


@dataclass
class Changes:
    """What an upstream reports to its observer of targets' breakers and of the degraded mode."""

    states: list[int] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    attempts: int = 0

    def breaker_changed(self, target: str, state: int) -> None:
        self.states.append(state)

    def degraded_changed(self, reason: str) -> None:
        self.reasons.append(reason)

    def upstream_attempted(self, target: str, outcome: str) -> None:
        self.attempts += 1

    def upstream_done(self, target: str, duration_s: float) -> None: ...

    def upstream_swapped(self, target: str) -> None: ...

    def call_passed(self, target: str, outcome: str) -> None: ...


@pytest.mark.parametrize("optional", [True, False])
async def test_how_an_optional_call_fails_counts_against_no_target_and_it_is_not_repeated(optional: bool) -> None:
    mode = {"error_rate_enter": 0.2, "error_rate_leave": 0.1, "min_samples": 5, "on_budget": False}
    async with ScriptedServer(lambda _: failure(503)) as server:
        values = {
            "targets": [{"name": "t", "base_url": server.base_url}],
            "retry": {"max_retries": 1, "backoff_s": 0.001},
            "degraded": {"enabled": True, "measures": ["optional_off"], **mode},
        }
        changes = Changes()
        clock = SystemClock()
        upstream = HttpUpstream(load_settings(None, {"upstream": values}).upstream, clock, observer=changes)
        body = json.dumps({"model": "m", "messages": []}).encode()
        try:
            for number in range(10):
                deadline_s = clock.monotonic() + 5.0
                with pytest.raises(UpstreamError):
                    await upstream.complete(UpstreamCall("m", body, deadline_s, str(number), optional=optional))
            assert changes.states == ([0] if optional else [0, 2])
            upstream.press_budget(pressed=True)  # The mode looks at its conditions at once.
            assert upstream.mode.active is not optional
            assert changes.attempts == (10 if optional else len(server.requests))
            assert len(server.requests) == (10 if optional else 5)
        finally:
            await upstream.close()


async def test_an_upstream_that_refuses_log_probabilities_is_asked_without_them() -> None:
    def judge(received: Received) -> Reply:
        if "logprobs" in received.json:
            return failure(400, "logprobs isn't supported by this model")
        return plain(completion("1"))

    async with stack(judge) as each:
        await each.ask(SEED)
        assert (await each.ask()).reason == "judge_failed"
        assert (await each.ask()).reason == "judged_same"
        assert [("logprobs" in question.json) for question in each.asked()] == [True, False]
        assert json.loads(each.asked()[1].body)["max_tokens"] == 1
        check_books(each.served, requests=3)


async def test_a_refusal_of_one_text_neither_takes_the_probability_from_others_nor_opens_the_breaker() -> None:
    """A caller whose text is refused could otherwise choose that the judge's bare word serves everybody."""

    def judge(received: Received) -> Reply:
        if b"refused text" in received.body:
            return failure(400, "the prompt has what this provider doesn't take")
        return plain(completion("1"))

    async with stack(judge) as each:
        await each.ask(SEED)
        for number in range(8):
            assert (await each.ask(f"{NEAR} refused text {number}")).reason == "judge_failed"
        assert (await each.ask()).reason == "judged_same"
        assert all("logprobs" in question.json for question in each.asked())


async def test_a_judge_whose_breaker_is_open_is_asked_nothing_and_costs_no_time() -> None:
    """Two targets: the judge's own fails until its breaker opens."""
    async with (
        ScriptedServer(lambda _: failure(500)) as broken,
        ScriptedServer(lambda _: plain(completion_body("An answer.", model="gpt-4o-mini", usage=DEAR_USAGE))) as sound,
    ):
        settings = load_settings(
            None,
            {
                "upstream": {
                    "targets": [
                        {"name": "sound", "base_url": sound.base_url, "provider": "openai"},
                        {"name": "broken", "base_url": broken.base_url, "provider": "openai"},
                    ],
                    "routes": [{"alias": "gpt-4o-mini", "target": "sound"}, {"alias": "judge", "target": "broken"}],
                    "retry": {"max_retries": 0},
                }
            },
        )
        upstream = HttpUpstream(settings.upstream, SystemClock())
        verifier = {"route": "judge", "from_similarity": 0.5, "deadline_s": 5.0, "usd_per_s": 0}
        served = rig(upstream, threshold=0.9, clock=SystemClock(), decision={"verifier": verifier})  # type: ignore[arg-type]
        try:
            await served.cache.complete(request(SEED))
            for letter in "abcdefghij":
                text = f"{NEAR} {letter}{letter}{letter}"
                assert (await served.cache.complete(request(text, no_store=True))).status is Status.MISS
            assert len(broken.requests) == 5
            assert len(sound.requests) == 11
            check_books(served, requests=11)
        finally:
            await upstream.close()
