"""Upstream faults over a real socket, seen by a client of the whole server: which it was, told once to all who wait."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_status import rpc_status

from semcache.protocols import replay_chunks
from semcache.server.app import Application
from semcache.settings import load_settings
from semcache.testing.embedder import HashingEmbedder
from semcache.testing.upstream import completion_body
from semcache.testing.upstream_server import Ending, Handler, Reply, ScriptedServer, events, failure, plain
from semcache.v1 import semcache_pb2 as pb
from semcache.v1.semcache_pb2_grpc import SemanticCacheServiceStub
from tests.integration.calls import in_flight, prompt

CODE = grpc.StatusCode
KINDS = pytest.mark.parametrize("kind", ["plain", "stream"])
WHOLE = completion_body("A whole answer, told in several words, so that it has pieces.", model="gpt-4o-mini")
CHUNKS = tuple(replay_chunks(WHOLE, include_usage=True))


@dataclass(frozen=True)
class Stack:
    """A client's view: the calls, and what the upstream received."""

    stub: SemanticCacheServiceStub
    upstream: ScriptedServer

    async def ask(self, kind: str, text: str = "one") -> str:
        if kind == "plain":
            return (await self.stub.Complete(pb.CompleteRequest(prompt=prompt(text)))).text
        call = self.stub.CompleteStream(pb.CompleteStreamRequest(prompt=prompt(text)))
        frames = [frame async for frame in call]
        assert frames[-1].HasField("finished")
        chunks = [json.loads(frame.chunk.openai_json) for frame in frames if frame.HasField("chunk")]
        return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])

    async def counts(self) -> pb.RequestCounts:
        return (await self.stub.GetStats(pb.GetStatsRequest())).requests


@asynccontextmanager
async def stack(
    path: Path, script: Handler | Sequence[Reply], *, max_retries: int = 0, **target: Any
) -> AsyncIterator[Stack]:
    async with ScriptedServer(script) as upstream:
        settings = load_settings(
            None,
            {
                "server": {"port": 0, "http": {"port": 0}, "grace_s": 5.0},
                "metrics": {"enabled": False},
                "store": {"path": path, "map_size_bytes": 1 << 30},
                "upstream": {
                    "targets": [{"name": "t", "base_url": upstream.base_url, **target}],
                    "retry": {"max_retries": max_retries, "backoff_s": 0.001, "max_backoff_s": 1.0},
                },
            },
        )
        application = await Application.start(settings, embedder=HashingEmbedder())
        try:
            async with grpc.aio.insecure_channel(application.address) as channel:
                yield Stack(SemanticCacheServiceStub(channel), upstream)
        finally:
            await application.stop()


def details_of(error: grpc.aio.AioRpcError) -> tuple[ErrorInfo, float | None]:
    status = rpc_status.from_call(error)
    assert status is not None
    info, retry_s = ErrorInfo(), None
    details: list[AnyMessage] = list(status.details)
    for detail in details:
        retry = RetryInfo()
        if detail.Unpack(retry):
            retry_s = retry.retry_delay.ToNanoseconds() / 1e9
        else:
            assert detail.Unpack(info)
    return info, retry_s


async def failed(stack_: Stack, kind: str, text: str = "one") -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stack_.ask(kind, text)
    return error.value


async def until_it_breaks(call: Any) -> tuple[list[str], grpc.aio.AioRpcError]:
    """The kinds of frames that came before the error, and the error."""
    kinds = []
    try:
        async for frame in call:
            kinds.append(frame.WhichOneof("frame"))  # noqa: PERF401 - an extended list would lose them to the error
    except grpc.aio.AioRpcError as error:
        return kinds, error
    pytest.fail("the stream ended well")


REFUSALS = [
    (400, CODE.INVALID_ARGUMENT, "UPSTREAM_REFUSED"),
    (401, CODE.FAILED_PRECONDITION, "UPSTREAM_REFUSED"),
    (403, CODE.FAILED_PRECONDITION, "UPSTREAM_REFUSED"),
    (404, CODE.NOT_FOUND, "UPSTREAM_REFUSED"),
    (422, CODE.INVALID_ARGUMENT, "UPSTREAM_REFUSED"),
    (429, CODE.RESOURCE_EXHAUSTED, "UPSTREAM_REFUSED"),
    (500, CODE.UNAVAILABLE, "UPSTREAM_FAILED"),
    (502, CODE.UNAVAILABLE, "UPSTREAM_FAILED"),
    (503, CODE.UNAVAILABLE, "UPSTREAM_FAILED"),
]


