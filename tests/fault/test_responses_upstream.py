"""The responses API over a real socket to a target: what is sent, what is relayed, and the ways to fail."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from semcache.errors import UnknownModelError, UpstreamError, UpstreamRefusedError, UpstreamTimedOutError
from semcache.model import Answer, ApiProtocol, UpstreamCall
from semcache.protocols.responses import FORM
from semcache.server.clock import SystemClock
from semcache.settings import Target, UpstreamSettings
from semcache.testing.responses import response_body
from semcache.testing.responses_server import echo_response, typed_events
from semcache.testing.upstream import DEFAULT_USAGE
from semcache.testing.upstream_server import Ending, Handler, Reply, ScriptedServer, failure, plain
from semcache.upstream import HttpUpstream

KINDS = pytest.mark.parametrize("kind", ["plain", "stream"])
WHOLE = response_body("A whole answer, told in several words, so that it has pieces.", model="m", usage=DEFAULT_USAGE)
EVENTS = tuple(FORM.replay(WHOLE).chunks(include_usage=True))
DELTA = next(number for number, event in enumerate(EVENTS) if b"output_text.delta" in event)
CLOCK = SystemClock()


class Rig:
    def __init__(self, *servers: ScriptedServer, max_retries: int = 0, **target: Any) -> None:
        targets = tuple(
            Target(name=f"t{number}", base_url=server.base_url, **target) for number, server in enumerate(servers)
        )
        routes = [{"alias": "fast", "targets": [{"target": each.name, "model": "m"} for each in targets]}]
        settings = UpstreamSettings.model_validate(
            {
                "targets": [each.model_dump() for each in targets],
                "routes": routes,
                "retry": {"max_retries": max_retries},
            }
        )
        self.upstream = HttpUpstream(settings, CLOCK, rng=random.Random(0), environ={"KEY": "sk-1"})
        self.call = self.new_call()

    def new_call(self, **fields: Any) -> UpstreamCall:
        body = json.dumps({"model": "fast", "input": "What is a cache?", **fields}).encode()
        return UpstreamCall("fast", body, CLOCK.monotonic() + 30, "r-1", protocol=ApiProtocol.RESPONSES)

    async def ask(self, kind: str, **fields: Any) -> tuple[Answer, list[bytes]]:
        self.call = self.new_call(**fields)
        if kind == "plain":
            return await self.upstream.complete(self.call), []
        *chunks, answer = [piece async for piece in self.upstream.stream(self.call)]
        assert isinstance(answer, Answer)
        return answer, [chunk for chunk in chunks if isinstance(chunk, bytes)]


@asynccontextmanager
async def rig(script: Handler | Sequence[Reply], **fields: Any) -> AsyncIterator[tuple[Rig, ScriptedServer]]:
    async with ScriptedServer(script) as server:
        made = Rig(server, **fields)
        try:
            yield made, server
        finally:
            await made.upstream.close()


@KINDS
async def test_a_call_is_sent_to_its_path_and_its_answer_read(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "sk-1")
    async with rig(echo_response, api_key_env="KEY") as (asking, server):
        answer, chunks = await asking.ask(kind, stream=kind == "stream", temperature=1.0)
        (sent,) = server.requests
    assert (sent.path, sent.headers["authorization"]) == ("/v1/responses", "Bearer sk-1")
    assert sent.body == asking.call.body.replace(b'"fast"', b'"m"')
    assert (answer.text, answer.usage, answer.route) == ("Answer to: What is a cache?", DEFAULT_USAGE, "t0")
    assert (answer.model, answer.target_model, answer.finish_reason, answer.flaw) == ("m", "m", "completed", "")
    assert len(chunks) == (9 if kind == "stream" else 0)


@KINDS
async def test_calls_share_one_connection(kind: str) -> None:
    async with rig(echo_response) as (asking, server):
        for _ in range(3):
            await asking.ask(kind)
        assert {request.connection for request in server.requests} == {1}


@pytest.mark.parametrize("ending", [b"", b"data: [DONE]\n\n", b": bye\n\n"])
async def test_what_follows_the_last_event_is_no_part_of_the_answer(ending: bytes) -> None:
    reply = typed_events(EVENTS)
    ended = Reply(headers=reply.headers, pieces=(*reply.pieces, *([ending] if ending else [])), chunked=True)
    async with rig([ended, ended]) as (asking, server):
        for _ in range(2):
            answer, chunks = await asking.ask("stream")
            assert (answer.body, tuple(chunks)) == (json_of(WHOLE), EVENTS)
        assert {request.connection for request in server.requests} == {1}


async def test_a_stream_that_stays_open_after_its_last_event_is_whole() -> None:
    async with rig([typed_events(EVENTS, ending=Ending.HANG)]) as (asking, _):
        answer, chunks = await asking.ask("stream")
    assert (answer.body, tuple(chunks)) == (json_of(WHOLE), EVENTS)


def json_of(body: bytes) -> bytes:
    return json.dumps(json.loads(body), ensure_ascii=False, separators=(",", ":")).encode()


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
async def test_a_stream_may_be_cut_anywhere(size: int) -> None:
    whole = b"".join(typed_events(EVENTS).pieces).replace(b"\n", b"\r\n")
    pieces = tuple(whole[start : start + size] for start in range(0, len(whole), size))
    async with rig([Reply(headers={"content-type": "text/event-stream"}, pieces=pieces, chunked=True)]) as (asking, _):
        answer, chunks = await asking.ask("stream")
    assert (answer.body, tuple(chunks)) == (json_of(WHOLE), EVENTS)


async def test_a_target_that_doesnt_stream_is_replayed() -> None:
    async with rig([plain(WHOLE)]) as (asking, _):
        answer, chunks = await asking.ask("stream")
    assert (answer.body, tuple(chunks)) == (WHOLE, EVENTS)


@pytest.mark.parametrize("ending", [Ending.END, Ending.CUT, Ending.RESET])
@pytest.mark.parametrize("end", [1, DELTA, DELTA + 1, len(EVENTS) - 1])
async def test_a_stream_without_its_last_event_is_lost_and_priced(end: int, ending: Ending) -> None:
    async with rig([typed_events(EVENTS[:end], ending=ending)]) as (asking, _):
        with pytest.raises(UpstreamError) as caught:
            await asking.ask("stream")
    assert caught.value.reason in {"UPSTREAM_INCOMPLETE", "UPSTREAM_BROKE_OFF"}
    (lost,) = asking.call.lost
    deltas = [json.loads(event) for event in EVENTS[:end]]
    assert lost.text == "".join(event["delta"] for event in deltas if event["type"] == "response.output_text.delta")
    assert lost.model == "m"


async def test_a_stream_that_stalls_is_lost() -> None:
    async with rig([typed_events(EVENTS[: DELTA + 1], ending=Ending.HANG)], stall_timeout_s=0.05) as (asking, _):
        with pytest.raises(UpstreamTimedOutError):
            await asking.ask("stream")
    assert len(asking.call.lost) == 1


FAILED = {"id": "resp_1", "object": "response", "created_at": 1, "status": "failed", "output": [], "usage": None}


def failing(kind: str, code: str) -> Reply:
    response = {**FAILED, "error": {"code": code, "message": "It burns."}}
    if kind == "plain":
        return plain(json.dumps(response).encode())
    last = {"type": "response.failed", "sequence_number": 2, "response": response}
    return typed_events([*EVENTS[:2], json.dumps(last).encode()])


@KINDS
async def test_a_failed_response_is_the_targets_fault_or_the_requests(kind: str) -> None:
    replies = [failing(kind, "server_error"), failing(kind, "invalid_prompt"), failing(kind, "rate_limit_exceeded")]
    async with rig(replies) as (asking, _):
        for status, refused in ((200, False), (400, True), (429, True)):
            with pytest.raises(UpstreamError, match=r"It burns\.") as caught:
                await asking.ask(kind)
            assert (caught.value.http_status, isinstance(caught.value, UpstreamRefusedError)) == (status, refused)


async def test_a_target_whose_response_failed_is_followed_by_another() -> None:
    async with (
        ScriptedServer(lambda _: failing("plain", "server_error")) as one,
        ScriptedServer(echo_response) as other,
    ):
        asking = Rig(one, other)
        texts = [(await asking.ask("plain"))[0].text for _ in range(4)]
        await asking.upstream.close()
        assert texts == ["Answer to: What is a cache?"] * 4
        assert len(other.requests) == 4


@pytest.mark.parametrize(
    "data",
    [
        b'{"type": "error", "code": "server_error", "message": "It burns.", "param": null, "sequence_number": 3}',
        b'{"type": "error", "error": {"type": "server_error", "message": "It burns."}, "sequence_number": 3}',
        b'{"error": {"message": "It burns."}}',
    ],
)
@pytest.mark.parametrize("name", [b"event: error\n", b""])
@pytest.mark.parametrize("before", [0, DELTA + 1])
async def test_an_error_event_ends_a_stream(data: bytes, name: bytes, before: int) -> None:
    reply = typed_events(EVENTS[:before])
    failed = Reply(headers=reply.headers, pieces=(*reply.pieces, name + b"data: " + data + b"\n\n"), chunked=True)
    async with rig([failed]) as (asking, _):
        with pytest.raises(UpstreamError, match=r"It burns\."):
            await asking.ask("stream")
    assert len(asking.call.lost) == (1 if before else 0)


@KINDS
async def test_a_refusal_is_passed_on(kind: str) -> None:
    async with rig([failure(400, "no such tool")]) as (asking, _):
        with pytest.raises(UpstreamRefusedError) as caught:
            await asking.ask(kind)
    assert caught.value.http_status == 400
    assert b"no such tool" in caught.value.body


@KINDS
async def test_a_chats_answer_is_no_response(kind: str) -> None:
    async with rig([plain(b'{"object": "chat.completion", "choices": [{"message": {"content": "Hi."}}]}')]) as (
        asking,
        _,
    ):
        with pytest.raises(UpstreamError, match="an answer without output"):
            await asking.ask(kind)


async def test_a_target_of_other_protocols_isnt_asked() -> None:
    async with rig(echo_response, protocols=("chat",)) as (asking, server):
        with pytest.raises(UnknownModelError) as caught:
            await asking.ask("plain")
    assert (caught.value.reason, server.requests) == ("PROTOCOL_NOT_ROUTED", [])


async def test_a_caller_that_leaves_ends_the_call() -> None:
    gate = asyncio.Event()
    async with rig(lambda _: typed_events(EVENTS, piece_gate=gate)) as (asking, server):
        stream = asking.upstream.stream(asking.call)
        assert await anext(stream) == EVENTS[0]
        await stream.aclose()
        await server.abandoned()
    assert len(asking.call.lost) == 1
