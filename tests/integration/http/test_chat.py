"""Chat completions over HTTP: plain, streamed, what answers tell of the cache, errors, and clients that leave."""

from __future__ import annotations

import asyncio
import json

import httpx2
import pytest

from semcache.errors import UpstreamError, UpstreamRefusedError
from semcache.model import UpstreamCall
from semcache.testing.serving import Served, serving
from semcache.testing.upstream import Scripted, ScriptedUpstream, prompt_of
from tests.integration.calls import complete, counts, in_flight
from tests.integration.http.calling import (
    CHAT,
    asking,
    client_of,
    error_of,
    events_of,
    request_bytes,
    said,
    streamed,
    told_last,
    wire_to,
)


async def test_a_miss_is_stored_and_its_repeat_is_a_hit_with_the_same_bytes(
    served: Served, client: httpx2.AsyncClient
) -> None:
    first = await client.post(CHAT, json=asking("What is a cache?"))
    again = await client.post(CHAT, json=asking("What is a cache?"))
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.headers["content-type"] == "application/json"
    assert said(first) == "Answer to: What is a cache?"
    assert again.content == first.content
    assert len(served.upstream.calls) == 1
    assert first.headers["x-cache-status"] == "MISS"
    assert first.headers["cache-status"] == "semcache; fwd=miss; stored; detail=empty_partition"
    assert "x-cache-match" not in first.headers
    assert again.headers["x-cache-status"] == "HIT"
    assert again.headers["cache-status"] == "semcache; hit; detail=exact_match"
    assert (again.headers["x-cache-match"], again.headers["x-cache-similarity"]) == ("exact", "1.0000")
    assert again.headers["age"] == "0"
    assert again.headers["x-semcache-hit-id"] == again.headers["x-semcache-request-id"]
    assert again.headers["x-semcache-saved-usd"] == first.headers["x-semcache-cost-usd"] == "0.000009"
    assert again.headers["x-semcache-cost-usd"] == "0"


async def test_a_paraphrase_is_a_semantic_hit_and_says_how_near_it_is(client: httpx2.AsyncClient) -> None:
    await client.post(CHAT, json=asking("How do I reset my password?"))
    answer = await client.post(CHAT, json=asking("How do I reset my password, please?"))
    assert answer.headers["x-cache-match"] == "semantic"
    assert 0.5 < float(answer.headers["x-cache-similarity"]) <= 1


async def test_one_entry_serves_both_fronts_and_both_ways(served: Served, client: httpx2.AsyncClient) -> None:
    by_grpc = await complete(served, "What is a cache?")
    plain = await client.post(CHAT, json=asking("What is a cache?"))
    stream = await client.post(CHAT, json=asking("What is a cache?", stream=True))
    assert plain.content == by_grpc.openai_json
    assert plain.headers["x-cache-status"] == stream.headers["x-cache-status"] == "HIT"
    assert streamed(stream.text) == said(plain)
    assert len(served.upstream.calls) == 1


async def test_a_replayed_stream_is_well_formed(client: httpx2.AsyncClient) -> None:
    await client.post(CHAT, json=asking("Tell me"))
    stream = await client.post(CHAT, json=asking("Tell me", stream=True, stream_options={"include_usage": True}))
    assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
    *chunks, done = events_of(stream.text)
    assert done == "[DONE]"
    first, *_, last, usage = map(json.loads, chunks)
    assert {chunk["object"] for chunk in (first, last, usage)} == {"chat.completion.chunk"}
    assert len({json.loads(chunk)["id"] for chunk in chunks}) == 1
    assert first["choices"][0]["delta"]["role"] == "assistant"
    assert last["choices"][0]["finish_reason"] == "stop"
    assert (usage["choices"], usage["usage"]["completion_tokens"]) == ([], 10)
    assert told_last(stream.text)["x-cache-status"] == "HIT"


async def test_a_stream_without_include_usage_has_no_usage_chunk(client: httpx2.AsyncClient) -> None:
    for _ in range(2):
        stream = await client.post(CHAT, json=asking("Tell me", stream=True))
        assert all(json.loads(data)["choices"] for data in events_of(stream.text)[:-1])


async def test_the_end_of_a_live_stream_tells_what_its_head_could_not_know(client: httpx2.AsyncClient) -> None:
    stream = await client.post(CHAT, json=asking("Tell me", stream=True))
    assert stream.headers["x-cache-status"] == "MISS"
    assert "x-semcache-cost-usd" not in stream.headers
    told = told_last(stream.text)
    assert told["x-semcache-cost-usd"] == "0.000009"
    assert "stored" in told["cache-status"]
    assert told["x-semcache-entry-id"]


async def test_a_live_stream_is_relayed_as_it_comes() -> None:
    gate = asyncio.Event()
    scripted = Scripted(text="one two", pieces=("one ", "two"), piece_gates=(None, None, gate))
    async with serving(upstream=ScriptedUpstream(lambda _: scripted)) as served, client_of(served) as client:
        async with client.stream("POST", CHAT, json=asking("Count", stream=True)) as response:
            pieces = response.aiter_text()
            before = ""
            while "one " not in before:
                before += await anext(pieces)
            assert "two" not in before
            gate.set()
            text = before + "".join([piece async for piece in pieces])
        assert streamed(text) == "one two"


