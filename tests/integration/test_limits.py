"""Everything that can grow is refused beyond its limit, with a reason, and serving goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import RetryInfo
from grpc_status import rpc_status
from numpy.typing import NDArray

from semcache.errors import OverloadedError
from semcache.long_work import LongWork
from semcache.request import RequestMemo
from semcache.server.admission import Admission
from semcache.server.auth import Authenticator, Caller
from semcache.server.call_counts import CallCounts
from semcache.server.gate import Gate
from semcache.server.grpc.calls import Calls
from semcache.server.shedding import Shedding
from semcache.settings import load_settings
from semcache.testing.embedder import HashingEmbedder
from semcache.testing.serving import Served, serving
from semcache.testing.upstream import Scripted, ScriptedUpstream
from semcache.v1 import semcache_pb2 as pb
from tests.integration.calls import complete, counts, in_flight, prompt, reason_of, stream

RAW_METHODS = ("Complete", "CompleteStream", "Lookup", "Store", "LookupBatch", "StoreBatch", "Explain", "Invalidate")


def retry_s(error: grpc.aio.AioRpcError) -> float | None:
    """The RetryInfo's delay behind a failed call."""
    status = rpc_status.from_call(error)
    assert status is not None
    details: list[AnyMessage] = list(status.details)
    for detail in details:
        info = RetryInfo()
        if detail.Unpack(info):
            return info.retry_delay.ToNanoseconds() / 1e9
    return None


async def send_raw(served: Served, method: str, raw: bytes) -> bytes:
    path = f"/semcache.v1.SemanticCacheService/{method}"
    if method in {"CompleteStream", "ListEntries"}:
        return await served.channel.unary_stream(path)(raw).read()
    return await served.channel.unary_unary(path)(raw)


async def waiting_calls(served: Served, count: int) -> list[asyncio.Task[pb.CompleteResponse]]:
    calls = [asyncio.create_task(complete(served, f"question {number}")) for number in range(count)]
    await served.upstream.called(count)
    return calls


def held() -> tuple[asyncio.Event, ScriptedUpstream]:
    gate = asyncio.Event()
    return gate, ScriptedUpstream(lambda _: Scripted("late", gate=gate))


async def test_calls_beyond_the_servers_number_are_refused_and_told_when_to_come_again() -> None:
    gate, upstream = held()
    async with serving({"server": {"port": 0, "max_in_flight": 3}}, upstream=upstream) as served:
        calls = await waiting_calls(served, 3)
        for attempt in (complete(served, "one more"), stream(served, "one more")):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await attempt
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
            assert reason_of(refused.value) == "OVERLOADED"
            assert 1.0 <= (retry_s(refused.value) or 0.0) <= 1.5
        gate.set()
        assert {answer.text for answer in await asyncio.gather(*calls)} == {"late"}
        assert (await complete(served, "one more")).text == "late"
        assert (await counts(served)).total == 4


async def test_calls_beyond_a_tenants_number_are_refused_and_others_are_served() -> None:
    gate, upstream = held()
    async with serving({"limits": {"tenant_in_flight": 2}}, upstream=upstream) as served:
        calls = await waiting_calls(served, 2)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await complete(served, "one more")
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert reason_of(refused.value) == "TENANT_IN_FLIGHT"
        gate.set()
        await asyncio.gather(*calls)
        assert (await complete(served, "one more")).text == "late"


async def test_a_call_that_fails_or_is_left_makes_room_again() -> None:
    gate, upstream = held()
    async with serving({"limits": {"tenant_in_flight": 2}}, upstream=upstream) as served:
        for _ in range(4):
            with pytest.raises(grpc.aio.AioRpcError):
                await send_raw(served, "Complete", b"\xff")
        calls = await waiting_calls(served, 1)
        calls[0].cancel()
        await in_flight(served, 0)
        gate.set()
        assert (await complete(served, "again")).text == "late"