@KINDS
@pytest.mark.parametrize(("http_status", "code", "reason"), REFUSALS)
async def test_a_client_learns_what_the_upstream_said(
    tmp_path: Path, kind: str, http_status: int, code: grpc.StatusCode, reason: str
) -> None:
    async with stack(tmp_path, lambda _: failure(http_status, "so it said")) as served:
        error = await failed(served, kind)
        info, _ = details_of(error)
        assert (error.code(), info.reason, info.metadata["http_status"]) == (code, reason, str(http_status))
        assert "so it said" in info.metadata["upstream_body"]
        # Where the cause may be the field that asks a stream for its usage, the target is asked once more without it.
        tries = 2 if kind == "stream" and http_status in {400, 422} else 1
        assert len(served.upstream.requests) == tries
        tally = await served.counts()
        assert (tally.error, tally.total) == (1, 1)
        assert (await served.stub.GetStats(pb.GetStatsRequest())).entries == 0


@KINDS
async def test_a_429_says_when_to_come_again(tmp_path: Path, kind: str) -> None:
    script = [failure(429, "slow down", headers={"retry-after": "7"})]
    async with stack(tmp_path, script, max_retries=2) as served:
        error = await failed(served, kind)
        info, retry_s = details_of(error)
        assert (error.code(), info.metadata["http_status"], retry_s) == (CODE.RESOURCE_EXHAUSTED, "429", 7.0)
        assert len(served.upstream.requests) == 1  # A wait beyond max_backoff_s is the caller's to make.
        assert await served.ask(kind) == "Answer to: one"


@KINDS
async def test_an_upstream_that_keeps_failing_is_left_alone_and_the_client_told_until_when(
    tmp_path: Path, kind: str
) -> None:
    async with stack(tmp_path, [failure(500)] * 5) as served:
        for number in range(5):
            await failed(served, kind, f"prompt {number}")
        error = await failed(served, kind)
        info, retry_s = details_of(error)
        assert (error.code(), info.reason) == (CODE.UNAVAILABLE, "UPSTREAM_UNAVAILABLE")
        assert retry_s is not None
        assert 0 < retry_s <= 5.0
        assert len(served.upstream.requests) == 5


@KINDS
@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_passing_trouble_is_not_noticed(tmp_path: Path, kind: str, status: int) -> None:
    async with stack(tmp_path, [failure(status), failure(status)], max_retries=2) as served:
        assert await served.ask(kind) == "Answer to: one"
        assert len(served.upstream.requests) == 3
        tally = await served.counts()
        assert (tally.miss, tally.total) == (1, 1)


@KINDS
@pytest.mark.parametrize("ending", [Ending.RESET, Ending.CUT])
async def test_a_connection_that_breaks_unanswered(tmp_path: Path, kind: str, ending: Ending) -> None:
    async with stack(tmp_path, lambda _: Reply(status=0, ending=ending), max_retries=1) as served:
        error = await failed(served, kind)
        assert error.code() is CODE.UNAVAILABLE
        assert details_of(error)[0].reason == "UPSTREAM_UNREACHABLE"
        assert len(served.upstream.requests) == 2


@KINDS
async def test_an_upstream_that_hangs(tmp_path: Path, kind: str) -> None:
    hang = Reply(status=0, ending=Ending.HANG)
    async with stack(tmp_path, lambda _: hang, timeout_s=0.1, stall_timeout_s=0.1) as served:
        error = await failed(served, kind)
        assert error.code() is CODE.DEADLINE_EXCEEDED
        assert details_of(error)[0].reason == "UPSTREAM_TIMED_OUT"
        assert len(served.upstream.requests) == 1
        tally = await served.counts()
        assert (tally.error, tally.cancelled, tally.total) == (1, 0, 1)


@pytest.mark.parametrize("ending", [Ending.RESET, Ending.CUT])
async def test_half_a_stream_is_relayed_then_fails_and_is_never_replayed(tmp_path: Path, ending: Ending) -> None:
    half = events(CHUNKS[:3], done=False, ending=ending)
    async with stack(tmp_path, [half], max_retries=2) as served:
        call = served.stub.CompleteStream(pb.CompleteStreamRequest(prompt=prompt("one")))
        kinds, broken = await until_it_breaks(call)
        assert broken.code() is CODE.UNAVAILABLE
        assert details_of(broken)[0].reason == "UPSTREAM_BROKE_OFF"
        assert kinds == ["started", "chunk", "chunk", "chunk"]
        assert len(served.upstream.requests) == 1  # What was passed on can't be taken back, so nothing is tried again.
        assert (await served.stub.GetStats(pb.GetStatsRequest())).entries == 0
        assert await served.ask("stream") == "Answer to: one"
        assert await served.ask("plain") == "Answer to: one"
        tally = await served.counts()
        assert (tally.error, tally.miss, tally.exact_hit) == (1, 1, 1)
        # What the half had cost is in the books, as an estimate.
        total = (await served.stub.GetSavings(pb.GetSavingsRequest())).total
        assert total.estimated_count == 1


