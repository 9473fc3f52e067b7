"""Anthropic's messages over HTTP: plain, streamed, tools, images, headers, errors, and what they cost."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any

import httpx2
import pytest

from semcache.errors import UpstreamError, UpstreamRefusedError
from semcache.model import ApiProtocol, UpstreamCall, Usage
from semcache.server.clock import SystemClock
from semcache.settings import UpstreamSettings
from semcache.testing.messages import message_body
from semcache.testing.serving import Served, serving
from semcache.testing.upstream import Scripted, ScriptedUpstream, prompt_of
from semcache.testing.upstream_server import ScriptedServer, echo
from semcache.upstream import HttpUpstream
from tests.integration.calls import counts, in_flight
from tests.integration.http.calling import CHAT, asking, client_of, request_bytes, wire_to

MESSAGES = "/v1/messages"
MODEL = "claude-sonnet-4-5"
IN_NANOUSD, CACHED_NANOUSD, WRITTEN_NANOUSD, OUT_NANOUSD = 3_000, 300, 3_750, 15_000
THOUGHT = {"type": "thinking", "thinking": "A cache keeps.", "signature": "c2ln"}
TEXT = {"type": "text", "text": "A cache keeps answers."}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": {"word": "cache"}}
TOOL = {"name": "look_up", "input_schema": {"type": "object"}}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
OVERLOADED = b'{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}'


def saying(content: Any, **fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": content}], **fields}


def said(response: httpx2.Response) -> str:
    return response.json()["content"][0]["text"]


def error_of(response: httpx2.Response) -> dict[str, Any]:
    body = response.json()
    assert body.keys() == {"type", "error", "request_id"}
    assert body["type"] == "error"
    assert body["error"].keys() == {"type", "message", "code"}
    assert body["request_id"] == response.headers["request-id"] == response.headers["x-request-id"]
    return body["error"]


def events_of(text: str) -> list[tuple[str, Any]]:
    """Names and data of a stream's events; comments are left out."""
    blocks = text.split("\n\n")
    assert blocks[-1] == ""
    read = []
    for block in blocks[:-1]:
        if not block.startswith(":"):
            name, data = block.split("\n")
            read.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    assert all(name == data["type"] for name, data in read)
    return read


def streamed(text: str) -> str:
    deltas = [data["delta"] for name, data in events_of(text) if name == "content_block_delta"]
    return "".join(delta.get("text", "") for delta in deltas)


def script(**fields: Any) -> ScriptedUpstream:
    return ScriptedUpstream(lambda _: Scripted(**fields))


async def test_a_miss_is_stored_and_its_repeat_is_a_hit_with_the_same_bytes(
    served: Served, client: httpx2.AsyncClient
) -> None:
    first = await client.post(MESSAGES, json=saying("What is a cache?"))
    again = await client.post(MESSAGES, json=saying("What is a cache?"))
    assert (first.status_code, again.status_code) == (200, 200)
    assert said(first) == "Answer to: What is a cache?"
    assert again.content == first.content
    assert len(served.upstream.calls) == 1
    assert (first.headers["x-cache-status"], again.headers["x-cache-status"]) == ("MISS", "HIT")
    assert again.headers["x-cache-match"] == "exact"
    assert again.headers["request-id"] == again.headers["x-request-id"] != first.headers["request-id"]


async def test_a_paraphrase_is_a_semantic_hit_under_the_same_system_alone(
    served: Served, client: httpx2.AsyncClient
) -> None:
    await client.post(MESSAGES, json=saying("How do I reset my password?", system="Be terse."))
    near = await client.post(MESSAGES, json=saying("How do I reset my password, please?", system="Be terse."))
    other = await client.post(MESSAGES, json=saying("How do I reset my password, please?", system="Be kind."))
    assert near.headers["x-cache-match"] == "semantic"
    assert other.headers["x-cache-status"] == "MISS"
    assert len(served.upstream.calls) == 2


