"""Faults of a target, over a real socket: each ends in its own error, and no connection leaks."""

import asyncio
import errno
import gzip
import json
import random
from dataclasses import replace
from email.utils import formatdate

import httpx2
import pytest

from semcache.errors import ServerExhaustedError, UpstreamError, UpstreamRefusedError, UpstreamTimedOutError
from semcache.model import Answer, UpstreamCall
from semcache.protocols import replay_chunks
from semcache.settings import RetrySettings, Target, UpstreamSettings
from semcache.testing.clock import FakeClock
from semcache.testing.upstream import completion_body
from semcache.testing.upstream_server import Ending, Reply, ScriptedServer, events, failure, plain
from semcache.upstream import HttpUpstream

BODY = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}'
WHOLE = completion_body("A whole answer, told in several words.")
CHUNKS = tuple(replay_chunks(WHOLE, include_usage=True))
JSON_HEAD = {"content-type": "application/json"}
KINDS = ("plain", "stream")


class Sleeper:
    """Record how long each wait would be, without waiting."""

    def __init__(self):
        self.slept_s = []

    async def __call__(self, delay_s):
        self.slept_s.append(delay_s)


class Seen:
    """An observer that records its calls."""

    def __init__(self):
        self.outcomes, self.calls = [], 0
        self.swapped, self.breakers, self.reasons = [], [], []

    def upstream_attempted(self, target, outcome):
        self.outcomes.append(outcome)

    def upstream_done(self, target, duration_s):
        self.calls += 1

    def upstream_swapped(self, target):
        self.swapped.append(target)

    def breaker_changed(self, target, state):
        self.breakers.append((target, int(state)))

    def degraded_changed(self, reason):
        self.reasons.append(reason)


class Rig:
    """A router in front of a scripted server."""

    def __init__(self, server, *, base_url="", answer_bytes=1 << 20, environ=None, max_retries=2, **target):
        self.clock, self.sleep, self.seen = FakeClock(), Sleeper(), Seen()
        settings = UpstreamSettings.model_construct(
            targets=(Target(name="t", base_url=base_url or server.base_url, **target),),
            routes=(),
            retry=RetrySettings(max_retries=max_retries, backoff_s=0.5, max_backoff_s=8.0),
        )
        self.upstream = HttpUpstream(
            settings,
            self.clock,
            observer=self.seen,
            answer_bytes=answer_bytes,
            rng=random.Random(1),
            sleep=self.sleep,
            environ=environ or {},
        )

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.upstream.close()

    async def ask(self, kind, deadline_s=100.0):
        """Return the answer, and the chunks before it."""
        call = UpstreamCall(alias="m", body=BODY, deadline_s=deadline_s, request_id="r1")
        if kind == "plain":
            return await self.upstream.complete(call), []
        items = [item async for item in self.upstream.stream(call)]
        return items[-1], items[:-1]


def good(kind):
    return plain(WHOLE) if kind == "plain" else events(CHUNKS)


def raw(head, *pieces, ending=Ending.CUT):
    return Reply(status=0, pieces=(head, *pieces), ending=ending)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [429, 502, 503, 504, 529])
async def test_passing_trouble_is_tried_again(kind, status):
    async with ScriptedServer([failure(status), failure(status), good(kind)]) as server, Rig(server) as rig:
        answer, _ = await rig.ask(kind)
    assert answer.text == "A whole answer, told in several words."
    assert answer.attempts == 3
    assert len(rig.sleep.slept_s) == 2
    assert 0 <= rig.sleep.slept_s[0] <= 0.5
    assert 0 <= rig.sleep.slept_s[1] <= 1.0
    assert rig.seen.outcomes == [str(status), str(status), "ok"]
    assert rig.seen.calls == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [500, 501, 505])
async def test_other_server_errors_are_passed_on_at_once(kind, status):
    async with ScriptedServer([failure(status, "it burns")]) as server, Rig(server) as rig:
        with pytest.raises(UpstreamError) as caught:
            await rig.ask(kind)
    assert not isinstance(caught.value, UpstreamRefusedError)
    assert caught.value.http_status == status
    assert json.loads(caught.value.body)["error"]["message"] == "it burns"
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413, 422])
async def test_a_refusal_is_passed_on_as_itself(kind, status):
    # Where the cause may be the field that asks a stream for its usage, the target is asked once more without it.
    tries = 2 if kind == "stream" and status in {400, 422} else 1
    async with ScriptedServer([failure(status, "no such thing")] * 2) as server, Rig(server) as rig:
        with pytest.raises(UpstreamRefusedError) as caught:
            await rig.ask(kind)
    assert caught.value.http_status == status
    assert b"no such thing" in caught.value.body
    assert len(server.requests) == tries
    assert rig.seen.outcomes == [str(status)]