@KINDS
async def test_followers_get_the_one_error_and_nobody_storms_the_upstream(tmp_path: Path, kind: str) -> None:
    gate = asyncio.Event()
    async with stack(tmp_path, lambda _: failure(503, "down", gate=gate), max_retries=1) as served:
        calls = [asyncio.create_task(failed(served, kind)) for _ in range(8)]
        await served.upstream.received()
        await in_flight(served, 8)  # type: ignore[arg-type] - all that it takes is the stub
        gate.set()
        errors = await asyncio.gather(*calls)
        assert {(error.code(), details_of(error)[0].reason) for error in errors} == {
            (CODE.UNAVAILABLE, "UPSTREAM_FAILED")
        }
        assert len(served.upstream.requests) == 2
        tally = await served.counts()
        assert (tally.error, tally.total) == (8, 8)


async def test_followers_of_half_a_stream_get_its_half_and_its_error(tmp_path: Path) -> None:
    gate = asyncio.Event()
    half = events(CHUNKS[:3], done=False, ending=Ending.CUT, piece_gate=gate)
    async with stack(tmp_path, [half]) as served:
        streams = [served.stub.CompleteStream(pb.CompleteStreamRequest(prompt=prompt("one"))) for _ in range(4)]
        await served.upstream.received()  # A stream leads; the plain one that comes now can only follow.
        plain_one = asyncio.create_task(failed(served, "plain"))
        await in_flight(served, 5)  # type: ignore[arg-type] - all that it takes is the stub
        gate.set()
        for call in streams:
            kinds, broken = await until_it_breaks(call)
            assert details_of(broken)[0].reason == "UPSTREAM_BROKE_OFF"
            assert kinds == ["started", "chunk", "chunk", "chunk"]
        assert (await plain_one).code() is CODE.UNAVAILABLE
        assert len(served.upstream.requests) == 1
        assert (await served.counts()).error == 5


async def test_after_the_leader_left_the_error_still_reaches_its_followers(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with stack(tmp_path, lambda _: failure(500, "down", gate=gate)) as served:
        leader = asyncio.create_task(served.ask("plain"))
        await served.upstream.received()
        follower = asyncio.create_task(failed(served, "plain"))
        await in_flight(served, 2)  # type: ignore[arg-type] - all that it takes is the stub
        leader.cancel()
        await in_flight(served, 1)  # type: ignore[arg-type] - all that it takes is the stub
        gate.set()
        assert details_of(await follower)[0].reason == "UPSTREAM_FAILED"
        tally = await served.counts()
        assert (tally.cancelled, tally.error, tally.total) == (1, 1, 2)
        assert len(served.upstream.requests) == 1


@KINDS
@pytest.mark.parametrize(
    "reply",
    [
        plain(b"<html>a proxy's page</html>", content_type="text/html"),
        plain(b"{}"),
        plain(b'{"choices":[]}'),
        plain(b'{"error":{"message":"quota"}}'),
        plain(b""),
    ],
)
async def test_a_success_that_is_no_answer_is_never_stored(tmp_path: Path, kind: str, reply: Reply) -> None:
    async with stack(tmp_path, [reply]) as served:
        error = await failed(served, kind)
        assert error.code() is CODE.UNAVAILABLE
        assert details_of(error)[0].reason == "UPSTREAM_FAILED"
        assert await served.ask(kind) == "Answer to: one"


async def test_an_answer_whose_model_and_text_are_no_unicode_is_served_and_booked(tmp_path: Path) -> None:
    body = (
        b'{"model":"gpt-4o-mini\\ud83d","choices":[{"index":0,"finish_reason":"stop","message":'
        b'{"role":"assistant","content":"half an emoji \\ud83d"}}],"usage":{"prompt_tokens":3,"completion_tokens":2}}'
    )
    async with stack(tmp_path, [plain(body)]) as served:
        assert (await served.ask("plain")).startswith("half an emoji")
        assert (await served.ask("stream")).startswith("half an emoji")
        assert len(served.upstream.requests) == 1
        tally = await served.counts()
        assert (tally.miss, tally.exact_hit, tally.total) == (1, 1, 2)