async def test_a_chat_of_the_same_words_shares_no_answer(served: Served, client: httpx2.AsyncClient) -> None:
    chat = {name: value for name, value in asking("What is a cache?", model=MODEL).items() if name != "max_tokens"}
    for path in (MESSAGES, CHAT, MESSAGES, CHAT):
        answer = await client.post(path, json=chat)
        assert ("choices" in answer.json()) is (path == CHAT)
    assert answer.headers["x-cache-status"] == "HIT"
    assert len(served.upstream.calls) == 2


async def test_one_entry_serves_plain_and_streamed_requests(served: Served, client: httpx2.AsyncClient) -> None:
    for text, streams_first in (("What is a cache?", False), ("What is a queue?", True)):
        answers = {}
        for streams in (streams_first, not streams_first):
            answers[streams] = await client.post(MESSAGES, json=saying(text, stream=streams))
        assert answers[not streams_first].headers["x-cache-status"] == "HIT"
        events = events_of(answers[True].text)
        whole = answers[False].json()
        assert streamed(answers[True].text) == said(answers[False])
        assert events[0][1]["message"]["id"] == whole["id"]
        assert events[-2][1]["usage"]["output_tokens"] == whole["usage"]["output_tokens"]
        assert [name for name, _ in events][-2:] == ["message_delta", "message_stop"]
    assert len(served.upstream.calls) == 2


async def test_a_live_stream_is_relayed_as_it_comes_and_ends_with_what_the_cache_tells() -> None:
    gate = asyncio.Event()
    upstream = script(pieces=("one ", "two"), piece_gates=(None, None, None, gate))
    async with serving(upstream=upstream) as served, client_of(served) as client:
        async with client.stream("POST", MESSAGES, json=saying("Count", stream=True)) as response:
            assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
            pieces = response.aiter_text()
            before = ""
            while "one " not in before:
                before += await anext(pieces)
            assert "two" not in before
            gate.set()
            text = before + "".join([piece async for piece in pieces])
        hit = await client.post(MESSAGES, json=saying("Count"))
    assert streamed(text) == said(hit) == "one two"
    assert "[DONE]" not in text
    assert text.split("\n\n")[-3].startswith(": semcache {")
    assert hit.headers["x-cache-status"] == "HIT"


async def test_a_conversation_with_tools_is_served_to_equal_ones_alone(
    served: Served, client: httpx2.AsyncClient
) -> None:
    def turns(result: str) -> dict[str, Any]:
        answer = {"type": "tool_result", "tool_use_id": "toolu_1", "content": result}
        messages = [
            {"role": "user", "content": "Look it up."},
            {"role": "assistant", "content": [CALL]},
            {"role": "user", "content": [answer]},
        ]
        return saying("", messages=messages, tools=[TOOL])

    statuses = [
        (await client.post(MESSAGES, json=body)).headers["x-cache-status"]
        for body in (turns("42"), turns("42"), turns("43"))
    ]
    assert statuses == ["MISS", "HIT", "MISS"]


@pytest.mark.parametrize("kept", [False, True])
async def test_an_answer_that_calls_tools_is_stored_by_a_setting(kept: bool) -> None:
    upstream = script(tool_calls=(CALL,), finish_reason="tool_use")
    settings = {"cacheability": {"store_tool_calls": kept}}
    async with serving(settings, upstream=upstream) as served, client_of(served) as client:
        first = await client.post(MESSAGES, json=saying("Look it up.", tools=[TOOL]))
        again = await client.post(MESSAGES, json=saying("Look it up.", tools=[TOOL]))
        stream = await client.post(MESSAGES, json=saying("Look it up.", tools=[TOOL], stream=True))
    assert first.json()["content"] == [CALL]
    assert again.headers["x-cache-status"] == ("HIT" if kept else "MISS")
    deltas = [data["delta"] for name, data in events_of(stream.text) if name == "content_block_delta"]
    assert json.loads("".join(delta["partial_json"] for delta in deltas)) == CALL["input"]