@pytest.mark.parametrize("kind", KINDS)
async def test_trouble_that_stays_is_told_as_the_last_try_told_it(kind):
    replies = [failure(503), failure(502), failure(429, "slow down", headers={"retry-after": "2"}), good(kind)]
    async with ScriptedServer(replies) as server, Rig(server) as rig:
        with pytest.raises(UpstreamRefusedError, match="429") as caught:
            await rig.ask(kind)
    assert caught.value.retry_after_s == 2.0
    assert len(server.requests) == 3


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_retry_after_is_waited_for(form):
    rig_clock = FakeClock()
    value = "3" if form == "seconds" else formatdate(rig_clock.wall() + 3, usegmt=True)
    async with ScriptedServer([failure(429, headers={"retry-after": value})]) as server, Rig(server) as rig:
        await rig.ask("plain")
    assert rig.sleep.slept_s == [3.0]


async def test_a_wait_in_milliseconds_is_waited_for_beside_a_longer_one_in_seconds():
    headers = {"retry-after": "60", "retry-after-ms": "3000"}
    async with ScriptedServer([failure(429, headers=headers)]) as server, Rig(server) as rig:
        await rig.ask("plain")
    assert rig.sleep.slept_s == [3.0]


@pytest.mark.parametrize(
    ("end", "path"),
    [
        ("", "/v1/chat/completions"),
        ("/", "/v1/chat/completions"),
        ("?api-version=2024-10-21", "/v1/chat/completions?api-version=2024-10-21"),
        ("/?api-version=1&x=a%2Fb", "/v1/chat/completions?api-version=1&x=a%2Fb"),
        ("/a%20b?v=1#part", "/v1/a%20b/chat/completions?v=1"),
        ("/chat/completions?api-version=1", "/v1/chat/completions?api-version=1"),
    ],
    ids=["plain", "a slash", "a query", "a slash and a query", "escapes and a fragment", "the whole path"],
)
async def test_the_path_is_appended_before_a_query(end, path):
    async with ScriptedServer([good("plain")]) as server, Rig(server, base_url=server.base_url + end) as rig:
        await rig.ask("plain")
    assert server.requests[0].path == path


@pytest.mark.parametrize(("retry_after", "deadline_s"), [("9", 100.0), ("3", 2.5)])
async def test_a_retry_after_beyond_patience_or_deadline_ends_the_tries(retry_after, deadline_s):
    async with ScriptedServer([failure(503, headers={"retry-after": retry_after})]) as server, Rig(server) as rig:
        with pytest.raises(UpstreamError) as caught:
            await rig.ask("plain", deadline_s=deadline_s)
    assert caught.value.retry_after_s == float(retry_after)
    assert rig.sleep.slept_s == []
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ending", [Ending.CUT, Ending.RESET])
async def test_a_connection_that_ends_unanswered_is_tried_again(kind, ending):
    dead = Reply(status=0, ending=ending)
    async with ScriptedServer([dead, good(kind)]) as server, Rig(server) as rig:
        answer, _ = await rig.ask(kind)
    assert answer.attempts == 2
    assert rig.seen.outcomes == ["unreachable", "ok"]

    async with ScriptedServer([dead, dead, dead]) as server, Rig(server) as rig:
        with pytest.raises(UpstreamError) as caught:
            await rig.ask(kind)
    assert caught.value.reason == "UPSTREAM_UNREACHABLE"
    assert caught.value.http_status is None


@pytest.mark.parametrize("kind", KINDS)
async def test_nobody_listening(kind):
    async with ScriptedServer() as server:
        gone = server.base_url
    async with Rig(None, base_url=gone) as rig:
        with pytest.raises(UpstreamError) as caught:
            await rig.ask(kind)
    assert caught.value.reason == "UPSTREAM_UNREACHABLE"
    assert rig.seen.outcomes == ["unreachable"] * 3


