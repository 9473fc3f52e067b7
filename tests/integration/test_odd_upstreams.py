"""Upstreams that don't keep to OpenAI's form, seen by a caller of the whole server over real sockets."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from semcache import Client, SyncClient
from semcache.server.clock import SystemClock
from semcache.settings import Target, UpstreamSettings
from semcache.testing.serving import Served, serving
from semcache.testing.upstream_server import Handler, Received, Reply, ScriptedServer, events, failure, plain
from semcache.upstream import HttpUpstream
from semcache.v1 import semcache_pb2 as pb
from tests.integration.calls import complete, in_flight, stream

THINKING = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}


def chunk(finish_reason: object = None, **delta: object) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return json.dumps({"id": "c", "model": "gpt-4o-mini", "choices": [choice]}).encode()


def saying(*contents: object, finish_reason: object = "stop", done: bool = True) -> Reply:
    return events([*(chunk(content=content) for content in contents), chunk(finish_reason)], done=done)


@asynccontextmanager
async def in_front_of(reply: Reply | Handler) -> AsyncIterator[tuple[Served, ScriptedServer]]:
    """Run a server whose upstream gives this reply to every call, or what a function of the call returns."""
    async with ScriptedServer(reply if callable(reply) else lambda _: reply) as server:
        settings = UpstreamSettings(targets=(Target(name="t", base_url=server.base_url),))
        upstream: Any = HttpUpstream(settings, SystemClock(), rng=random.Random(0), environ={})
        try:
            async with serving(upstream=upstream) as served:
                yield served, server
        finally:
            await upstream.close()


def contents_of(frames: Sequence[pb.CompleteStreamResponse]) -> list[object]:
    chunks = [json.loads(frame.chunk.openai_json) for frame in frames if frame.HasField("chunk")]
    deltas = [choice["delta"].get("content") for chunk in chunks for choice in chunk["choices"]]
    return [content for content in deltas if content]


@pytest.mark.parametrize(
    ("contents", "replayed"),
    [
        (([THINKING], "Hello ", "there."), [[THINKING], "Hello there."]),
        (("Hello ", [{"type": "text", "text": "there."}]), ["Hello there."]),
        (([{"type": "text", "text": "Hello "}], "there."), ["Hello there."]),
        ((None, "Hello there."), ["Hello there."]),
    ],
)
async def test_content_in_parts_and_text_is_stored_and_replayed_whole(
    contents: Sequence[object], replayed: list[object]
) -> None:
    async with in_front_of(saying(*contents)) as (served, server):
        async with Client(served.address) as client:
            live = client.stream(model="m", prompt="hi")
            assert "".join([piece async for piece in live]) == "Hello there."
            again = await client.complete(model="m", prompt="hi")
        assert (again.text, again.hit) == ("Hello there.", True)
        assert contents_of(await stream(served, "hi", model="m")) == replayed
        assert len(server.requests) == 1


async def test_a_content_that_nobody_can_read_isnt_stored_and_no_client_fails() -> None:
    async with in_front_of(saying("Hello ", 5, {"type": "text", "text": "there."}, ["."])) as (served, _):
        async with Client(served.address) as client:
            live = client.stream(model="m", prompt="hi")
            assert "".join([piece async for piece in live]) == "Hello there.."
        assert live.outcome is not None
        assert (live.outcome.stored, live.outcome.store_skipped_reason) == (False, "not_mergeable")
        assert (await served.stub.GetStats(pb.GetStatsRequest())).entries == 0


async def test_the_client_for_threads_reads_parts_too() -> None:
    def read(address: str) -> tuple[list[str], str]:
        with SyncClient(address) as client:
            live = client.stream(model="m", prompt="hi")
            return list(live), live.text

    async with in_front_of(saying([THINKING], "Hello ", [{"type": "text", "text": "there."}])) as (served, _):
        assert await asyncio.to_thread(read, served.address) == (["Hello ", "there."], "Hello there.")


@pytest.mark.parametrize(
    "reason", ["eos", "eos_token", "end_turn", "STOP", "end", "stop_sequence", "COMPLETE", "", None, "null"]
)
async def test_an_answer_that_ended_by_itself_is_cached_in_whatever_words(reason: object) -> None:
    async with in_front_of(saying("Paris.", finish_reason=reason)) as (served, _):
        first = await stream(served, "hi")
        assert first[-1].finished.outcome.stored, first[-1].finished.outcome.store_skipped_reason
        assert (await complete(served, "hi")).outcome.status == pb.STATUS_EXACT_HIT
        again = [json.loads(frame.chunk.openai_json) for frame in await stream(served, "hi") if frame.HasField("chunk")]
        assert again[-1]["choices"][0]["finish_reason"] == (reason if reason not in {"", None, "null"} else "stop")


@pytest.mark.parametrize("reason", ["eos_token", "STOP", "", None])
async def test_a_plain_answer_that_ended_by_itself_is_cached_too(reason: object) -> None:
    body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Paris."}, "finish_reason": reason}]}
    async with in_front_of(plain(json.dumps(body).encode())) as (served, _):
        assert (await complete(served, "hi")).outcome.stored
        assert (await complete(served, "hi")).outcome.status == pb.STATUS_EXACT_HIT


async def test_an_unknown_finish_reason_is_named() -> None:
    async with in_front_of(saying("Paris.", finish_reason="moon rise")) as (served, _):
        outcome = (await stream(served, "hi"))[-1].finished.outcome
        assert (outcome.stored, outcome.store_skipped_reason) == (False, "unknown_finish_reason:moon_rise")


async def test_parallel_tool_calls_of_one_index_stay_apart_for_those_who_wait() -> None:
    calls = [
        {"id": name, "type": "function", "function": {"name": name, "arguments": '{"a": 1}'}} for name in ("one", "two")
    ]
    gate = asyncio.Event()
    chunks = [*(chunk(tool_calls=[{"index": 0, **call}]) for call in calls), chunk("tool_calls")]
    async with in_front_of(events(chunks, piece_gate=gate)) as (served, server):
        leader = asyncio.create_task(stream(served, "hi"))
        await server.received(1)
        follower = asyncio.create_task(complete(served, "hi"))
        await in_flight(served, 2)
        gate.set()
        outcome = (await leader)[-1].finished.outcome
        answer = await follower
        assert outcome.store_skipped_reason == "tool_calls"
        assert answer.outcome.status == pb.STATUS_COALESCED
        assert json.loads(answer.openai_json)["choices"][0]["message"]["tool_calls"] == calls
        assert len(server.requests) == 1


async def test_an_upstream_that_refuses_stream_options_streams() -> None:
    def handler(request: Received) -> Reply:
        return failure(422, "extra fields") if "stream_options" in request.json else saying("Paris.")

    async with in_front_of(handler) as (served, server):
        for prompt in ("one", "two"):
            finished = (await stream(served, prompt))[-1].finished.outcome
            assert finished.stored
            assert finished.usage.estimated
            assert finished.usage.output_tokens > 0
        assert len(server.requests) == 3
        total = (await served.stub.GetSavings(pb.GetSavingsRequest())).total
        assert total.requests.miss == 2