async def test_an_image_is_served_to_equal_requests_alone(client: httpx2.AsyncClient) -> None:
    content = [IMAGE, {"type": "text", "text": "How do I reset my password?"}]
    near = [IMAGE, {"type": "text", "text": "How do I reset my password, please?"}]
    statuses = [
        (await client.post(MESSAGES, json=saying(each))).headers["x-cache-status"] for each in (content, content, near)
    ]
    assert statuses == ["MISS", "HIT", "MISS"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "web_search"),
        ({"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]}, "server_tools"),
        ({"container": "container_1"}, "kept_elsewhere"),
    ],
)
async def test_what_the_provider_runs_or_keeps_bypasses_the_cache(
    client: httpx2.AsyncClient, fields: dict[str, Any], reason: str
) -> None:
    for _ in range(2):
        answer = await client.post(MESSAGES, json=saying("What is a cache?", **fields))
        assert answer.headers["x-cache-status"] == "BYPASS"
        assert answer.headers["cache-status"].endswith(f"detail={reason}")


async def test_the_beginning_of_an_answer_is_served_to_equal_requests_alone(client: httpx2.AsyncClient) -> None:
    asked = saying("", messages=[{"role": "user", "content": "a"}, {"role": "assistant", "content": "It is ("}])
    first, again = [await client.post(MESSAGES, json=asked) for _ in range(2)]
    assert first.headers["cache-status"].endswith("detail=nothing_to_compare")
    assert again.headers["x-cache-match"] == "exact"


async def test_thoughts_go_to_equal_requests_alone() -> None:
    body = message_body("", content=[THOUGHT, TEXT], model=MODEL)
    async with serving(upstream=script(body=body)) as served, client_of(served) as client:
        first = await client.post(MESSAGES, json=saying("How do I reset my password?"))
        equal = await client.post(MESSAGES, json=saying("How do I reset my password?"))
        near = await client.post(MESSAGES, json=saying("How do I reset my password, please?"))
        stream = await client.post(MESSAGES, json=saying("How do I reset my password, please?", stream=True))
    assert first.json()["content"] == equal.json()["content"] == [THOUGHT, TEXT]
    assert near.headers["x-cache-match"] == "semantic"
    assert near.json() == {**first.json(), "content": [TEXT]}
    assert "thinking" not in stream.text
    assert streamed(stream.text) == TEXT["text"]


async def test_the_protocols_headers_are_sent_on_and_keep_requests_apart(
    served: Served, client: httpx2.AsyncClient
) -> None:
    version = ("anthropic-version", "2023-06-01")
    sent: list[list[tuple[str, str]]] = [
        [],
        [version],
        [("anthropic-beta", "b-2, a-1"), version],
        [("anthropic-beta", "a-1"), ("anthropic-beta", "b-2")],
    ]
    statuses = [
        (await client.post(MESSAGES, json=saying("a"), headers=headers)).headers["x-cache-status"] for headers in sent
    ]
    assert statuses == ["MISS", "HIT", "MISS", "HIT"]
    assert [call.headers for call in served.upstream.calls] == [(version,), (version, ("anthropic-beta", "a-1,b-2"))]


async def test_a_key_in_x_api_key_leads_to_its_tenant() -> None:
    keys = [{"tenant": "acme", "sha256": hashlib.sha256(b"sk-ant-1").hexdigest()}]
    async with serving({"auth": {"enabled": True, "keys": keys}}) as served, client_of(served) as client:
        known = await client.post(MESSAGES, json=saying("a"), headers={"x-api-key": "sk-ant-1"})
        unknown = await client.post(MESSAGES, json=saying("a"), headers={"x-api-key": "sk-ant-2"})
        assert served.upstream.calls[0].tenant == "acme"
    assert known.status_code == 200
    assert (unknown.status_code, error_of(unknown)["type"]) == (401, "authentication_error")


async def test_a_hits_usage_is_zero_where_the_setting_says_so() -> None:
    settings = {"server": {"port": 0, "http": {"port": 0, "hit_usage": "zero"}}}
    async with serving(settings) as served, client_of(served) as client:
        live = await client.post(MESSAGES, json=saying("Tell me"))
        hit = await client.post(MESSAGES, json=saying("Tell me"))
        stream = await client.post(MESSAGES, json=saying("Tell me", stream=True))
    assert live.json()["usage"]["output_tokens"] == 10
    assert {count for count in hit.json()["usage"].values() if isinstance(count, int)} == {0}
    events = dict(events_of(stream.text))
    for usage in (events["message_start"]["message"]["usage"], events["message_delta"]["usage"]):
        assert {count for count in usage.values() if isinstance(count, int)} == {0}