async def test_the_pause_of_a_replayed_stream_is_a_setting() -> None:
    settings = {"server": {"port": 0, "http": {"port": 0, "replay_pause_s": 60}}}
    async with serving(settings) as served, client_of(served) as client:
        await client.post(CHAT, json=asking("Tell me"))
        async with client.stream("POST", CHAT, json=asking("Tell me", stream=True)) as response:
            first = await anext(response.aiter_text())
        assert len(events_of(first)) == 1


async def test_a_hits_usage_is_zero_where_the_setting_says_so() -> None:
    settings = {"server": {"port": 0, "http": {"port": 0, "hit_usage": "zero"}}}
    async with serving(settings) as served, client_of(served) as client:
        live = await client.post(CHAT, json=asking("Tell me"))
        hit = await client.post(CHAT, json=asking("Tell me"))
        options = {"stream": True, "stream_options": {"include_usage": True}}
        stream = await client.post(CHAT, json=asking("Tell me", **options))
    assert live.json()["usage"]["total_tokens"] == 30
    assert hit.json()["usage"]["total_tokens"] == 0
    assert hit.json()["choices"] == live.json()["choices"]
    assert json.loads(events_of(stream.text)[-2])["usage"]["total_tokens"] == 0


async def test_request_ids_go_in_and_out(client: httpx2.AsyncClient) -> None:
    own = await client.post(CHAT, json=asking("a"), headers={"x-request-id": "mine-1"})
    assert own.headers["x-request-id"] == "mine-1"
    assert own.headers["x-semcache-request-id"] != "mine-1"
    new = await client.post(CHAT, json=asking("a"))
    assert new.headers["x-request-id"] == new.headers["x-semcache-request-id"]
    refused = await client.post(CHAT, json={}, headers={"x-request-id": "mine-2"})
    assert refused.headers["x-request-id"] == "mine-2"


REFUSAL = b'{"error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}}\n'


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("status", [400, 404, 422, 429, 500, 503])
async def test_an_upstreams_error_reaches_the_client_as_it_came(status: int, streams: bool) -> None:
    kind = UpstreamRefusedError if status < 500 else UpstreamError
    error = kind("no", http_status=status, body=REFUSAL, content_type="application/problem+json", retry_after_s=2.5)
    upstream = ScriptedUpstream(lambda _: Scripted(error=error))
    async with serving(upstream=upstream) as served, client_of(served) as client:
        answer = await client.post(CHAT, json=asking("a", stream=streams))
    assert (answer.status_code, answer.content) == (status, REFUSAL)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "3"


@pytest.mark.parametrize("status", [401, 403])
async def test_an_upstreams_word_on_the_servers_key_stays_here(status: int) -> None:
    error = UpstreamRefusedError("The upstream refused.", http_status=status, body=b"Incorrect key sk-a***f")
    upstream = ScriptedUpstream(lambda _: Scripted(error=error))
    async with serving(upstream=upstream) as served, client_of(served) as client:
        answer = await client.post(CHAT, json=asking("a"))
    assert answer.status_code == 424
    assert error_of(answer)["code"] == "UPSTREAM_REFUSED"
    assert "sk-a" not in answer.text


async def test_an_upstream_that_sends_no_error_body_gets_one_of_openais_shape() -> None:
    upstream = ScriptedUpstream(lambda _: Scripted(error=UpstreamError("It failed.", http_status=500)))
    async with serving(upstream=upstream) as served, client_of(served) as client:
        answer = await client.post(CHAT, json=asking("a"))
    assert answer.status_code == 500
    assert error_of(answer)["code"] == "UPSTREAM_FAILED"


async def test_a_stream_that_breaks_off_ends_with_an_error_and_without_done() -> None:
    upstream = ScriptedUpstream(lambda _: Scripted(text="a longer answer", break_after=2))
    async with serving(upstream=upstream) as served, client_of(served) as client:
        answer = await client.post(CHAT, json=asking("a", stream=True))
        *_, last = events_of(answer.text)
        assert json.loads(last)["error"]["code"]
        assert "[DONE]" not in answer.text
        assert (await counts(served)).error == 1
        assert (await client.post(CHAT, json=asking("a"))).status_code == 502


@pytest.mark.parametrize("streams", [False, True])
async def test_a_client_that_leaves_frees_its_place_and_its_answer_is_kept(streams: bool) -> None:
    gate = asyncio.Event()
    upstream = ScriptedUpstream(lambda _: Scripted(gate=gate))
    async with serving(upstream=upstream) as served:
        async with wire_to(served) as wire:
            await wire.send(request_bytes(json.dumps(asking("a", stream=streams)).encode()))
            await upstream.called()
            await in_flight(served, 1)
        await in_flight(served, 0)
        gate.set()
        async with client_of(served) as client:
            answer = await client.post(CHAT, json=asking("a"))
        assert (answer.headers["x-cache-status"], len(upstream.calls)) == ("HIT", 1)
        assert (await counts(served)).cancelled == 1


