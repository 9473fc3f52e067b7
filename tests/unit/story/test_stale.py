"""Stale answers: which expired entry answers which request after which failure, and how it is told and booked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from semcache.errors import (
    BudgetExceededError,
    NotFoundError,
    OverLimitError,
    OverloadedError,
    SemcacheError,
    ServerExhaustedError,
    UnknownModelError,
    UpstreamError,
    UpstreamRefusedError,
    UpstreamTimedOutError,
)
from semcache.model import (
    CacheControl,
    CacheMode,
    Finished,
    LostAnswer,
    Purpose,
    Request,
    Response,
    Selector,
    Started,
    Status,
    Usage,
)
from semcache.testing.upstream import Scripted, ScriptedUpstream
from tests.support.caches import ANSWER_NANOUSD, MODEL, Rig, check_books, deposit, request, rig
from tests.support.stored import all_entries

ASKED = "What is a cache?"
TTL_S = 86_400.0
"""The default time to live."""
WINDOW_S = 600.0
UNREACHABLE = UpstreamError("The upstream 'main' can't be reached (ConnectError).", reason="UPSTREAM_UNREACHABLE")


class Down(ScriptedUpstream):
    """An upstream that answers until a test takes it down with an error."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.error: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.lost: LostAnswer | None = None
        self.break_after: int | None = None

    def _answer(self, call: object) -> Scripted:
        if self.lost is not None:
            call.lost.append(self.lost)  # type: ignore[attr-defined]
        return Scripted("An answer.", error=self.error, gate=self.gate, break_after=self.break_after)


def down(served: Rig, error: Exception = UNREACHABLE) -> None:
    assert isinstance(served.upstream, Down)
    served.upstream.error = error


async def expired(*, window_s: float = WINDOW_S, past_s: float = 10.0, text: str = ASKED) -> Rig:
    """A cache whose one entry expired `past_s` seconds ago."""
    served = rig(Down(), serve_stale_s=window_s)
    await ask(served, text)
    served.clock.advance(TTL_S + past_s)
    return served


async def ask(served: Rig, text: str = ASKED, **fields: object) -> Response:
    return await served.cache.complete(request(text, **fields))


async def refused(served: Rig, asked: Request | None = None) -> SemcacheError:
    with pytest.raises(SemcacheError) as caught:
        await served.cache.complete(asked or request(ASKED))
    return caught.value


OUTAGES = {
    "breakers open": UpstreamError("No upstream is asked now.", reason="UPSTREAM_UNAVAILABLE", retry_after_s=1.0),
    "no connection": UNREACHABLE,
    "the exchange failed": UpstreamError("The exchange failed (ProxyError)."),
    "too late": UpstreamTimedOutError("The upstream didn't answer before the call's deadline."),
    "broken off": UpstreamError("It broke off.", http_status=200, reason="UPSTREAM_BROKE_OFF"),
    "half a stream": UpstreamError("It ended early.", http_status=200, reason="UPSTREAM_INCOMPLETE"),
    "500": UpstreamError("The upstream failed with 500.", http_status=500),
    "503": UpstreamError("The upstream failed with 503.", http_status=503, retry_after_s=5.0),
}


@pytest.mark.parametrize("outage", OUTAGES)
async def test_an_expired_entry_answers_while_the_upstream_is_out_of_reach(outage: str) -> None:
    served = await expired()
    down(served, OUTAGES[outage])
    answer = await ask(served)
    assert (answer.status, answer.reason) == (Status.STALE, OUTAGES[outage].reason.lower())
    assert answer.answer is not None
    assert (answer.answer.text, answer.stale_s, answer.age_s) == ("An answer.", 10.0, TTL_S + 10.0)
    assert "expired 10 s ago" in answer.detail
    assert (answer.cost.total_nanousd, answer.saved.total_nanousd) == (0, 0)
    assert check_books(served, requests=2) == ANSWER_NANOUSD
    assert served.metrics.saved_nanousd() == 0
    assert served.cache.snapshot().hit_ratio == 0


NO_OUTAGES = {
    "the request's fault": UpstreamRefusedError("The upstream refused with 400.", http_status=400),
    "another model": UpstreamRefusedError("The upstream refused with 404.", http_status=404),
    "the server's key": UpstreamRefusedError("The upstream refused with 401.", http_status=401),
    "too many requests": UpstreamRefusedError("The upstream refused with 429.", http_status=429, retry_after_s=1.0),
    "no answer": UpstreamError("The upstream sent an answer that is HTML.", http_status=200),
    "a redirect": UpstreamError("The upstream answered with 302.", http_status=302),
    "too large": UpstreamError("The answer is too large.", http_status=200, reason="ANSWER_TOO_LARGE"),
    "no place": OverloadedError("There is no place at the target."),
    "no memory": ServerExhaustedError("The server itself ran out of memory."),
    "no budget": BudgetExceededError("The budget is spent.", retry_after_s=1.0, hint="", metadata={}),
    "barred": OverLimitError("A budget bars the model.", reason="MODELS_BARRED"),
    "no route": UnknownModelError("No route serves the model."),
}


