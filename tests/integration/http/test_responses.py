"""Responses over HTTP: plain, streamed, replayed from each other, what is refused, and what never shares an answer."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest

from semcache.errors import UpstreamError, UpstreamRefusedError
from semcache.testing.responses import response_body
from semcache.testing.serving import Served, serving
from semcache.testing.upstream import Scripted, ScriptedUpstream
from tests.integration.calls import counts, in_flight
from tests.integration.http.calling import CHAT, asking, client_of, error_of, request_bytes, said, told_last, wire_to

RESPONSES = "/v1/responses"
TEXT_DELTA = "response.output_text.delta"
CALL = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"word": "cache"}'}}
TOOLS = [{"type": "function", "name": "look_up", "parameters": {"type": "object"}}]
STORES_CALLS = {"cacheability": {"store_tool_calls": True}}


def asked(text: object, **fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "input": text, **fields}


def user(*parts: object) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def text_of(response: httpx2.Response) -> str:
    """The text of a whole response, wherever it stands."""
    return "".join(part["text"] for item in response.json()["output"] for part in item.get("content", ()))


def events_of(text: str) -> list[dict[str, Any]]:
    """The events of a stream; each has the name of its type."""
    events = []
    for block in text.split("\n\n")[:-1]:
        if block.startswith(":"):
            continue
        name, _, data = block.partition("\ndata: ")
        events.append(json.loads(data))
        assert name == f"event: {events[-1]['type']}"
    return events


def streamed(events: list[dict[str, Any]]) -> str:
    return "".join(event["delta"] for event in events if event["type"] == TEXT_DELTA)


async def ask(client: httpx2.AsyncClient, text: object, **fields: Any) -> httpx2.Response:
    return await client.post(RESPONSES, json=asked(text, **fields))


async def test_a_miss_is_stored_and_its_repeat_is_a_hit_with_the_same_bytes(
    served: Served, client: httpx2.AsyncClient
) -> None:
    first, again = await ask(client, "What is a cache?"), await ask(client, "What is a cache?")
    assert (first.status_code, first.headers["content-type"]) == (200, "application/json")
    assert text_of(first) == "Answer to: What is a cache?"
    assert again.content == first.content
    assert (first.headers["x-cache-status"], again.headers["x-cache-status"]) == ("MISS", "HIT")
    assert first.headers["x-semcache-cost-usd"] == again.headers["x-semcache-saved-usd"] == "0.000009"
    assert len(served.upstream.calls) == 1
    assert served.upstream.calls[0].body == json.dumps(asked("What is a cache?"), separators=(",", ":")).encode()


async def test_a_paraphrase_is_a_semantic_hit(client: httpx2.AsyncClient) -> None:
    await ask(client, "How do I reset my password?")
    answer = await ask(client, [user({"type": "input_text", "text": "How do I reset my password, please?"})])
    assert answer.headers["x-cache-match"] == "semantic"
    assert text_of(answer) == "Answer to: How do I reset my password?"


async def test_a_chat_and_a_response_of_one_text_never_share_an_answer(
    served: Served, client: httpx2.AsyncClient
) -> None:
    for text in ("How do I reset my password?", "How do I reset my password, please?"):
        chat, response = await client.post(CHAT, json=asking(text)), await ask(client, text)
        assert said(chat) == text_of(response)
        assert chat.headers["x-cache-match" if "please" in text else "x-cache-status"] in {"MISS", "semantic"}
        assert (chat.json()["object"], response.json()["object"]) == ("chat.completion", "response")
    assert len(served.upstream.calls) == 2


async def test_plain_and_streamed_responses_serve_each_other(served: Served, client: httpx2.AsyncClient) -> None:
    plain = await ask(client, "What is a cache?")
    replay = await ask(client, "What is a cache?", stream=True)
    live = await ask(client, "What is a queue?", stream=True)
    assembled = await ask(client, "What is a queue?")
    assert [each.headers["x-cache-status"] for each in (plain, replay, live, assembled)] == ["MISS", "HIT"] * 2
    assert replay.headers["content-type"] == "text/event-stream; charset=utf-8"
    for whole, stream in ((plain, replay), (assembled, live)):
        events = events_of(stream.text)
        assert events[0]["type"] == "response.created"
        assert events[-1] == {**events[-1], "type": "response.completed", "response": whole.json()}
        assert streamed(events) == text_of(whole)
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert len(served.upstream.calls) == 2


@pytest.mark.parametrize("live", [True, False])
async def test_the_last_event_follows_what_the_stream_tells_of_the_cache(
    client: httpx2.AsyncClient, live: bool
) -> None:
    stream = await ask(client, "Tell me", stream=True)
    if not live:
        stream = await ask(client, "Tell me", stream=True)
    comment, last, end = stream.text.rsplit("\n\n", 2)
    assert comment.rpartition("\n\n")[2].startswith(": semcache ")
    assert last.startswith("event: response.completed\n")
    assert end == ""
    told = told_last(stream.text)
    assert told["x-cache-status"] == "MISS" if live else "HIT"
    assert told["x-semcache-cost-usd"] == "0.000009" if live else "0"
    assert "[DONE]" not in stream.text


async def test_a_client_that_leaves_with_the_last_event_was_answered(served: Served) -> None:
    async with wire_to(served) as wire:
        await wire.send(request_bytes(json.dumps(asked("Tell me", stream=True)).encode(), path=RESPONSES))
        await wire.reader.readuntil(b"event: response.completed")
    await in_flight(served, 0)
    told = await counts(served)
    assert (told.miss, told.cancelled) == (1, 0)


async def test_a_live_stream_is_relayed_as_it_comes() -> None:
    gate = asyncio.Event()
    scripted = Scripted(pieces=("one ", "two"), piece_gates=(*[None] * 5, gate))
    async with serving(upstream=ScriptedUpstream(lambda _: scripted)) as served, client_of(served) as client:
        async with client.stream("POST", RESPONSES, json=asked("Count", stream=True)) as response:
            pieces = response.aiter_text()
            before = ""
            while '"one "' not in before:
                before += await anext(pieces)
            assert "two" not in before
            gate.set()
            text = before + "".join([piece async for piece in pieces])
        assert streamed(events_of(text)) == "one two"


async def test_a_hits_usage_is_zero_where_the_setting_says_so() -> None:
    settings = {"server": {"port": 0, "http": {"port": 0, "hit_usage": "zero"}}}
    async with serving(settings) as served, client_of(served) as client:
        live, hit = await ask(client, "Tell me"), await ask(client, "Tell me")
        stream = events_of((await ask(client, "Tell me", stream=True)).text)
    assert live.json()["usage"]["total_tokens"] == 30
    assert hit.json()["usage"]["total_tokens"] == 0
    assert stream[-1]["response"]["usage"] == hit.json()["usage"]
    assert stream[0]["response"]["usage"] is None


@pytest.mark.parametrize("streams", [False, True])
async def test_a_call_of_a_tool_isnt_stored_unless_a_setting_says_so(streams: bool) -> None:
    upstream = ScriptedUpstream(lambda _: Scripted(tool_calls=(CALL,), finish_reason="tool_calls"))
    for settings, calls in (({}, 2), (STORES_CALLS, 1)):
        upstream.calls.clear()
        async with serving(settings, upstream=upstream) as served, client_of(served) as client:
            for _ in range(2):
                answer = await ask(client, "Look it up", tools=TOOLS, stream=streams)
                response = events_of(answer.text)[-1]["response"] if streams else answer.json()
                (item,) = response["output"]
                assert (item["type"], item["name"], item["call_id"]) == ("function_call", "look_up", "call_1")
        assert len(upstream.calls) == calls


async def test_a_turn_after_a_tool_is_served_to_equal_requests_alone(client: httpx2.AsyncClient) -> None:
    def turn(result: str) -> list[dict[str, Any]]:
        call = {"type": "function_call", "call_id": "c", "name": "look_up", "arguments": "{}"}
        return [
            user({"type": "input_text", "text": "Look it up"}),
            call,
            {"type": "function_call_output", "call_id": "c", "output": result},
        ]

    told = [(await ask(client, turn(result), tools=TOOLS)).headers for result in ("a", "a", "b")]
    assert [headers["x-cache-status"] for headers in told] == ["MISS", "HIT", "MISS"]
    assert told[1]["x-cache-match"] == "exact"


async def test_an_image_is_served_to_equal_requests_alone(client: httpx2.AsyncClient) -> None:
    def about(text: str, pixels: str) -> list[dict[str, Any]]:
        image = {"type": "input_image", "detail": "auto", "image_url": f"data:image/png;base64,{pixels}"}
        return [user({"type": "input_text", "text": text}, image)]

    questions = [
        ("What is on it?", "AAAA"),
        ("What is on it?", "AAAA"),
        ("What's on it?", "AAAA"),
        ("What is on it?", "BBBB"),
    ]
    told = [(await ask(client, about(*question))).headers["x-cache-status"] for question in questions]
    assert told == ["MISS", "HIT", "MISS", "MISS"]


async def test_a_chain_goes_on_from_the_stored_response(served: Served, client: httpx2.AsyncClient) -> None:
    first, replayed = await ask(client, "What is a cache?"), await ask(client, "What is a cache?")
    assert replayed.json()["id"] == first.json()["id"]
    follow_up = {"previous_response_id": replayed.json()["id"]}
    told = [
        (await ask(client, text, **fields)).headers["x-cache-status"]
        for text, fields in [
            ("How large should one be?", follow_up),
            ("How large should one be?", follow_up),
            ("How large should one be, please?", follow_up),
            ("How large should one be?", {"previous_response_id": "resp_of_another"}),
            ("How large should one be?", {}),
        ]
    ]
    assert told == ["MISS", "HIT", "MISS", "MISS", "MISS"]
    assert json.loads(served.upstream.calls[1].body)["previous_response_id"] == first.json()["id"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"conversation": "conv_1"}, "kept_elsewhere"),
        ({"prompt": {"id": "pmpt_1"}}, "kept_elsewhere"),
        ({"background": True}, "background"),
        ({"tools": [{"type": "web_search"}]}, "web_search"),
        ({"tools": [{"type": "file_search", "vector_store_ids": ["v"]}]}, "server_tools"),
        ({"top_logprobs": 2}, "logprobs"),
        ({"temperature": 2}, "temperature"),
    ],
)
async def test_what_may_change_elsewhere_is_forwarded_each_time(
    served: Served, client: httpx2.AsyncClient, fields: dict[str, Any], reason: str
) -> None:
    told = [(await ask(client, "What is a cache?", **fields)).headers["cache-status"] for _ in range(2)]
    assert told == [f"semcache; fwd=bypass; detail={reason}"] * 2
    assert len(served.upstream.calls) == 2


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(("limit", "calls"), [(None, 2), (16, 1)])
async def test_an_answer_at_its_limit_is_stored_where_the_limit_is_the_callers(
    streams: bool, limit: int | None, calls: int
) -> None:
    upstream = ScriptedUpstream(lambda _: Scripted(text="cut", finish_reason="length"))
    async with serving(upstream=upstream) as served, client_of(served) as client:
        for _ in range(2):
            answer = await ask(client, "Tell me", stream=streams, max_output_tokens=limit)
            if streams:
                last = events_of(answer.text)[-1]
                assert last["type"] == "response.incomplete"
            response = last["response"] if streams else answer.json()
            assert (response["status"], response["incomplete_details"]) == (
                "incomplete",
                {"reason": "max_output_tokens"},
            )
    assert len(upstream.calls) == calls


async def test_a_filtered_answer_isnt_stored() -> None:
    upstream = ScriptedUpstream(lambda _: Scripted(text="no", finish_reason="content_filter"))
    async with serving(upstream=upstream) as served, client_of(served) as client:
        for _ in range(2):
            assert (await ask(client, "Tell me")).json()["incomplete_details"] == {"reason": "content_filter"}
    assert len(upstream.calls) == 2


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"input": None}, "EMPTY_MESSAGES", "input"),
        ({"input": []}, "EMPTY_MESSAGES", "input"),
        ({"input": 3}, "INVALID_PARAMETER", "input"),
        ({"input": ["a"]}, "INVALID_MESSAGE", None),
        ({"input": [{"content": "a"}]}, "UNKNOWN_ROLE", None),
        ({"model": ""}, "NO_MODEL", None),
        ({"stream": "yes"}, "INVALID_PARAMETER", "stream"),
        ({"cache": {"tll": 3}}, "INVALID_PARAMETER", "cache"),
    ],
)
async def test_a_body_without_a_meaning_is_refused(
    served: Served, client: httpx2.AsyncClient, fields: dict[str, Any], code: str, param: str | None
) -> None:
    answer = await client.post(RESPONSES, json={**asked("a"), **fields})
    error = error_of(answer)
    assert (answer.status_code, error["code"], error["param"]) == (400, code, param)
    assert served.upstream.calls == []


async def test_wishes_are_those_of_chats(served: Served, client: httpx2.AsyncClient) -> None:
    await client.post(RESPONSES, json=asked("a", cache={"namespace": "helpdesk"}))
    elsewhere = await ask(client, "a")
    there = await client.post(RESPONSES, json=asked("a"), headers={"x-semcache-namespace": "helpdesk"})
    only = await client.post(RESPONSES, json=asked("b"), headers={"cache-control": "only-if-cached"})
    assert (elsewhere.headers["x-cache-status"], there.headers["x-cache-status"]) == ("MISS", "HIT")
    assert (only.status_code, error_of(only)["code"]) == (504, "CACHE_ONLY_MISS")
    assert b"cache" not in json.loads(served.upstream.calls[0].body)


REFUSAL = b'{"error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}}\n'


@pytest.mark.parametrize("streams", [False, True])
async def test_an_upstreams_error_reaches_the_client_as_it_came(streams: bool) -> None:
    error = UpstreamRefusedError("no", http_status=429, body=REFUSAL, retry_after_s=2.5)
    async with (
        serving(upstream=ScriptedUpstream(lambda _: Scripted(error=error))) as served,
        client_of(served) as client,
    ):
        answer = await ask(client, "a", stream=streams)
    assert (answer.status_code, answer.content, answer.headers["retry-after"]) == (429, REFUSAL, "3")


async def test_a_stream_that_breaks_off_ends_with_an_error_event() -> None:
    upstream = ScriptedUpstream(lambda _: Scripted(text="a longer answer", break_after=5))
    async with serving(upstream=upstream) as served, client_of(served) as client:
        events = events_of((await ask(client, "a", stream=True)).text)
        assert (await counts(served)).error == 1
        assert (await ask(client, "a")).status_code == 502
    assert events[-1].pop("message").startswith("The scripted upstream broke off.")
    assert events[-1] == {"type": "error", "code": "UPSTREAM_BROKE_OFF", "param": None, "sequence_number": 5}
    assert [event["sequence_number"] for event in events] == list(range(6))
    assert streamed(events) == "a longer answer"


async def test_a_failed_response_is_a_failure() -> None:
    body = json.dumps(
        {**json.loads(response_body("")), "status": "failed", "error": {"code": "server_error", "message": "It burns."}}
    )

    def script(_: object) -> Scripted:
        return Scripted(body=body.encode())

    async with serving(upstream=ScriptedUpstream(script)) as served, client_of(served) as client:
        answer = await ask(client, "a")
    assert (answer.status_code, error_of(answer)["code"]) == (502, "UPSTREAM_FAILED")
    assert "It burns." in error_of(answer)["message"]


async def test_an_upstream_without_a_body_of_its_own_gets_openais_shape() -> None:
    upstream = ScriptedUpstream(lambda _: Scripted(error=UpstreamError("It failed.", http_status=500)))
    async with serving(upstream=upstream) as served, client_of(served) as client:
        answer = await ask(client, "a")
    assert (answer.status_code, error_of(answer)["code"]) == (500, "UPSTREAM_FAILED")


@pytest.mark.parametrize("streams", [False, True])
async def test_a_client_that_leaves_frees_its_place_and_its_answer_is_kept(streams: bool) -> None:
    gate = asyncio.Event()
    upstream = ScriptedUpstream(lambda _: Scripted(gate=gate))
    async with serving(upstream=upstream) as served:
        async with wire_to(served) as wire:
            await wire.send(request_bytes(json.dumps(asked("a", stream=streams)).encode(), path=RESPONSES))
            await upstream.called()
            await in_flight(served, 1)
        await in_flight(served, 0)
        gate.set()
        async with client_of(served) as client:
            answer = await ask(client, "a")
        assert (answer.headers["x-cache-status"], len(upstream.calls)) == ("HIT", 1)


async def test_identical_requests_share_one_upstream_call() -> None:
    gate = asyncio.Event()
    upstream = ScriptedUpstream(lambda _: Scripted(gate=gate))
    async with serving(upstream=upstream) as served, client_of(served) as client:
        calls = [asyncio.ensure_future(ask(client, "a", stream=streams)) for streams in (False, True, False)]
        await in_flight(served, 3)
        gate.set()
        answers = await asyncio.gather(*calls)
    assert len(upstream.calls) == 1
    assert sum("collapsed" in answer.headers["cache-status"] for answer in answers) == 2
    assert events_of(answers[1].text)[-1]["response"] == answers[0].json()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", RESPONSES, 405),
        ("GET", f"{RESPONSES}/resp_1", 404),
        ("DELETE", f"{RESPONSES}/resp_1", 404),
        ("POST", f"{RESPONSES}/resp_1/cancel", 404),
        ("GET", f"{RESPONSES}/resp_1/input_items", 404),
    ],
)
async def test_kept_responses_are_the_providers(
    client: httpx2.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == status
    if status == 404:
        assert error_of(answer)["code"] == "UNKNOWN_PATH"
        assert "kept at the provider" in error_of(answer)["message"]