@pytest.mark.parametrize("kind", KINDS)
async def test_a_name_that_nothing_answers_to(kind):
    async with Rig(None, base_url="http://nowhere.invalid/v1", max_retries=0) as rig:
        with pytest.raises(UpstreamError) as caught:
            await rig.ask(kind)
    assert caught.value.reason == "UPSTREAM_UNREACHABLE"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_target_that_hangs_is_left_after_its_timeout(kind):
    silent = Reply(status=0, ending=Ending.HANG)
    async with ScriptedServer([silent]) as server, Rig(server, timeout_s=0.05) as rig:
        with pytest.raises(UpstreamTimedOutError, match=r"0\.05 s"):
            await rig.ask(kind)
        await server.abandoned()
    assert len(server.requests) == 1
    assert rig.seen.outcomes == ["timeout"]


@pytest.mark.parametrize("kind", KINDS)
async def test_the_calls_deadline_ends_it_too(kind):
    silent = Reply(status=0, ending=Ending.HANG)
    async with ScriptedServer([silent]) as server, Rig(server) as rig:
        with pytest.raises(UpstreamTimedOutError, match="deadline"):
            await rig.ask(kind, deadline_s=0.05)
        await server.abandoned()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_deadline_that_has_passed_asks_nobody_twice(kind):
    async with ScriptedServer([good(kind)]) as server, Rig(server) as rig:
        with pytest.raises(UpstreamTimedOutError):
            await rig.ask(kind, deadline_s=-1.0)
    assert len(rig.seen.outcomes) == 1


async def test_a_body_that_trickles_past_the_timeout_is_left():
    # The time for the whole answer ends although bytes keep coming.
    trickle = Reply(headers=JSON_HEAD, pieces=tuple(WHOLE[i : i + 1] for i in range(len(WHOLE))), piece_delay_s=0.02)
    async with ScriptedServer([trickle]) as server, Rig(server, timeout_s=0.2) as rig:
        with pytest.raises(UpstreamTimedOutError):
            await rig.ask("plain")
        await server.abandoned()


@pytest.mark.parametrize("kind", KINDS)
async def test_bytes_that_come_one_by_one_make_a_whole_answer(kind):
    reply = good(kind)
    octets = b"".join(reply.pieces)
    slow = Reply(headers=reply.headers, pieces=tuple(octets[i : i + 1] for i in range(len(octets))), chunked=True)
    async with ScriptedServer([slow]) as server, Rig(server) as rig:
        answer, chunks = await rig.ask(kind)
    assert answer.text == "A whole answer, told in several words."
    assert tuple(chunks) == (CHUNKS if kind == "stream" else ())


async def test_half_a_plain_answer_is_tried_again_and_never_taken_for_whole():
    half = Reply(headers={**JSON_HEAD, "content-length": str(len(WHOLE))}, pieces=(WHOLE[:40],), ending=Ending.CUT)
    async with ScriptedServer([half, plain(WHOLE)]) as server, Rig(server) as rig:
        answer, _ = await rig.ask("plain")
    assert answer.body == WHOLE
    assert rig.seen.outcomes == ["broken", "ok"]
    async with ScriptedServer([half] * 3) as server, Rig(server) as rig:
        with pytest.raises(UpstreamError) as caught:
            await rig.ask("plain")
    assert caught.value.reason == "UPSTREAM_BROKE_OFF"


@pytest.mark.parametrize("ending", [Ending.CUT, Ending.RESET])
async def test_half_a_stream_is_an_error_and_never_tried_again(ending):
    relayed = asyncio.Event()
    half = events(CHUNKS[:2], done=False, ending=ending, piece_gate=relayed)
    received = []
    async with ScriptedServer([half, events(CHUNKS)]) as server, Rig(server) as rig:
        call = UpstreamCall(alias="m", body=BODY, deadline_s=100.0, request_id="r1")
        with pytest.raises(UpstreamError) as caught:  # noqa: PT012 - the loop is what raises
            async for item in rig.upstream.stream(call):
                received.append(item)
                relayed.set()
    assert caught.value.reason == "UPSTREAM_BROKE_OFF"
    assert CHUNKS[: len(received)] == tuple(received)
    assert received
    assert len(server.requests) == 1
    assert rig.seen.outcomes == ["broken"]


