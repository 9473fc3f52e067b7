"""How a server ends: it says so, lets work finish, books it, refuses the rest; and what stands beside its calls."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from semcache.errors import SettingsError, StartError, StoreUnusableError
from semcache.server.app import Application
from semcache.settings import load_settings
from semcache.testing.clock import FakeClock
from semcache.testing.embedder import HashingEmbedder
from semcache.testing.serving import Served, serving
from semcache.testing.upstream import Scripted, ScriptedUpstream
from semcache.v1 import semcache_pb2 as pb
from semcache.v1.semcache_pb2_grpc import SemanticCacheServiceStub
from tests.integration.calls import complete, in_flight, prompt, reason_of, stream, streamed_text
from tests.support.caches import ANSWER_NANOUSD

SERVICE = "semcache.v1.SemanticCacheService"
ROOT = Path(__file__).resolve().parents[2]


def held() -> tuple[asyncio.Event, ScriptedUpstream]:
    gate = asyncio.Event()
    return gate, ScriptedUpstream(lambda _: Scripted("late", gate=gate))


async def health(served: Served, service: str = "") -> int:
    stub = health_pb2_grpc.HealthStub(served.channel)
    return (await stub.Check(health_pb2.HealthCheckRequest(service=service))).status


async def draining(served: Served, grace_s: float) -> asyncio.Task[None]:
    """Stop the server and wait until it says that it is stopping."""
    stopping = asyncio.create_task(served.application.stop(grace_s))
    while await health(served) != health_pb2.HealthCheckResponse.NOT_SERVING:
        pass
    return stopping


async def test_draining_lets_calls_finish_and_lets_no_more_in(tmp_path: Path) -> None:
    gate, upstream = held()
    async with serving(upstream=upstream, path=tmp_path) as served:
        plain = asyncio.create_task(complete(served, "one"))
        streamed = asyncio.create_task(stream(served, "two"))
        await upstream.called(2)
        stopping = await draining(served, 30.0)
        assert await health(served, SERVICE) == health_pb2.HealthCheckResponse.NOT_SERVING
        for attempt in (complete(served, "three"), stream(served, "three"), complete(served, "one")):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await attempt
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
            assert reason_of(refused.value) == "SHUTTING_DOWN"
        assert not stopping.done()
        gate.set()
        assert (await plain).text == streamed_text(await streamed) == "late"
        await stopping
        with pytest.raises(grpc.aio.AioRpcError) as gone:
            await complete(served, "one")
        assert gone.value.code() is grpc.StatusCode.UNAVAILABLE
    async with serving(path=tmp_path) as served:
        assert (await complete(served, "one")).outcome.status == pb.STATUS_EXACT_HIT
        assert (await complete(served, "two")).outcome.status == pb.STATUS_EXACT_HIT


async def test_an_upstream_call_that_nobody_waits_for_any_more_is_booked_and_stored(tmp_path: Path) -> None:
    gate, upstream = held()
    async with serving(upstream=upstream, path=tmp_path) as served:
        caller = asyncio.create_task(complete(served, "one"))
        await upstream.called()
        caller.cancel()
        await in_flight(served, 0)
        stopping = asyncio.create_task(served.application.stop(30.0))
        await asyncio.sleep(0)
        gate.set()
        await stopping
        assert upstream.cancelled == 0
    async with serving(path=tmp_path) as served:
        savings = (await served.stub.GetSavings(pb.GetSavingsRequest())).total
        assert (savings.spent_nanousd, savings.requests.cancelled) == (ANSWER_NANOUSD, 1)
        assert (await complete(served, "one")).outcome.status == pb.STATUS_EXACT_HIT


async def test_when_the_grace_is_over_what_is_left_ends() -> None:
    _, upstream = held()
    async with serving(upstream=upstream) as served:
        calls = [asyncio.create_task(complete(served, f"q{number}")) for number in range(3)]
        frames = asyncio.create_task(stream(served, "streamed"))
        await upstream.called(4)
        await served.application.stop(0.05)
        for call in (*calls, frames):
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await call
            assert ended.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
        assert upstream.running == 0
        assert upstream.cancelled == 4


async def test_a_hit_just_before_the_end_is_in_the_ledger(tmp_path: Path) -> None:
    async with serving(path=tmp_path) as served:
        await complete(served, "one")
        hit = await complete(served, "one")
        await served.application.stop()
    async with serving(path=tmp_path) as served:
        savings = (await served.stub.GetSavings(pb.GetSavingsRequest())).total
        assert (savings.requests.exact_hit, savings.saved_nanousd) == (1, ANSWER_NANOUSD)
        verdict = pb.ReportVerdictRequest(hit_id=hit.outcome.hit_id, verdict=pb.VERDICT_WRONG)
        assert (await served.stub.ReportVerdict(verdict)).removed


async def test_stopping_twice_is_stopping_once() -> None:
    async with serving() as served:
        await complete(served, "one")
        await served.application.stop()
        await served.application.stop()


async def test_a_client_that_watches_the_health_does_not_hold_up_the_end() -> None:
    async with serving() as served:
        watching = health_pb2_grpc.HealthStub(served.channel).Watch(health_pb2.HealthCheckRequest())
        assert (await watching.read()).status == health_pb2.HealthCheckResponse.SERVING
        # Far longer than the test may take: nothing but the watcher is left to wait for.
        await served.application.stop(1_000.0)


async def test_a_lease_that_somebody_waits_for_does_not_hold_up_the_end() -> None:
    async with serving() as served:
        asked = pb.LookupRequest(prompt=prompt("one"), want_lease=True)
        await served.stub.Lookup(asked)
        reading = asyncio.ensure_future(_outcome(served.stub.Lookup(asked)))
        await in_flight(served, 1)
        await served.application.stop(0.05)
        assert isinstance(await reading, grpc.aio.AioRpcError)


async def _outcome(call: grpc.aio.UnaryUnaryCall) -> object:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        return error


# -- starting


async def test_a_port_in_use_is_told_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StartError) as error:
            async with serving({"server": {"port": port}}, path=tmp_path):
                pass
        assert error.value.reason == "PORT_IN_USE"
        assert str(port) in str(error.value)
        with pytest.raises(StartError, match="metrics"):
            async with serving({"metrics": {"port": port}}, path=tmp_path):
                pass
    # The store isn't locked, no task and no thread is left.
    async with serving({"server": {"port": port}}, path=tmp_path) as served:
        assert (await complete(served, "one")).outcome.stored
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_two_servers_on_one_store_or_one_port(tmp_path: Path) -> None:
    async with serving(path=tmp_path) as first:
        with pytest.raises(StoreUnusableError):
            async with serving(path=tmp_path):
                pass
        with pytest.raises(StartError) as error:
            async with serving({"server": {"port": first.application.port}}, path=tmp_path / "other"):
                pass
        assert error.value.reason == "PORT_IN_USE"
        assert (await complete(first, "one")).outcome.stored


async def test_a_start_that_fails_closes_what_was_open(tmp_path: Path) -> None:
    settings = load_settings(
        None,
        {
            "server": {"port": 0, "http": {"port": 0}, "host": "127.0.0.1"},
            "metrics": {"port": 0},
            "store": {"path": tmp_path, "map_size_bytes": 1 << 30},
            "keys": {"secret": "the first secret of all"},
        },
    )
    started = await Application.start(
        settings, embedder=HashingEmbedder(), upstream=ScriptedUpstream(), clock=FakeClock()
    )
    await started.stop()
    other = settings.model_copy(update={"keys": type(settings.keys)(secret="another secret altogether")})
    with pytest.raises(StoreUnusableError, match="secret"):
        await Application.start(other, embedder=HashingEmbedder(), upstream=ScriptedUpstream())
    again = await Application.start(settings, embedder=HashingEmbedder(), upstream=ScriptedUpstream())
    await again.stop()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("text", ["word " * 300, "word"])
async def test_exemplars_that_cant_be_embedded_are_told_at_the_start(tmp_path: Path, text: str) -> None:
    tasks = {"exemplars": [{"task_type": "support", "texts": ["I can't log in", text]}]}
    embedder = HashingEmbedder()
    embedder.fail_next()
    with pytest.raises((SettingsError, StartError), match=r"tasks\.exemplars|exemplars of tasks") as error:
        async with serving({"tasks": tasks}, embedder=embedder, path=tmp_path):
            pass
    assert isinstance(error.value, SettingsError) is (len(text) > 1_000)
    assert asyncio.all_tasks() == {asyncio.current_task()}


# -- health and reflection


async def test_health_is_served_by_name_and_without_a_key() -> None:
    key = {"tenant": "acme", "sha256": "0" * 64}
    async with serving({"auth": {"enabled": True, "keys": [key]}}) as served:
        assert await health(served) == await health(served, SERVICE) == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await health(served, "nobody")
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND


async def services(served: Served) -> set[str]:
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    call = reflection_pb2_grpc.ServerReflectionStub(served.channel).ServerReflectionInfo(iter([request]))
    return {service.name async for reply in call for service in reply.list_services_response.service}


async def test_reflection_lists_and_describes_the_service() -> None:
    async with serving() as served:
        assert SERVICE in await services(served)
        request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE)
        stub = reflection_pb2_grpc.ServerReflectionStub(served.channel)
        (reply,) = [reply async for reply in stub.ServerReflectionInfo(iter([request]))]
        assert b"SemanticCacheService" in b"".join(reply.file_descriptor_response.file_descriptor_proto)


async def test_reflection_can_be_turned_off() -> None:
    async with serving({"server": {"port": 0, "reflection": False}}) as served:
        with pytest.raises(grpc.aio.AioRpcError) as off:
            await services(served)
        assert off.value.code() is grpc.StatusCode.UNIMPLEMENTED


# -- signals

SERVE = """
import asyncio, sys
from pathlib import Path
from semcache.observe.logs import configure_logging
from semcache.server.process import serve
from semcache.settings import load_settings
from semcache.testing.embedder import HashingEmbedder