@pytest.mark.parametrize("method", RAW_METHODS)
async def test_a_message_over_the_limit_and_bytes_that_are_none(method: str) -> None:
    async with serving({"server": {"port": 0, "max_message_bytes": 1000}}) as served:
        with pytest.raises(grpc.aio.AioRpcError) as large:
            await send_raw(served, method, b"\x0a" * 1001)
        assert large.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert reason_of(large.value) == "MESSAGE_TOO_LARGE"
        with pytest.raises(grpc.aio.AioRpcError) as huge:
            await send_raw(served, method, b"\x0a" * 100_000)
        assert huge.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        for garbage in (b"\xff", b"\x0a\xff\xff\xff\xff", b"\x0a\x02\xc3\x28" * 3, b"\x00" * 50):
            with pytest.raises(grpc.aio.AioRpcError) as unreadable:
                await send_raw(served, method, garbage)
            assert unreadable.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert reason_of(unreadable.value) in {"UNDECODABLE", "INVALID_REQUEST"}
        assert (await complete(served, "hi")).outcome.stored


async def test_an_unknown_method_is_unimplemented() -> None:
    async with serving() as served:
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await send_raw(served, "Nothing", b"")
        assert unknown.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_full_embedders_queue_is_told_as_overload() -> None:
    async with serving() as served:
        await complete(served, "How do I reset my password?")
        served.embedder.fail_next(OverloadedError("the embedding queue is full", retry_after_s=2.5))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await complete(served, "How do I reset it?")
        assert (refused.value.code(), reason_of(refused.value)) == (grpc.StatusCode.UNAVAILABLE, "OVERLOADED")
        assert 2.5 <= (retry_s(refused.value) or 0.0) <= 3.75
        assert (await complete(served, "How do I reset it?")).outcome.status == pb.STATUS_MISS
        assert (await counts(served)).error == 1


async def test_a_prompt_over_the_limit() -> None:
    async with serving({"limits": {"prompt_chars": 100}}) as served:
        assert (await complete(served, "x" * 100)).outcome.stored
        with pytest.raises(grpc.aio.AioRpcError) as long:
            await complete(served, "x" * 60, history=("y" * 41,))
        assert (long.value.code(), reason_of(long.value)) == (grpc.StatusCode.INVALID_ARGUMENT, "PROMPT_TOO_LONG")


async def test_an_answer_over_the_limit_is_refused_by_a_store() -> None:
    async with serving({"limits": {"answer_bytes": 500}}) as served:
        with pytest.raises(grpc.aio.AioRpcError) as long:
            await served.stub.Store(pb.StoreRequest(prompt=prompt("hi"), text="x" * 501))
        assert long.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (await served.stub.Store(pb.StoreRequest(prompt=prompt("hi"), text="x"))).stored


async def test_a_prompt_longer_than_the_model_reads_is_compared_exactly_only() -> None:
    async with serving({"decision": {"threshold": -1.0}}) as served:
        long = "word " * 300
        first = await complete(served, long)
        assert (first.outcome.reason, first.outcome.stored) == ("longer_than_model", True)
        assert (await complete(served, long)).outcome.status == pb.STATUS_EXACT_HIT
        assert (await complete(served, long + "more")).outcome.status == pb.STATUS_MISS