async def test_a_stream_that_breaks_before_its_first_chunk_is_tried_again():
    early = Reply(
        headers={"content-type": "text/event-stream"}, pieces=(b": wait\n\n",), chunked=True, ending=Ending.CUT
    )
    async with ScriptedServer([early, events(CHUNKS)]) as server, Rig(server) as rig:
        answer, chunks = await rig.ask("stream")
    assert answer.attempts == 2
    assert tuple(chunks) == CHUNKS


async def test_a_stream_that_stalls_is_left():
    stalled = events(CHUNKS[:1], done=False, ending=Ending.HANG)
    async with ScriptedServer([stalled]) as server, Rig(server, stall_timeout_s=0.05) as rig:
        with pytest.raises(UpstreamTimedOutError):
            await rig.ask("stream")
        await server.abandoned()
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "reply", [events(CHUNKS[:2], done=False), events(CHUNKS[:1])], ids=["without done", "without content"]
)
async def test_a_clean_end_without_a_finish_reason_isnt_whole(reply):
    async with ScriptedServer([reply]) as server, Rig(server) as rig:
        with pytest.raises(UpstreamError) as caught:
            await rig.ask("stream")
    assert caught.value.reason == "UPSTREAM_INCOMPLETE"
    assert len(server.requests) == 1


async def test_an_end_that_says_done_is_whole_without_a_finish_reason():
    async with ScriptedServer([events(CHUNKS[:2])]) as server, Rig(server) as rig:
        answer, chunks = await rig.ask("stream")
    assert answer.finish_reason == "stop"
    assert answer.text
    assert tuple(chunks) == CHUNKS[:2]


async def test_a_clean_end_without_done_is_whole_once_the_finish_reason_came():
    async with ScriptedServer([events(CHUNKS, done=False)]) as server, Rig(server) as rig:
        answer, chunks = await rig.ask("stream")
    assert answer.finish_reason == "stop"
    assert tuple(chunks) == CHUNKS


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream_that_ends_at_once_or_an_empty_body_is_no_answer(kind):
    reply = plain(b"") if kind == "plain" else events((), done=False)
    async with ScriptedServer([reply]) as server, Rig(server) as rig:
        with pytest.raises(UpstreamError):
            await rig.ask(kind)
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("body", "content_type", "message"),
    [
        (b"<!DOCTYPE html><p>Sign in</p>", "text/html", "HTML"),
        (b"  <html></html>", "application/json", "HTML"),
        (b"{not json", "application/json", "no JSON"),
        (b'{"choices": [{"message": {"content": "\xff"}}]}', "application/json", "not UTF-8"),
        (b"[]", "application/json", "no JSON object"),
        (b'{"id": NaN}', "application/json", "no JSON"),
        (b"[" * 100_000, "application/json", "no JSON"),
        (b'{"choices": []}', "application/json", "without choices"),
        (b'{"object": "list"}', "application/json", "without choices"),
        (b'{"choices": [null]}', "application/json", "without a message"),
        (b'{"choices": [{"message": {}}, {}]}', "application/json", "without a message"),
        (b'{"error": {"message": "over quota", "code": 429}}', "application/json", "over quota"),
        (b'{"error": "plain words"}', "application/json", "plain words"),
    ],
)
async def test_a_success_that_is_no_answer_says_what_came(kind, body, content_type, message):
    async with ScriptedServer([plain(body, content_type=content_type)]) as server, Rig(server) as rig:
        with pytest.raises(UpstreamError, match=message) as caught:
            await rig.ask(kind)
    assert caught.value.http_status == 200
    assert caught.value.body == body[:2048]
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{not json", "no JSON"),
        (b'{"choices": [{"delta": {"content": "\xff"}}]}', "not UTF-8"),
        (b'{"choices": {}}', "no list"),
        (b'{"choices": [1]}', "no object"),
        (b'{"choices": [{"delta": []}]}', "no object"),
        (b'{"choices": [{"index": 4096}]}', "index"),
        (b'{"choices": [{"index": 1e9}]}', "index"),
        (b'{"choices": [{"delta": {"tool_calls": ["x"]}}]}', "no object"),
        (b'{"error": {"message": "the model fell over"}}', "the model fell over"),
        (b"<html>", "HTML"),
    ],
)
async def test_a_chunk_that_is_none_ends_the_stream_and_isnt_passed_on(data, message):
    received = []
    async with ScriptedServer([events([*CHUNKS[:2], data])]) as server, Rig(server) as rig:
        call = UpstreamCall(alias="m", body=BODY, deadline_s=100.0, request_id="r1")
        with pytest.raises(UpstreamError, match=message):  # noqa: PT012 - the loop is what raises
            async for item in rig.upstream.stream(call):
                received.append(item)  # noqa: PERF401 - what came before the error is asserted on
    assert tuple(received) == CHUNKS[:2]
    assert len(server.requests) == 1


