"""What needs no key is bounded, every call ends in a count, and refusals name a time, over real connections."""

from __future__ import annotations

import asyncio
import socket
import struct
import urllib.request
from collections.abc import AsyncIterator
from contextlib import suppress

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from semcache.server.grpc import open_streams
from semcache.server.grpc.resets import RESETS
from semcache.testing.serving import Served, serving
from semcache.v1 import semcache_pb2 as pb
from tests.integration.calls import complete, in_flight, prompt, reason_of
from tests.integration.http.calling import CHAT, asking, client_of, error_of, said


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """An HTTP/2 frame."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """A header in HPACK, written out."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


HEADERS = b"\x83\x86" + b"".join(
    literal(name, value)
    for name, value in (
        (b":path", b"/semcache.v1.SemanticCacheService/Complete"),
        (b":authority", b"x"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    )
)
CANCEL = struct.pack(">I", 8)


class Resetting:
    """A connection that begins calls and resets each at once."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setblocking(False)
        self._stream = 1
        self._to_send = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"")

    async def run(self) -> None:
        """Reset calls until the server closes the connection."""
        loop = asyncio.get_running_loop()
        with suppress(ConnectionError):
            while True:
                batch = b""
                for _ in range(20):
                    batch += frame(1, 4, self._stream, HEADERS) + frame(3, 0, self._stream, CANCEL)
                    self._stream += 2
                await loop.sock_sendall(self._socket, self._to_send + batch)
                self._to_send = b""
                with suppress(BlockingIOError):
                    while received := self._socket.recv(65536):
                        if b"\x04\x00\x00\x00\x00\x00" in received[:9]:
                            self._to_send = frame(4, 1, 0, b"")
                    if not received:
                        return
                await asyncio.sleep(0)

    def close(self) -> None:
        self._socket.close()


async def test_a_connection_that_resets_its_calls_is_closed_and_others_are_answered() -> None:
    async with serving() as served:
        await complete(served, "hi")
        resetting = [Resetting(served.application.port) for _ in range(4)]
        running = [asyncio.create_task(connection.run()) for connection in resetting]
        answers = [await complete(served, "hi") for _ in range(20)]
        assert {answer.outcome.status for answer in answers} == {pb.STATUS_EXACT_HIT}
        # Each ends by itself, since the server shuts its connection down.
        async with asyncio.timeout(20):
            await asyncio.gather(*running)
        for connection in resetting:
            connection.close()
        front = served.application.composition.front
        assert front.resets.closed == len(resetting)
        async with asyncio.timeout(20):
            await in_flight(served, 0)
        assert front.counts.of("Complete").ended["CANCELLED"] >= RESETS


@pytest.fixture
def few_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_streams, "STREAMS_OF_AN_ADDRESS", 3)


async def _requests() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
    yield reflection_pb2.ServerReflectionRequest(list_services="")
    await asyncio.Event().wait()


async def _open(served: Served, kind: str) -> grpc.aio.StreamStreamCall[object, object]:
    if kind == "watch":
        call = health_pb2_grpc.HealthStub(served.channel).Watch(health_pb2.HealthCheckRequest())
    else:
        call = reflection_pb2_grpc.ServerReflectionStub(served.channel).ServerReflectionInfo(_requests())
    await call.read()
    return call


@pytest.mark.usefixtures("few_streams")
@pytest.mark.parametrize("kind", ["watch", "reflection"])
async def test_streams_without_a_key_are_bounded_and_make_room_again(kind: str) -> None:
    async with serving() as served:
        calls = [await _open(served, kind) for _ in range(3)]
        for other in ("watch", "reflection"):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await _open(served, other)
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert reason_of(refused.value) == "TOO_MANY_STREAMS"
        stub = health_pb2_grpc.HealthStub(served.channel)
        assert (await stub.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
        calls[0].cancel()
        async with asyncio.timeout(10):
            while True:
                with suppress(grpc.aio.AioRpcError):
                    calls[0] = await _open(served, kind)
                    break
        for call in calls:
            call.cancel()


def _samples(served: Served) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{served.application.metrics_port}/metrics") as page:
        lines = [line for line in page.read().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


async def test_every_call_is_in_a_counter_however_it_ended() -> None:
    async with serving({"limits": {"prompt_chars": 100}}) as served:
        await complete(served, "hi")
        with suppress(grpc.aio.AioRpcError):
            await complete(served, "x" * 101)
        with suppress(grpc.aio.AioRpcError):
            await served.channel.unary_unary("/semcache.v1.SemanticCacheService/Nothing")(b"")
        with suppress(grpc.aio.AioRpcError):
            await served.stub.Complete(pb.CompleteRequest(prompt=prompt("late")), timeout=1e-6)
        watch = await _open(served, "watch")
        page = await asyncio.to_thread(_samples, served)
        assert page['semcache_calls_total{code="OK",method="Complete"}'] == 1
        assert page['semcache_calls_total{code="INVALID_ARGUMENT",method="Complete"}'] == 1
        assert page['semcache_calls_total{code="UNIMPLEMENTED",method="other"}'] == 1
        assert page['semcache_calls_in_flight{method="Watch"}'] == 1
        for method in ("Complete", "Watch", "other"):
            ended = sum(
                count
                for name, count in page.items()
                if name.startswith("semcache_calls_total{") and f'method="{method}"' in name
            )
            running = page[f'semcache_calls_in_flight{{method="{method}"}}']
            assert page[f'semcache_calls_started_total{{method="{method}"}}'] == ended + running
        watch.cancel()


async def test_an_overloaded_front_answers_exact_hits_and_refuses_others_with_a_delay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving() as served:
        await complete(served, "known")
        shedding = served.application.composition.front.shedding
        monkeypatch.setattr(shedding, "report", lambda *_: None)  # The next beat would see that nothing waits.
        shedding.alert, shedding.share = True, 1.0
        answered = await complete(served, "known")
        assert answered.outcome.status == pb.STATUS_EXACT_HIT
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await complete(served, "unknown")
        assert (refused.value.code(), reason_of(refused.value)) == (grpc.StatusCode.UNAVAILABLE, "OVERLOADED")
        assert len(served.upstream.calls) == 1


async def test_an_overloaded_http_front_does_the_same_and_still_takes_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as served, client_of(served) as client:
        known = await client.post(CHAT, json=asking("known"))
        shedding = served.application.composition.front.shedding
        monkeypatch.setattr(shedding, "report", lambda *_: None)
        shedding.alert, shedding.share = True, 1.0
        answered = await client.post(CHAT, json=asking("known"))
        assert (answered.status_code, answered.headers["x-cache-status"], said(answered)) == (200, "HIT", said(known))
        for refused in (await client.post(CHAT, json=asking("unknown")), await client.get("/v1/models")):
            assert (refused.status_code, error_of(refused)["code"]) == (503, "OVERLOADED")
            assert int(refused.headers["retry-after"]) >= 1
        assert (await client.get("/semcache/v1/stats")).status_code == 200
        assert len(served.upstream.calls) == 1