async def test_a_text_that_the_model_does_not_know_is_compared_exactly_only_and_counted_by_its_reason() -> None:
    embedder = HashingEmbedder(unknown="柿の")
    async with serving({"decision": {"threshold": -1.0}}, embedder=embedder) as served:
        first = await complete(served, "柿の育て方")
        assert (first.outcome.reason, first.outcome.stored) == ("unknown_to_model", True)
        assert "doesn't know the text's characters" in first.outcome.detail
        explained = await served.stub.Explain(pb.ExplainRequest(prompt=prompt("柿の木")))
        assert (explained.cacheability, explained.cacheability_reason) == (
            pb.CACHEABILITY_EXACT_ONLY,
            "unknown_to_model",
        )
        assert (await complete(served, "柿の育て方")).outcome.status == pb.STATUS_EXACT_HIT
        assert (await complete(served, "柿の木")).outcome.status == pb.STATUS_MISS
        assert (
            served.application.composition.registry.get_sample_value(
                "semcache_decisions_total", {"reason": "unknown_to_model"}
            )
            == 2
        )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("What is the weather in Paris?", "time_sensitive"),
        ("Flip a coin", "random"),
        ("continue", "continuation"),
        ("Mein Name ist Hans", "personal"),
    ],
)
async def test_a_request_that_is_not_repeatable_is_neither_stored_nor_kept(text: str, reason: str) -> None:
    async with serving() as served:
        for _ in range(2):
            outcome = (await complete(served, text)).outcome
            assert (outcome.status, outcome.reason) == (pb.STATUS_BYPASS, reason)
            assert (outcome.stored, outcome.store_skipped_reason) == (False, reason)
        stored = await served.stub.Store(pb.StoreRequest(prompt=prompt(text), text="an answer"))
        assert (stored.stored, stored.reason) == (False, reason)
        assert (await served.stub.GetStats(pb.GetStatsRequest())).entries == 0


@pytest.mark.parametrize("kind", ["plain", "stream"])
async def test_a_deadline_ends_the_call_and_not_the_work(kind: str) -> None:
    gate, upstream = held()
    async with serving(upstream=upstream) as served:
        request = {"prompt": prompt("one")}
        if kind == "plain":
            call = served.stub.Complete(pb.CompleteRequest(**request), timeout=0.3)
        else:
            call = served.stub.CompleteStream(pb.CompleteStreamRequest(**request), timeout=0.3)
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await (call if kind == "plain" else _read_all(call))
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await in_flight(served, 0)
        gate.set()
        waited = await complete(served, "one")
        assert waited.outcome.status in {pb.STATUS_EXACT_HIT, pb.STATUS_COALESCED}
        assert len(upstream.calls) == 1
        tally = await counts(served)
        assert (tally.cancelled, tally.total) == (1, 2)


class Expired:
    """A call's context when its deadline has passed: no client can make one arrive so late on purpose."""

    def invocation_metadata(self) -> tuple[()]:
        return ()

    def time_remaining(self) -> float:
        return 0.0

    async def abort(self, code: grpc.StatusCode, details: str, metadata: tuple[tuple[str, bytes], ...]) -> None:
        raise ConnectionAbortedError(code.name, metadata[0][1])


async def test_a_deadline_that_has_passed_asks_nobody() -> None:
    settings = load_settings()
    admission = Admission(
        Authenticator(settings.auth),
        Gate(settings.server, settings.limits),
        settings.server.max_message_bytes,
        on_failure=lambda reason: None,
    )
    counts = CallCounts()
    calls = Calls(
        admission,
        RequestMemo(),
        counts,
        Shedding(lambda: 0.0),
        monotonic=lambda: 0.0,
        on_reset=print,
        long_work=LongWork(),
        settings=settings,
    )

    async def handle(message: pb.CompleteRequest, caller: Caller) -> pb.CompleteResponse:
        raise AssertionError((message, caller))

    method = calls.unary(pb.CompleteRequest, handle).stream_unary
    assert method is not None
    with pytest.raises(ConnectionAbortedError, match="DEADLINE_EXCEEDED"):
        await method(iter(()), Expired())
    assert counts.of("Complete").ended == {"DEADLINE_EXCEEDED": 1}


async def _read_all(call: Any) -> None:
    async for _ in call:
        pass