async def test_an_error_event_ends_the_stream():
    reply = Reply(
        headers={"content-type": "text/event-stream"},
        pieces=(b"data: " + CHUNKS[0] + b"\n\n", b'event: error\ndata: {"message": "gone"}\n\n'),
        chunked=True,
    )
    async with ScriptedServer([reply]) as server, Rig(server) as rig:
        with pytest.raises(UpstreamError, match="error event") as caught:
            await rig.ask("stream")
    assert caught.value.body == b'{"message": "gone"}'


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunked", [True, False])
async def test_an_answer_beyond_the_limit_is_left_while_it_comes(kind, chunked):
    if kind == "plain":
        reply = Reply(headers=JSON_HEAD, pieces=(b" " * 4096,) * 4, chunked=chunked, ending=Ending.HANG)
    else:
        pieces = tuple(b"data: " + CHUNKS[1] + b"\n\n" for _ in range(100))
        reply = Reply(headers={"content-type": "text/event-stream"}, pieces=pieces, chunked=chunked, ending=Ending.HANG)
    async with ScriptedServer([reply]) as server, Rig(server, answer_bytes=8192) as rig:
        with pytest.raises(UpstreamError) as caught:
            await rig.ask(kind)
        await server.abandoned()
    assert caught.value.reason == "ANSWER_TOO_LARGE"
    assert len(server.requests) == 1


async def test_an_event_that_never_ends_is_bounded_too():
    reply = Reply(
        headers={"content-type": "text/event-stream"},
        pieces=(b"data: " + b"x" * 9000,),
        chunked=True,
        ending=Ending.HANG,
    )
    async with ScriptedServer([reply]) as server, Rig(server, answer_bytes=8192) as rig:
        with pytest.raises(UpstreamError) as caught:
            await rig.ask("stream")
        await server.abandoned()
    assert caught.value.reason == "ANSWER_TOO_LARGE"


async def test_a_compressed_bomb_is_bounded_by_what_it_unpacks_to():
    bomb = gzip.compress(b" " * 5_000_000)
    reply = plain(bomb, headers={"content-encoding": "gzip"})
    async with ScriptedServer([reply]) as server, Rig(server) as rig:
        with pytest.raises(UpstreamError) as caught:
            await rig.ask("plain")
    assert len(bomb) < 8192
    assert caught.value.reason == "ANSWER_TOO_LARGE"
    assert server.requests[0].headers["accept-encoding"] == "identity"


async def test_an_answer_that_announces_too_much_is_left_before_it_comes():
    reply = Reply(headers={**JSON_HEAD, "content-length": "9" * 12}, pieces=(b"{",), ending=Ending.HANG)
    async with ScriptedServer([reply]) as server, Rig(server) as rig:
        with pytest.raises(UpstreamError) as caught:
            await rig.ask("plain")
        await server.abandoned()
    assert caught.value.reason == "ANSWER_TOO_LARGE"


@pytest.mark.parametrize("kind", KINDS)
async def test_of_a_huge_error_body_the_start_is_read_and_no_more(kind):
    reply = plain(b"x" * 1_000_000, status=500, headers={"content-length": "2000000"}, ending=Ending.HANG)
    async with ScriptedServer([reply]) as server, Rig(server) as rig:
        with pytest.raises(UpstreamError) as caught:
            await rig.ask(kind)
        await server.abandoned()
    assert caught.value.http_status == 500
    assert len(caught.value.body) == 65_536


async def test_an_error_whose_body_breaks_off_is_still_that_error():
    reply = plain(b"half", status=500, headers={"content-length": "100"}, ending=Ending.CUT)
    async with ScriptedServer([reply]) as server, Rig(server) as rig:
        with pytest.raises(UpstreamError) as caught:
            await rig.ask("plain")
    assert (caught.value.http_status, caught.value.body) == (500, b"half")