BODY = json.dumps(saying("a")).encode()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "INVALID_JSON"),
        (BODY[:-1], "INVALID_JSON"),
        (b"[" + BODY + b"]", "INVALID_JSON"),
        (BODY[:-1] + b', "model": "other"}', "DUPLICATE_KEY"),
        (BODY[:-1] + b', "system": [{"type": "text", "type": "text"}]}', "DUPLICATE_KEY"),
        (BODY[:-1] + b', "stream": "true"}', "INVALID_PARAMETER"),
        (BODY[:-1] + b', "stream": 1}', "INVALID_PARAMETER"),
        (BODY[:-1] + b', "system": "half \\ud800"}', "INVALID_TEXT"),
        (BODY.replace(b'"a"', b'"\\ud800"'), "INVALID_TEXT"),
        (b'{"model":"m","max_tokens":1}', "EMPTY_MESSAGES"),
        (b'{"model":"m","messages":[]}', "EMPTY_MESSAGES"),
        (b'{"model":"m","messages":"hi"}', "INVALID_PARAMETER"),
        (b'{"model":"m","messages":["hi"]}', "INVALID_MESSAGE"),
        (b'{"model":"m","messages":[{"content":"hi"}]}', "UNKNOWN_ROLE"),
        (b'{"messages":[{"role":"user","content":"hi"}]}', "NO_MODEL"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "JSON_TOO_DEEP"),
        (BODY[:-1] + b', "cache": {"made-up": 1}}', "INVALID_PARAMETER"),
    ],
    ids=lambda value: repr(value)[:50],
)
async def test_a_body_with_no_clear_meaning_is_refused_in_anthropics_shape(
    served: Served, client: httpx2.AsyncClient, body: bytes, code: str
) -> None:
    answer = await client.post(MESSAGES, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert (error_of(answer)["type"], error_of(answer)["code"]) == ("invalid_request_error", code)
    assert served.upstream.calls == []


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"anthropic-version": "2099-01-01"}, 400, "UNKNOWN_VERSION"),
        ({"anthropic-beta": "a\xff"}, 400, "INVALID_HEADER"),
        ({"x-semcache-made-up": "1"}, 400, "UNKNOWN_HEADER"),
        ({"content-type": "text/plain"}, 415, "UNSUPPORTED_CONTENT_TYPE"),
        ({"host": "evil.example"}, 403, "HOST_NOT_LOCAL"),
    ],
    ids=str,
)
async def test_headers_that_say_nothing_clear_are_refused_in_anthropics_shape(
    client: httpx2.AsyncClient, headers: dict[str, str], status: int, code: str
) -> None:
    sent = [
        (name.encode(), value.encode("latin-1"))
        for name, value in {"content-type": "application/json", **headers}.items()
    ]
    answer = await client.post(MESSAGES, content=BODY, headers=sent)
    assert (answer.status_code, error_of(answer)["code"]) == (status, code)


async def test_what_only_the_upstream_can_judge_is_sent_on(served: Served, client: httpx2.AsyncClient) -> None:
    body = {name: value for name, value in saying("a").items() if name != "max_tokens"}
    assert (await client.post(MESSAGES, json=body)).status_code == 200
    assert (await client.post(MESSAGES, json={**body, "max_tokens": -1})).status_code == 200
    assert (await client.post(MESSAGES, json={**body, "system": 3})).headers["x-cache-status"] == "BYPASS"
    assert len(served.upstream.calls) == 3


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", MESSAGES, 405, "invalid_request_error"),
        ("POST", MESSAGES + "/count_tokens", 404, "not_found_error"),
        ("POST", MESSAGES + "/batches", 404, "not_found_error"),
        ("GET", MESSAGES + "/batches/b-1", 404, "not_found_error"),
        ("POST", MESSAGES + "/", 404, "not_found_error"),
    ],
)
async def test_what_isnt_served_below_the_path_is_refused_in_anthropics_shape(
    client: httpx2.AsyncClient, method: str, path: str, status: int, kind: str
) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, error_of(answer)["type"]) == (status, kind)


