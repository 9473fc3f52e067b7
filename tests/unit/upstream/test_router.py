"""What the router sends over a real socket, and how it reads a right answer."""

import asyncio
import json
import random

import pytest
from structlog.testing import capture_logs

from semcache.errors import InvalidRequestError, SettingsError, UnknownModelError
from semcache.model import UpstreamCall, Usage
from semcache.protocols import replay_chunks
from semcache.settings import Route, Target, UpstreamSettings
from semcache.testing.clock import FakeClock
from semcache.testing.upstream import completion_body
from semcache.testing.upstream_server import ScriptedServer, events, plain
from semcache.upstream import HttpUpstream

BODY = b'{ "model":"fast",  "temperature": 1.50, "messages":[{"role":"user","content":"h\\u00e9"}] }'


def call(alias="fast", body=BODY):
    return UpstreamCall(alias=alias, body=body, deadline_s=100.0, request_id="r-77")


def router(*targets, routes=(), **rest):
    settings = UpstreamSettings(targets=targets, routes=routes)
    return HttpUpstream(settings, FakeClock(), rng=random.Random(0), environ={}, **rest)


async def test_the_body_goes_out_as_it_came_but_for_the_model():
    async with ScriptedServer([plain(completion_body("Hi.", model="m-1-2025", usage=Usage(30, 8, 2)))]) as server:
        target = Target(name="t", base_url=server.base_url + "/", headers={"X-Team": "blue"})
        upstream = router(target, routes=(Route(alias="fast", target="t", model="m-1"),))
        answer = await upstream.complete(call())
        await upstream.close()
    (request,) = server.requests
    assert request.body == BODY.replace(b'"fast"', b'"m-1"')
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-team"] == "blue"
    assert request.headers["x-request-id"] == "r-77"
    assert "authorization" not in request.headers
    assert (answer.text, answer.model, answer.target_model, answer.route) == ("Hi.", "m-1-2025", "m-1", "t")
    assert answer.usage == Usage(30, 8, 2)
    assert answer.attempts == 1


async def test_a_stream_is_relayed_as_it_arrives():
    gate = asyncio.Event()
    made = []

    def script(request):
        made.extend(replay_chunks(completion_body("One two three. " * 9), include_usage=True))
        return events(made, piece_gate=gate)

    async with ScriptedServer(script) as server:
        upstream = router(Target(name="t", base_url=server.base_url))
        stream = upstream.stream(call())
        first = await anext(stream)
        # The server sends the rest only after the first chunk has come.
        gate.set()
        items = [first, *[item async for item in stream]]
        await upstream.close()
    assert items[:-1] == made
    answer = items[-1]
    assert answer.text == "One two three. " * 9
    assert answer.usage == Usage(20, 0, 10)
    sent = server.requests[0].json
    assert sent["stream"] is True
    assert sent["stream_options"] == {"include_usage": True}
    assert server.requests[0].headers["accept"] == "text/event-stream"
    assert json.loads(answer.body)["object"] == "chat.completion"


async def test_connections_are_kept_and_shared():
    async with ScriptedServer() as server:
        upstream = router(Target(name="t", base_url=server.base_url))
        for _ in range(3):
            await upstream.complete(call())
            [_ async for _ in upstream.stream(call())]
        assert server.open_connections == 1
        await upstream.close()
        await server.abandoned()
    assert {request.connection for request in server.requests} == {1}


async def test_calls_beyond_the_connections_wait_for_one():
    gate = asyncio.Event()

    def script(request):
        return plain(completion_body("x"), gate=gate)

    async with ScriptedServer(script) as server:
        upstream = router(Target(name="t", base_url=server.base_url, max_connections=2))
        tasks = [asyncio.create_task(upstream.complete(call())) for _ in range(5)]
        await server.received(2)
        assert len(server.requests) == 2
        gate.set()
        await asyncio.gather(*tasks)
        await upstream.close()
    assert len(server.requests) == 5
    assert {request.connection for request in server.requests} == {1, 2}


async def test_each_alias_goes_to_its_own_target():
    async with ScriptedServer() as one, ScriptedServer() as two:
        upstream = router(
            Target(name="one", base_url=one.base_url),
            Target(name="two", base_url=two.base_url),
            routes=(Route(alias="fast", target="one", model="mini"), Route(alias="big", target="two")),
        )
        assert (await upstream.complete(call("fast"))).route == "one"
        assert (await upstream.complete(call("big"))).route == "two"
        assert one.requests[0].json["model"] == "mini"
        assert two.requests[0].json["model"] == "big"
        assert upstream.models("fast") == frozenset({"mini"})
        assert upstream.models("big") == frozenset({"big"})
        assert upstream.models("other") is None
        with pytest.raises(UnknownModelError, match="big, fast"):
            await upstream.complete(call("other"))
        with pytest.raises(UnknownModelError):
            await anext(upstream.stream(call("other")))
        await upstream.close()


async def test_a_key_file_that_changes_is_used_with_the_next_call(tmp_path):
    path = tmp_path / "key"
    path.write_text("sk-one")
    async with ScriptedServer() as server:
        upstream = router(Target(name="t", base_url=server.base_url, api_key_file=path, headers={"Authorization": "x"}))
        await upstream.complete(call())
        path.write_text("sk-two!")
        await upstream.complete(call())
        await upstream.close()
    assert [request.headers["authorization"] for request in server.requests] == ["Bearer sk-one", "Bearer sk-two!"]


async def test_a_body_that_is_no_object_is_refused_before_anyone_is_asked():
    async with ScriptedServer() as server:
        upstream = router(Target(name="t", base_url=server.base_url))
        with pytest.raises(InvalidRequestError):
            await upstream.complete(call(body=b"[]"))
        await upstream.close()
    assert server.requests == []


async def test_an_unknown_finish_reason_is_logged_once_for_each_target():
    def script(request):
        reason = "moonrise" if request.json["model"] == "odd" else "eos_token"
        return plain(completion_body("x", finish_reason=reason))

    async with ScriptedServer(script) as server:
        targets = [Target(name=name, base_url=server.base_url) for name in ("one", "two")]
        routes = [
            Route(alias=alias, target=target, model=model)
            for alias, target, model in (("fast", "one", "odd"), ("big", "two", "odd"), ("plain", "one", "known"))
        ]
        upstream = router(*targets, routes=tuple(routes))
        with capture_logs() as logs:
            for alias in ("fast", "fast", "big", "plain"):
                await upstream.complete(call(alias))
        await upstream.close()
    unknown = [(log["target"], log["finish_reason"]) for log in logs if log["event"] == "upstream.finish_unknown"]
    assert unknown == [("one", "moonrise"), ("two", "moonrise")]


async def test_the_environment_configures_no_proxy(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    async with ScriptedServer() as server:
        upstream = router(Target(name="t", base_url=server.base_url))
        assert (await upstream.complete(call())).text == "Answer to: hé"
        await upstream.close()


def test_a_base_url_that_is_none_is_a_problem_of_the_settings():
    with pytest.raises(SettingsError, match="base_url"):
        router(Target(name="t", base_url="http://[::bad/v1"))