@pytest.mark.parametrize("failure", NO_OUTAGES)
async def test_a_failure_of_another_kind_reaches_the_caller(failure: str) -> None:
    served = await expired()
    down(served, NO_OUTAGES[failure])
    assert await refused(served) is NO_OUTAGES[failure]
    assert served.metrics.counts()[Status.STALE] == 0


async def test_a_call_for_which_another_target_was_reached_reaches_the_caller() -> None:
    served = await expired()
    error = UpstreamError("The second target failed with 503.", http_status=503)
    error.reached = True
    down(served, error)
    assert await refused(served) is error


async def test_by_default_no_expired_entry_answers() -> None:
    served = await expired(window_s=0.0)
    down(served)
    assert await refused(served) is UNREACHABLE


@pytest.mark.parametrize(("past_s", "answers"), [(WINDOW_S - 1, True), (WINDOW_S, False), (10 * TTL_S, False)])
async def test_the_window_ends(past_s: float, answers: bool) -> None:
    served = await expired(past_s=past_s)
    down(served)
    if answers:
        assert (await ask(served)).stale_s == past_s
    else:
        assert await refused(served) is UNREACHABLE


@pytest.mark.parametrize("mode", [CacheMode.REFRESH, CacheMode.BYPASS, CacheMode.CACHE_ONLY])
async def test_a_wish_for_a_fresh_answer_or_for_no_upstream_is_kept(mode: CacheMode) -> None:
    served = await expired()
    down(served)
    error = await refused(served, request(ASKED, mode=mode))
    assert error is UNREACHABLE or (isinstance(error, NotFoundError) and error.reason == "CACHE_ONLY_MISS")


@pytest.mark.parametrize("fields", [{"mode": CacheMode.EXACT_ONLY}, {"no_store": True}])
async def test_what_may_read_the_cache_may_be_answered_so(fields: dict[str, object]) -> None:
    served = await expired()
    down(served)
    assert (await ask(served, **fields)).status is Status.STALE


@pytest.mark.parametrize(("max_age_s", "answers"), [(TTL_S, False), (TTL_S + 60, True)])
async def test_an_entry_older_than_the_callers_maximum_is_not_served(max_age_s: float, answers: bool) -> None:
    served = await expired()
    down(served)
    body = request(ASKED).body
    asked = Request(tenant="acme", body=body, control=CacheControl(max_age_s=max_age_s))
    if answers:
        assert (await served.cache.complete(asked)).status is Status.STALE
    else:
        assert await refused(served, asked) is UNREACHABLE


async def _invalidate(served: Rig) -> None:
    await served.cache.invalidate(Selector("acme", everything=True), apply=True)


async def _tell_that_it_is_wrong(served: Rig) -> None:
    answer = await ask(served)
    assert answer.status is Status.STALE
    assert (await served.cache.report_verdict("acme", answer.hit_id, right=False)).removed


@pytest.mark.parametrize("correct", [_invalidate, _tell_that_it_is_wrong])
async def test_what_was_invalidated_or_reported_wrong_is_not_served(correct: Callable[[Rig], object]) -> None:
    served = await expired()
    down(served)
    await correct(served)  # type: ignore[misc]
    assert await refused(served) is UNREACHABLE


async def test_a_verdict_on_the_hit_before_it_expired_counts() -> None:
    served = rig(Down(), serve_stale_s=WINDOW_S)
    await ask(served)
    served.clock.advance(TTL_S - 60)
    hit = await ask(served)
    served.clock.advance(120)
    await served.cache.report_verdict("acme", hit.hit_id, right=False)
    down(served)
    assert await refused(served) is UNREACHABLE


@pytest.mark.parametrize(
    "fields", [{"tenant": "globex"}, {"namespace": "other"}, {"model": "gpt-4o"}, {"text": "What is a cache??"}]
)
async def test_only_the_same_request_of_the_same_tenant_is_answered_so(fields: dict[str, str]) -> None:
    served = await expired()
    down(served)
    assert await refused(served, request(fields.pop("text", ASKED), **fields)) is UNREACHABLE


async def test_what_uses_no_tier_is_not_answered_so() -> None:
    served = await expired(text="What time is it now?")
    down(served)
    assert await refused(served, request("What time is it now?")) is UNREACHABLE


async def test_followers_are_answered_each_with_a_line_and_a_hit_of_its_own() -> None:
    served = await expired()
    down(served)
    served.upstream.gate = gate = asyncio.Event()  # type: ignore[attr-defined]
    asking = [asyncio.create_task(ask(served)) for _ in range(3)]
    await served.upstream.called(2)
    gate.set()
    answers = await asyncio.gather(*asking)
    assert {answer.status for answer in answers} == {Status.STALE}
    assert len({answer.hit_id for answer in answers}) == 3
    assert len(served.upstream.calls) == 2
    check_books(served, requests=4)