async def test_a_path_that_only_begins_alike_is_nobodys(client: httpx2.AsyncClient) -> None:
    assert (await client.post("/v1/messagesque")).json().keys() == {"error"}


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("status", [400, 404, 413, 429, 500, 529])
async def test_an_upstreams_error_reaches_the_client_as_it_came(status: int, streams: bool) -> None:
    kind = UpstreamRefusedError if status < 500 else UpstreamError
    error = kind("no", http_status=status, body=OVERLOADED, content_type="application/json", retry_after_s=2.5)
    async with serving(upstream=script(error=error)) as served, client_of(served) as client:
        answer = await client.post(MESSAGES, json=saying("a", stream=streams))
    assert (answer.status_code, answer.content, answer.headers["retry-after"]) == (status, OVERLOADED, "3")


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (UpstreamRefusedError("It refused.", http_status=401, body=b"key sk-a***f"), 424, "api_error"),
        (UpstreamError("It failed.", http_status=500), 500, "api_error"),
        (UpstreamError("It failed."), 502, "api_error"),
        (UpstreamError("It failed.", http_status=529), 529, "overloaded_error"),
    ],
)
async def test_an_error_without_a_body_for_the_caller_gets_one_of_anthropics_shape(
    error: UpstreamError, status: int, kind: str
) -> None:
    async with serving(upstream=script(error=error)) as served, client_of(served) as client:
        answer = await client.post(MESSAGES, json=saying("a"))
    assert (answer.status_code, error_of(answer)["type"]) == (status, kind)
    assert "sk-a" not in answer.text


@pytest.mark.parametrize(
    ("error", "kind"),
    [(None, "api_error"), (UpstreamError("no", http_status=529, body=OVERLOADED), "overloaded_error")],
)
async def test_a_stream_that_breaks_off_ends_with_an_error_event(error: UpstreamError | None, kind: str) -> None:
    upstream = script(text="a longer answer", break_after=3, error=error)
    async with serving(upstream=upstream) as served, client_of(served) as client:
        answer = await client.post(MESSAGES, json=saying("a", stream=True))
        *_, (name, data) = events_of(answer.text)
        assert (name, data["error"]["type"]) == ("error", kind)
        assert "message_stop" not in answer.text
        assert (await counts(served)).error == 1


@pytest.mark.parametrize("streams", [False, True])
async def test_a_client_that_leaves_frees_its_place_and_its_answer_is_kept(streams: bool) -> None:
    gate = asyncio.Event()
    upstream = script(gate=gate)
    async with serving(upstream=upstream) as served:
        async with wire_to(served) as wire:
            await wire.send(request_bytes(json.dumps(saying("a", stream=streams)).encode(), path=MESSAGES))
            await upstream.called()
            await in_flight(served, 1)
        await in_flight(served, 0)
        gate.set()
        async with client_of(served) as client:
            answer = await client.post(MESSAGES, json=saying("a"))
        assert (answer.headers["x-cache-status"], len(upstream.calls)) == ("HIT", 1)


async def test_identical_requests_share_one_upstream_call() -> None:
    gate = asyncio.Event()
    upstream = script(gate=gate)
    async with serving(upstream=upstream) as served, client_of(served) as client:
        calls = [
            asyncio.ensure_future(client.post(MESSAGES, json=saying("a", stream=streams)))
            for streams in (True, False, True)
        ]
        await in_flight(served, 3)
        gate.set()
        answers = await asyncio.gather(*calls)
    assert len(upstream.calls) == 1
    assert {streamed(answers[0].text), said(answers[1]), streamed(answers[2].text)} == {"An answer."}


USAGE = Usage(input_tokens=2_000, cached_input_tokens=1_500, output_tokens=100, cache_write_tokens=300)
COST_NANOUSD = 200 * IN_NANOUSD + 1_500 * CACHED_NANOUSD + 300 * WRITTEN_NANOUSD + 100 * OUT_NANOUSD