@pytest.mark.parametrize("content_type", ["text/plain", "application/octet-stream", "text/html; charset=utf-8"])
async def test_a_plain_answer_under_a_wrong_content_type_is_an_answer(content_type):
    async with ScriptedServer([plain(WHOLE, content_type=content_type)]) as server, Rig(server) as rig:
        answer, _ = await rig.ask("plain")
    assert answer.body == WHOLE


async def test_a_target_that_cannot_stream_answers_a_stream_all_the_same():
    async with ScriptedServer([plain(WHOLE)]) as server, Rig(server) as rig:
        answer, chunks = await rig.ask("stream")
    assert isinstance(answer, Answer)
    assert answer.body == WHOLE
    assert tuple(chunks) == CHUNKS


async def test_an_event_stream_for_a_plain_call_is_no_answer():
    async with ScriptedServer([events(CHUNKS)]) as server, Rig(server) as rig:
        with pytest.raises(UpstreamError, match="no JSON"):
            await rig.ask("plain")


@pytest.mark.parametrize("kind", KINDS)
async def test_bytes_that_are_no_http(kind):
    async with ScriptedServer([raw(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")]) as server, Rig(server, max_retries=0) as rig:
        with pytest.raises(UpstreamError) as caught:
            await rig.ask(kind)
    assert caught.value.reason == "UPSTREAM_UNREACHABLE"


@pytest.mark.parametrize("status", [301, 307])
async def test_redirects_arent_followed(status):
    async with ScriptedServer() as elsewhere:
        reply = plain(b"", status=status, headers={"location": elsewhere.base_url + "/chat/completions"})
        async with ScriptedServer([reply]) as server, Rig(server) as rig:
            with pytest.raises(UpstreamError, match="base_url") as caught:
                await rig.ask("plain")
    assert caught.value.http_status == status
    assert elsewhere.requests == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [202, 204, 205, 206, 207, 226, 299])
async def test_a_success_that_is_no_whole_answer_is_a_failure(status, kind):
    reply = replace(good(kind), status=status)
    async with ScriptedServer([reply]) as server, Rig(server, max_retries=0) as rig:
        with pytest.raises(UpstreamError, match=f"answered with {status}.*which is no answer") as caught:
            await rig.ask(kind)
    assert caught.value.http_status == status
    assert "status 200" in (caught.value.hint or "")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [200, 201, 203])
async def test_a_whole_answer_may_have_been_created_or_passed_on(status, kind):
    async with ScriptedServer([replace(good(kind), status=status)]) as server, Rig(server, max_retries=0) as rig:
        await rig.ask(kind)


async def test_a_part_of_an_answer_is_charged_as_a_lost_one():
    call = UpstreamCall(alias="m", body=BODY, deadline_s=100.0, request_id="r1")
    reply = replace(good("plain"), status=206)
    async with ScriptedServer([reply]) as server, Rig(server, max_retries=0) as rig:
        with pytest.raises(UpstreamError):
            await rig.upstream.complete(call)
    assert [lost.text for lost in call.lost] == ["A whole answer, told in several words."]


async def test_a_key_that_the_target_tells_back_stays_secret():
    key = "sk-very-secret-key"
    reply = failure(401, f"Incorrect API key provided: {key}")
    async with (
        ScriptedServer([reply]) as server,
        Rig(server, api_key_env="PATH", environ={"PATH": key}) as rig,
    ):
        with pytest.raises(UpstreamRefusedError) as caught:
            await rig.ask("plain")
    assert server.requests[0].headers["authorization"] == f"Bearer {key}"
    assert key.encode() not in caught.value.body
    assert key not in str(caught.value) + repr(dict(caught.value.metadata))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_call_that_is_cancelled_closes_its_connection(kind):
    hang = (
        Reply(status=0, ending=Ending.HANG) if kind == "plain" else events(CHUNKS[:1], done=False, ending=Ending.HANG)
    )
    async with ScriptedServer([hang]) as server, Rig(server) as rig:
        task = asyncio.create_task(rig.ask(kind))
        await server.received()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.abandoned()
        assert rig.seen.outcomes == ["cancelled"]
        # The router still works.
        answer, _ = await rig.ask(kind)
    assert answer.text == "Answer to: hi"


async def test_a_stream_that_is_left_early_closes_its_connection():
    hang = events(CHUNKS[:1], done=False, ending=Ending.HANG)
    async with ScriptedServer([hang]) as server, Rig(server) as rig:
        stream = rig.upstream.stream(UpstreamCall(alias="m", body=BODY, deadline_s=100.0, request_id="r1"))
        assert await anext(stream) == CHUNKS[0]
        await stream.aclose()
        await server.abandoned()
    assert rig.seen.outcomes == ["cancelled"]


async def test_a_cookie_of_one_call_isnt_shown_on_the_next():
    reply = plain(WHOLE, headers={"set-cookie": "session=tenant-a; Path=/"})
    async with ScriptedServer([reply, plain(WHOLE)]) as server, Rig(server) as rig:
        await rig.ask("plain")
        await rig.ask("plain")
    assert "cookie" not in server.requests[1].headers


@pytest.mark.parametrize("kind", KINDS)
async def test_a_kept_connection_that_the_target_closed_is_replaced(kind):
    async with ScriptedServer([good(kind), good(kind)]) as server, Rig(server) as rig:
        await rig.ask(kind)
        await rig.ask(kind)
        assert [request.connection for request in server.requests] == [1, 1]
    async with ScriptedServer([plain(WHOLE, ending=Ending.CUT), good(kind)]) as server, Rig(server) as rig:
        await rig.ask("plain")
        await server.abandoned()
        await rig.ask(kind)
    assert [request.connection for request in server.requests] == [1, 2]


def _wrapped(kind, cause):
    error = kind("wrapped by the HTTP client")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "failure",
    [
        MemoryError(),
        _wrapped(httpx2.ReadError, MemoryError()),
        _wrapped(httpx2.ConnectError, OSError(errno.EMFILE, "too many open files")),
        _wrapped(httpx2.ConnectError, ExceptionGroup("tries", [OSError(errno.ENOBUFS, "no buffers")])),
        _wrapped(httpx2.ConnectError, OSError(errno.EADDRNOTAVAIL, "no local port")),
    ],
    ids=["memory", "memory-read", "descriptors", "buffers", "ports"],
)
async def test_what_this_process_lacks_is_no_targets_fault(kind, failure, monkeypatch):
    async with ScriptedServer([good(kind)]) as server, Rig(server) as rig:

        async def send(*_, **__):
            raise failure

        with monkeypatch.context() as patch:
            patch.setattr(httpx2.AsyncClient, "send", send)
            for _ in range(10):  # Twice what opens a breaker.
                with pytest.raises((ServerExhaustedError, MemoryError)):
                    await rig.ask(kind)
        assert rig.seen.outcomes == ["own_failure"] * 10
        assert rig.seen.breakers == [("t", 0)]
        assert rig.sleep.slept_s == []
        answer, _ = await rig.ask(kind)
        assert answer.attempts == 1