async def test_a_paraphrase_of_a_failing_request_is_answered_by_its_own_entry() -> None:
    served = rig(Down(), serve_stale_s=WINDOW_S)
    first, second = "How do I reset my password please?", "How do I reset my password?"
    await ask(served, first)
    await served.cache.complete(request(second, mode=CacheMode.REFRESH))
    served.clock.advance(TTL_S + 10)
    await served.store.entries.invalidate(Selector("acme", entry_ids=(1,)), apply=True)
    down(served)
    served.upstream.gate = gate = asyncio.Event()  # type: ignore[attr-defined]
    leading = asyncio.create_task(ask(served, first))
    await served.upstream.called(3)
    waiting = asyncio.create_task(ask(served, second))
    for _ in range(30):
        await asyncio.sleep(0)
    gate.set()
    with pytest.raises(UpstreamError):
        await leading
    assert (await waiting).status is Status.STALE
    assert len(served.upstream.calls) == 3


async def _stream(served: Rig) -> tuple[list[Response], str]:
    told: list[Response] = []
    text = ""
    async for frame in served.cache.stream(request(ASKED)):
        if isinstance(frame, Started | Finished):
            told.append(frame.response)
        else:
            text += "".join(choice["delta"].get("content") or "" for choice in json.loads(frame)["choices"])
    return told, text


async def test_a_stream_that_failed_before_its_first_chunk_is_a_replay() -> None:
    served = await expired()
    down(served)
    told, text = await _stream(served)
    assert [response.status for response in told] == [Status.STALE, Status.STALE]
    assert text == "An answer."


async def test_a_stream_that_failed_later_fails() -> None:
    served = await expired()
    down(served)
    served.upstream.break_after = 2  # type: ignore[attr-defined]
    with pytest.raises(UpstreamError):
        await _stream(served)
    assert served.metrics.counts()[Status.ERROR] == 1


async def test_a_stream_that_is_answered_is_told_as_ever() -> None:
    served = await expired()
    told, text = await _stream(served)
    assert [response.status for response in told] == [Status.MISS, Status.MISS]
    assert text == "An answer."


async def test_what_the_failed_call_cost_has_a_line_of_its_own() -> None:
    served = await expired()
    down(served)
    served.upstream.lost = LostAnswer(MODEL, Usage(20, 0, 10), "half", 4, MODEL)  # type: ignore[attr-defined]
    assert (await ask(served)).status is Status.STALE
    assert check_books(served, requests=2) == 2 * ANSWER_NANOUSD
    purposes = [line.purpose for line in served.store.ledger.records(None, 0, 1e12)]
    assert sorted(purposes) == [Purpose.LOST_ANSWER, Purpose.REQUEST, Purpose.REQUEST]


async def test_an_answer_that_was_stored_during_the_call_is_an_exact_hit() -> None:
    served = await expired()
    down(served)
    served.upstream.gate = gate = asyncio.Event()  # type: ignore[attr-defined]
    asking = asyncio.create_task(ask(served))
    await served.upstream.called(2)
    await served.cache.store(deposit(served, request(ASKED), "fresh"))
    gate.set()
    answer = await asking
    assert (answer.status, answer.answer.text if answer.answer else "") == (Status.EXACT_HIT, "fresh")


async def test_the_upstream_answers_again_once_it_is_back() -> None:
    served = await expired()
    down(served)
    assert (await ask(served)).status is Status.STALE
    served.upstream.error = None  # type: ignore[attr-defined]
    assert (await ask(served)).status is Status.MISS
    assert (await ask(served)).status is Status.EXACT_HIT


async def test_a_lookup_asks_no_upstream_and_gets_no_stale_answer() -> None:
    served = await expired()
    looked = await served.cache.lookup(request(ASKED))
    assert looked.response.status is Status.MISS


async def test_what_is_kept_is_found_by_its_exact_key_alone() -> None:
    served = await expired(window_s=10 * TTL_S, past_s=7200.0)
    assert await served.store.sweep() == 0
    down(served)
    assert (await ask(served)).status is Status.STALE
    assert await all_entries(served.store.entries, "acme") == []
    assert (await served.cache.invalidate(Selector("acme", everything=True), apply=False)).count == 0
    assert (await served.cache.explain(request(ASKED))).status is Status.MISS
    similar = await refused(served, request("What is a cache, please?"))
    assert similar is UNREACHABLE


@pytest.mark.parametrize("jump_s", [-20.0, 20.0])
async def test_after_a_jump_of_the_clock_nothing_stale_is_served_for_an_hour(jump_s: float) -> None:
    served = await expired(window_s=20 * TTL_S, past_s=100.0)
    down(served)
    assert (await ask(served)).status is Status.STALE
    served.clock.jump_wall(jump_s)
    assert await refused(served) is UNREACHABLE
    served.clock.advance(3599.0)
    assert await refused(served) is UNREACHABLE
    served.clock.advance(1.0)
    assert (await ask(served)).status is Status.STALE


async def test_the_log_tells_of_the_beginning_alone() -> None:
    served = await expired()
    down(served)
    with capture_logs() as logs:
        for _ in range(3):
            await ask(served)
        served.clock.advance(400)
        await ask(served)
    told = [line for line in logs if line["event"] == "story.stale_serving_began"]
    assert [line["log_level"] for line in told] == ["warning", "warning"]
    assert told[0]["reason"] == "UPSTREAM_UNREACHABLE"