@pytest.mark.parametrize("streams", [False, True])
async def test_what_the_prompts_cache_cost_is_booked_and_saved(streams: bool) -> None:
    body = saying("What is a cache?", stream=streams)
    async with serving(upstream=script(usage=USAGE)) as served, client_of(served) as client:
        first = await client.post(MESSAGES, json=body)
        hit = await client.post(MESSAGES, json=saying("What is a cache?"))
        ledger = (await client.get("/semcache/v1/savings")).json()
    if not streams:
        assert first.headers["x-semcache-cost-usd"] == f"{COST_NANOUSD / 1e9:.9f}".rstrip("0")
    assert (hit.headers["x-semcache-cost-usd"], hit.headers["x-semcache-saved-usd"]) == (
        "0",
        f"{COST_NANOUSD / 1e9:.9f}".rstrip("0"),
    )
    assert str(COST_NANOUSD) in json.dumps(ledger)
    usage = hit.json()["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == (200, 1_500, 100)


async def test_a_spent_budget_is_told_in_anthropics_shape() -> None:
    settings = {"costs": {"budgets": [{"name": "b", "limit_usd": COST_NANOUSD / 1e9}]}}
    async with serving(settings, upstream=script(usage=USAGE)) as served, client_of(served) as client:
        assert (await client.post(MESSAGES, json=saying("one", max_tokens=1))).status_code == 200
        refused = await client.post(MESSAGES, json=saying("two", max_tokens=100_000))
        hit = await client.post(MESSAGES, json=saying("one", max_tokens=1))
    assert refused.status_code == 429
    assert (error_of(refused)["type"], error_of(refused)["code"]) == ("rate_limit_error", "BUDGET_EXCEEDED")
    assert hit.headers["x-cache-status"] == "HIT"


async def test_a_verifier_is_asked_in_a_chat_about_a_message() -> None:
    def answer(call: UpstreamCall) -> Scripted:
        return Scripted("YES", usage=None) if call.protocol is ApiProtocol.CHAT else Scripted("A cache keeps answers.")

    upstream = ScriptedUpstream(answer)
    settings = {"tasks": {"critical": ["code"], "verifier": "judge"}}
    asked = saying("What is a cache?", system="Be terse.")
    async with serving(settings, upstream=upstream) as served, client_of(served) as client:
        for status in ("MISS", "HIT"):
            told = await client.post(MESSAGES, json=asked, headers={"x-semcache-task-type": "code"})
            assert told.headers["x-cache-status"] == status
    assert [call.protocol for call in upstream.calls] == [ApiProtocol.MESSAGES, ApiProtocol.CHAT]
    shown = upstream.bodies[1]["messages"][1]["content"]
    assert "Be terse." in shown
    assert "What is a cache?" in shown


async def test_an_alias_leads_over_a_real_socket_to_the_targets_model() -> None:
    async with ScriptedServer(echo) as server:
        settings = UpstreamSettings.model_validate(
            {
                "targets": [{"name": "house", "base_url": server.base_url, "protocols": ["messages"]}],
                "routes": [{"alias": "fast", "target": "house", "model": MODEL}],
            }
        )
        upstream = HttpUpstream(settings, SystemClock(), environ={})
        async with serving(upstream=upstream) as served, client_of(served) as client:  # type: ignore[arg-type]
            answers = [
                await client.post(MESSAGES, json=saying("What is a cache?", model="fast", stream=streams))
                for streams in (True, False)
            ]
            chat = await client.post(CHAT, json=asking("What is a cache?", model="fast"))
        await upstream.close()
    assert [request.json["model"] for request in server.requests] == [MODEL]
    assert server.requests[0].headers["anthropic-version"] == "2023-06-01"
    assert streamed(answers[0].text) == said(answers[1]) == "Answer to: What is a cache?"
    assert answers[1].headers["x-cache-status"] == "HIT"
    assert chat.status_code == 404  # The target speaks messages alone.


def test_the_prompt_is_found_in_blocks_too() -> None:
    call = UpstreamCall("m", json.dumps(saying([IMAGE, {"type": "text", "text": "a"}])).encode(), 0.0, "r")
    assert prompt_of(call.body) == "a"