async def test_a_refused_connection_still_is_the_targets(monkeypatch):
    async def send(*_, **__):
        raise _wrapped(httpx2.ConnectError, OSError(errno.ECONNREFUSED, "refused"))

    async with ScriptedServer([]) as server, Rig(server, max_retries=0) as rig:
        monkeypatch.setattr(httpx2.AsyncClient, "send", send)
        for _ in range(5):
            with pytest.raises(UpstreamError, match="can't be reached"):
                await rig.ask("plain")
        assert rig.seen.breakers[-1] == ("t", 2)


async def test_slow_calls_of_one_tenant_leave_places_for_another():
    gate = asyncio.Event()

    def script(request):
        slow = request.headers["x-request-id"] == "slow"
        return plain(WHOLE, gate=gate if slow else None)

    async with ScriptedServer(script) as server, Rig(server, max_connections=8) as rig:
        slow = [
            asyncio.create_task(
                rig.upstream.complete(
                    UpstreamCall(alias="m", body=BODY, deadline_s=100.0, request_id="slow", tenant="a")
                )
            )
            for _ in range(8)
        ]
        await server.received(6)
        async with asyncio.timeout(5):
            for _ in range(3):
                call = UpstreamCall(alias="m", body=BODY, deadline_s=100.0, request_id="quick", tenant="b")
                assert (await rig.upstream.complete(call)).attempts == 1
        assert not any(task.done() for task in slow)
        gate.set()
        assert [answer.attempts for answer in await asyncio.gather(*slow)] == [1] * 8