@pytest.mark.parametrize("size", [1, 3])
async def test_batches_up_to_their_size(size: int) -> None:
    async with serving({"limits": {"batch_items": 3}}) as served:
        stores = [pb.StoreRequest(prompt=prompt(f"q{number}"), text="a") for number in range(size)]
        stored = await served.stub.StoreBatch(pb.StoreBatchRequest(requests=stores))
        assert [result.response.stored for result in stored.results] == [True] * size
        lookups = [pb.LookupRequest(prompt=prompt(f"q{number}")) for number in range(size)]
        found = await served.stub.LookupBatch(pb.LookupBatchRequest(requests=lookups))
        assert {result.response.outcome.status for result in found.results} == {pb.STATUS_EXACT_HIT}


class Counting(HashingEmbedder):
    """Counts the calls that it answers at once."""

    running = most = 0

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.running += 1
        self.most = max(self.most, self.running)
        for _ in range(3):
            await asyncio.sleep(0)
        vectors = await super().embed(texts)
        self.running -= 1
        return vectors


async def test_the_items_of_a_large_batch_dont_fill_the_embedders_queue() -> None:
    embedder = Counting()
    async with serving(embedder=embedder) as served:
        stores = [pb.StoreRequest(prompt=prompt(f"q{number}"), text="a") for number in range(100)]
        stored = await served.stub.StoreBatch(pb.StoreBatchRequest(requests=stores))
        assert [result.response.stored for result in stored.results] == [True] * 100
        assert 1 < embedder.most <= 32


@pytest.mark.parametrize("size", [0, 4])
async def test_batches_beyond_their_size_store_nothing(size: int) -> None:
    async with serving({"limits": {"batch_items": 3}}) as served:
        stores = [pb.StoreRequest(prompt=prompt(f"q{number}"), text="a") for number in range(size)]
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await served.stub.StoreBatch(pb.StoreBatchRequest(requests=stores))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert reason_of(refused.value) == "INVALID_BATCH_SIZE"
        assert (await served.stub.GetStats(pb.GetStatsRequest())).entries == 0


async def test_equal_items_of_a_batch_are_each_answered() -> None:
    async with serving() as served:
        same = [pb.StoreRequest(prompt=prompt("one"), text=str(number)) for number in range(5)]
        stored = await served.stub.StoreBatch(pb.StoreBatchRequest(requests=same))
        assert [result.response.stored for result in stored.results] == [True] * 5
        assert (await served.stub.GetStats(pb.GetStatsRequest())).entries == 1
        found = await served.stub.LookupBatch(
            pb.LookupBatchRequest(requests=[pb.LookupRequest(prompt=prompt("one"))] * 5)
        )
        assert len({result.response.text for result in found.results}) == 1


async def test_lookups_that_are_forgotten_for_newer_ones() -> None:
    async with serving({"limits": {"pending_lookups": 2}}) as served:
        ids = [
            (await served.stub.Lookup(pb.LookupRequest(prompt=prompt(f"q{number}")))).lookup_id for number in range(3)
        ]
        with pytest.raises(grpc.aio.AioRpcError) as forgotten:
            await served.stub.Store(pb.StoreRequest(lookup_id=ids[0], text="a"))
        assert reason_of(forgotten.value) == "LOOKUP_FORGOTTEN"
        assert (await served.stub.Store(pb.StoreRequest(lookup_id=ids[2], text="a"))).stored


@pytest.mark.parametrize(
    "server",
    [
        {"keepalive_s": 1.0, "max_connections_age_s": 2.0},
        {"keepalive_s": 10 * 365 * 86400.0},
        {"max_connections_age_s": 10 * 365 * 86400.0},
        {"max_message_bytes": 2**31},
        {"max_message_bytes": 1},
        {"reflection": False},
        {"host": "::1"},
        {"host": "localhost"},
    ],
)
async def test_every_setting_of_the_listener_is_one_that_it_starts_with(server: Mapping[str, Any]) -> None:
    async with serving({"server": {"port": 0, **server}}) as served:
        if server.get("max_message_bytes") != 1:
            assert (await complete(served, "hi")).text == "Answer to: hi"