configure_logging(load_settings().log)
settings = load_settings(None, {
    "server": {"port": 0, "http": {"port": 0}, "grace_s": float(sys.argv[2])}, "metrics": {"enabled": False},
    "store": {"path": Path(sys.argv[1]), "map_size_bytes": 1 << 30},
})

def ready(application):
    print(application.address, flush=True)

asyncio.run(serve(settings, on_ready=ready, embedder=HashingEmbedder()))
print("ended", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_server_and_its_store_is_whole(tmp_path: Path, number: signal.Signals) -> None:
    process = await _start(tmp_path, grace_s=20.0)
    assert process.stdout is not None
    address = (await process.stdout.readline()).decode().strip()
    async with grpc.aio.insecure_channel(address) as channel:
        store = SemanticCacheServiceStub(channel).Store
        assert (await store(pb.StoreRequest(prompt=prompt("one"), text="mine"), wait_for_ready=True)).stored
    process.send_signal(number)
    assert (await process.stdout.read()).decode().splitlines()[-1] == "ended"
    assert await process.wait() == 0
    async with serving(path=tmp_path) as served:
        assert (await served.stub.Lookup(pb.LookupRequest(prompt=prompt("one")))).text == "mine"


async def test_a_second_signal_ends_the_grace(tmp_path: Path) -> None:
    process = await _start(tmp_path, grace_s=1_000.0)
    assert process.stdout is not None
    address = (await process.stdout.readline()).decode().strip()
    async with grpc.aio.insecure_channel(address) as channel:
        stub = SemanticCacheServiceStub(channel)
        asked = pb.LookupRequest(prompt=prompt("one"), want_lease=True)
        assert (await stub.Lookup(asked, wait_for_ready=True)).lease.lease_id
        reading = asyncio.ensure_future(_outcome(stub.Lookup(asked)))
        while (await stub.GetStats(pb.GetStatsRequest())).queues[0].depth < 2:
            pass
        health_stub = health_pb2_grpc.HealthStub(channel)
        process.send_signal(signal.SIGTERM)
        while (await health_stub.Check(health_pb2.HealthCheckRequest())).status == 1:
            pass
        process.send_signal(signal.SIGTERM)
        assert isinstance(await reading, grpc.aio.AioRpcError)
    assert (await process.stdout.read()).decode().splitlines()[-1] == "ended"
    assert await process.wait() == 0


async def _start(path: Path, *, grace_s: float) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        SERVE,
        str(path),
        str(grace_s),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