async def test_a_client_that_leaves_a_live_stream_frees_its_place() -> None:
    gate = asyncio.Event()
    scripted = Scripted(text="one two", pieces=("one ", "two"), piece_gates=(None, None, gate))
    async with serving(upstream=ScriptedUpstream(lambda _: scripted)) as served:
        async with wire_to(served) as wire:
            await wire.send(request_bytes(json.dumps(asking("a", stream=True)).encode()))
            await wire.reader.readuntil(b"one ")
            await in_flight(served, 1)
        await in_flight(served, 0)
        gate.set()


async def test_many_live_streams_dont_stall_those_of_the_cache_nor_each_other() -> None:
    live, stored = 60, 60
    gates = [asyncio.Event() for _ in range(live)]

    def script(call: UpstreamCall) -> Scripted:
        number = prompt_of(call.body).removeprefix("live ")
        if not number.isdigit():
            return Scripted(text="kept")
        return Scripted(text="one two", pieces=("one ", "two"), piece_gates=(None, None, gates[int(number)]))

    async def stream(text: str) -> str:
        async with wire_to(served) as wire:
            await wire.send(request_bytes(json.dumps(asking(text, stream=True)).encode(), "Connection: close"))
            return (await wire.reader.read()).decode()

    no_paraphrases = {"decision": {"threshold": 1.0}, "limits": {"tenant_in_flight": 1000}}
    async with serving(no_paraphrases, upstream=ScriptedUpstream(script)) as served, client_of(served) as client:
        await client.post(CHAT, json=asking("stored"))
        running = [asyncio.ensure_future(stream(f"live {number}")) for number in range(live)]
        await served.upstream.called(live + 1)
        replayed = await asyncio.gather(*[stream("stored") for _ in range(stored)])
        assert all("kept" in answer and "[DONE]" in answer for answer in replayed)
        for gate, answer in reversed(list(zip(gates, running, strict=True))):
            gate.set()
            assert "[DONE]" in await answer
        await in_flight(served, 0)


async def test_identical_requests_share_one_upstream_call() -> None:
    gate = asyncio.Event()
    upstream = ScriptedUpstream(lambda _: Scripted(gate=gate))
    async with serving(upstream=upstream) as served, client_of(served) as client:
        calls = [asyncio.ensure_future(client.post(CHAT, json=asking("a"))) for _ in range(3)]
        await in_flight(served, 3)
        gate.set()
        answers = await asyncio.gather(*calls)
    assert len(upstream.calls) == 1
    told = sorted(answer.headers["cache-status"].split("; detail")[0] for answer in answers)
    assert told == ["semcache; fwd=miss; collapsed"] * 2 + ["semcache; fwd=miss; stored"]


async def test_a_tenant_with_too_many_calls_is_told_when_to_try_again() -> None:
    gate = asyncio.Event()
    upstream = ScriptedUpstream(lambda _: Scripted(gate=gate))
    limits = {"limits": {"tenant_in_flight": 1}}
    async with serving(limits, upstream=upstream) as served, client_of(served) as client:
        first = asyncio.ensure_future(client.post(CHAT, json=asking("a")))
        await upstream.called()
        refused = await client.post(CHAT, json=asking("b"))
        gate.set()
        await first
    assert (refused.status_code, error_of(refused)["code"]) == (429, "TENANT_IN_FLIGHT")
    assert error_of(refused)["type"] == "rate_limit_error"
    assert int(refused.headers["retry-after"]) >= 1


async def test_models_are_those_that_the_routes_name() -> None:
    upstream = {
        "targets": [{"name": "house", "base_url": "http://127.0.0.1:9/v1"}],
        "routes": [{"alias": "fast", "target": "house"}, {"alias": "org/large", "target": "house"}],
    }
    async with serving({"upstream": upstream}) as served, client_of(served) as client:
        listed = (await client.get("/v1/models")).json()
        one = await client.get("/v1/models/org/large")
        none = await client.get("/v1/models/slow")
    assert [model["id"] for model in listed["data"]] == ["fast", "org/large"]
    assert one.json() == listed["data"][1]
    assert one.json()["owned_by"] == "house"
    assert (none.status_code, error_of(none)["code"]) == (404, "UNKNOWN_MODEL")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", CHAT, 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/v1/models", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/", 404, "UNKNOWN_PATH"),
        ("POST", "/v1/images/generations", 404, "UNKNOWN_PATH"),
        ("POST", CHAT + "/", 404, "UNKNOWN_PATH"),
    ],
)
async def test_what_isnt_served_is_refused(
    client: httpx2.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, error_of(answer)["code"]) == (status, code)
    if status == 405:
        assert answer.headers["allow"] in {"GET", "POST"}
