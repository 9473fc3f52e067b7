"""Stale answers of a real server whose upstream is stopped: over HTTP and gRPC, plain and streamed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import httpx2
import pytest
from prometheus_client import generate_latest

from semcache import Client
from semcache.model import Status
from semcache.server.app import Application
from semcache.server.temporary import temporary_server_with
from semcache.testing.clock import FakeClock
from semcache.testing.embedder import HashingEmbedder
from semcache.testing.upstream import embeddings_body
from semcache.testing.upstream_server import Received, Reply, ScriptedServer, echo, failure, plain
from semcache.v1 import semcache_pb2 as pb
from semcache.v1.semcache_pb2_grpc import SemanticCacheServiceStub
from tests.integration.calls import prompt
from tests.integration.http.calling import CHAT, asking, error_of, said, streamed, told_last

TTL_S = 86_400.0
ASKED = "What is a cache?"


@dataclass
class Run:
    """A server, its callers, and its upstream, which a test takes down."""

    application: Application
    clock: FakeClock
    upstream: ScriptedServer
    stub: SemanticCacheServiceStub
    client: Client
    http: httpx2.AsyncClient
    status: int = 200
    answer: Callable[[Received], Reply] = echo

    def reply(self, request: Received) -> Reply:
        return self.answer(request) if self.status == 200 else failure(self.status)

    async def post(self, text: str = ASKED, headers: dict[str, str] | None = None, **fields: Any) -> httpx2.Response:
        return await self.http.post(CHAT, json=asking(text, **fields), headers=headers)

    async def complete(self, text: str = ASKED, **fields: Any) -> pb.CompleteResponse:
        return await self.stub.Complete(pb.CompleteRequest(prompt=prompt(text), **fields))


@asynccontextmanager
async def running(serve_stale_s: float = 600.0) -> AsyncIterator[Run]:
    clock = FakeClock()
    runs: list[Run] = []
    async with ScriptedServer(lambda request: runs[0].reply(request)) as upstream:  # noqa: PLW0108 - made below
        overrides = {
            "store": {"serve_stale_s": serve_stale_s},
            "upstream": {
                "targets": [{"name": "main", "base_url": upstream.base_url}],
                "retry": {"max_retries": 0},
            },
        }
        async with (
            temporary_server_with(overrides, embedder=HashingEmbedder(), clock=clock) as application,
            grpc.aio.insecure_channel(application.address) as channel,
            Client(application.address) as client,
            httpx2.AsyncClient(base_url=f"http://{application.http_address}", trust_env=False) as http,
        ):
            runs.append(Run(application, clock, upstream, SemanticCacheServiceStub(channel), client, http))
            yield runs[0]


@asynccontextmanager
async def expired(*, past_s: float = 42.0, stopped: bool = True, **fields: Any) -> AsyncIterator[Run]:
    """A server with one entry that expired `past_s` seconds ago, and whose upstream is stopped."""
    async with running(**fields) as run:
        await run.complete()
        run.clock.advance(TTL_S + past_s)
        if stopped:
            await run.upstream.close()
        yield run


async def test_over_http() -> None:
    async with expired() as run:
        answer = await run.post()
        assert (answer.status_code, said(answer)) == (200, f"Answer to: {ASKED}")
        assert answer.headers["x-cache-status"] == "STALE"
        assert answer.headers["cache-status"] == "semcache; fwd=stale; ttl=-42; detail=upstream_unreachable"
        assert answer.headers["age"] == str(86_400 + 42)
        assert answer.headers["x-semcache-hit-id"]
        assert (answer.headers["x-semcache-cost-usd"], answer.headers["x-semcache-saved-usd"]) == ("0", "0")
        assert "x-cache-match" not in answer.headers


async def test_over_http_as_a_stream() -> None:
    async with expired() as run:
        answer = await run.post(stream=True)
        assert answer.headers["x-cache-status"] == told_last(answer.text)["x-cache-status"] == "STALE"
        assert streamed(answer.text) == f"Answer to: {ASKED}"


async def test_over_grpc_and_by_the_client() -> None:
    async with expired() as run:
        outcome = (await run.complete()).outcome
        assert (outcome.status, outcome.reason) == (pb.STATUS_STALE, "upstream_unreachable")
        assert (outcome.stale_for.seconds, outcome.age.seconds) == (42, 86_442)
        call = run.stub.CompleteStream(pb.CompleteStreamRequest(prompt=prompt(ASKED)))
        frames = [frame async for frame in call]
        assert frames[0].started.outcome.status == pb.STATUS_STALE
        answer = await run.client.complete(prompt=ASKED, model="gpt-4o-mini")
        assert answer.status is Status.STALE
        assert answer.stale_for is not None
        assert (answer.hit, answer.stale_for.total_seconds()) == (False, 42.0)
        counts = (await run.stub.GetStats(pb.GetStatsRequest())).requests
        assert (counts.stale, counts.miss, counts.error, counts.total) == (3, 1, 0, 4)


async def test_once_all_breakers_are_open_nothing_is_forwarded() -> None:
    async with expired() as run:
        reasons = [(await run.post()).headers["cache-status"] for _ in range(30)]
        # On a slow machine the breaker may let a probe through at the end.
        assert "semcache; hit; ttl=-42; detail=upstream_unavailable" in reasons


async def test_the_ledger_counts_it_apart() -> None:
    async with expired() as run:
        await run.post()
        savings = await run.stub.GetSavings(pb.GetSavingsRequest())
        assert (savings.total.requests.stale, savings.total.requests.miss) == (1, 1)
        assert savings.total.saved_nanousd == 0
        page = generate_latest(run.application.composition.registry).decode()
        assert 'semcache_requests_total{model="other",status="stale",task_type="none"} 1.0' in page


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        ({"cache-control": "no-cache"}, {}),
        ({"cache-control": "max-age=60"}, {}),
        ({"x-semcache-mode": "bypass"}, {}),
        ({"x-semcache-namespace": "other"}, {}),
        ({}, {"temperature": 0.5}),
    ],
)
async def test_neighbours_get_the_error(headers: dict[str, str], fields: dict[str, Any]) -> None:
    async with expired() as run:
        answer = await run.post(headers=headers, **fields)
        assert (answer.status_code, error_of(answer)["code"]) == (502, "UPSTREAM_UNREACHABLE")


async def test_only_if_cached_is_a_miss() -> None:
    async with expired() as run:
        answer = await run.post(headers={"cache-control": "only-if-cached"})
        assert (answer.status_code, error_of(answer)["code"]) == (504, "CACHE_ONLY_MISS")


async def test_beyond_the_window_the_error_comes() -> None:
    async with expired(past_s=600.0) as run:
        assert (await run.post()).status_code == 502


@pytest.mark.parametrize(("status", "answered"), [(500, 200), (503, 200), (400, 400), (404, 404), (429, 429)])
async def test_the_upstreams_own_refusals_pass(status: int, answered: int) -> None:
    async with expired(stopped=False) as run:
        run.status = status
        answer = await run.post()
        assert answer.status_code == answered
        assert answer.headers.get("x-cache-status") == ("STALE" if answered == 200 else None)


async def test_a_verdict_and_an_invalidation_take_it_away() -> None:
    async with expired() as run:
        hit_id = (await run.complete()).outcome.hit_id
        await run.stub.ReportVerdict(pb.ReportVerdictRequest(hit_id=hit_id, verdict=pb.VERDICT_WRONG))
        assert (await run.post()).status_code == 502
    async with expired() as run:
        invalidated = await run.stub.Invalidate(pb.InvalidateRequest(all=True, apply=True))
        assert invalidated.removed_count == 0  # No live entry was named.
        assert (await run.post()).status_code == 502


async def test_followers_are_told_so_too() -> None:
    async with expired() as run:
        answers = await asyncio.gather(*(run.post() for _ in range(5)))
        assert {answer.headers["x-cache-status"] for answer in answers} == {"STALE"}
        assert len({answer.headers["x-semcache-hit-id"] for answer in answers}) == 5


async def test_two_targets_of_which_one_refuses_are_no_outage() -> None:
    async with ScriptedServer(lambda _: failure(404)) as refusing, ScriptedServer(echo) as answering:
        clock = FakeClock()
        overrides = {
            "store": {"serve_stale_s": 600.0},
            "upstream": {
                "targets": [
                    {"name": "a", "base_url": answering.base_url},
                    {"name": "b", "base_url": refusing.base_url},
                ],
                "routes": [
                    {"alias": "gpt-4o-mini", "target": "a", "fallbacks": ["other"]},
                    {"alias": "other", "target": "b"},
                ],
                "retry": {"max_retries": 0},
            },
        }
        async with (
            temporary_server_with(overrides, embedder=HashingEmbedder(), clock=clock) as application,
            httpx2.AsyncClient(base_url=f"http://{application.http_address}", trust_env=False) as http,
        ):
            assert (await http.post(CHAT, json=asking(ASKED))).status_code == 200
            clock.advance(TTL_S + 10)
            await answering.close()
            answer = await http.post(CHAT, json=asking(ASKED))
            assert answer.status_code in {404, 502}
            assert "x-cache-status" not in answer.headers


async def test_of_several_embeddings_a_stale_one_is_told() -> None:
    path = "/v1/embeddings"
    async with running() as run:
        run.answer = lambda request: plain(embeddings_body(request.json["input"], model="e"))
        await run.http.post(path, json={"model": "e", "input": ["a"]})
        run.clock.advance(TTL_S + 5)
        await run.http.post(path, json={"model": "e", "input": ["b"]})
        await run.upstream.close()
        answer = await run.http.post(path, json={"model": "e", "input": ["b", "a"]})
        assert (answer.headers["x-cache-status"], answer.headers["x-semcache-item-hits"]) == ("STALE", "1")
        assert [each["index"] for each in answer.json()["data"]] == [0, 1]
        assert (await run.http.post(path, json={"model": "e", "input": ["a", "c"]})).status_code == 502
