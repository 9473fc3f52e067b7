"""Conversations of agents: with tools that were called, with images, and answers that call tools themselves."""

from __future__ import annotations

from typing import Any

import pytest

from semcache.testing.serving import serving
from semcache.testing.upstream import Scripted, ScriptedUpstream
from semcache.v1 import semcache_pb2 as pb
from tests.integration.http.calling import CHAT, asking, client_of

CALL = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"word": "cache"}'}}
TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]
STORING = {"cacheability": {"store_tool_calls": True}}


def after_tools(result: str, last: str = "What does it say of caches?") -> list[dict[str, Any]]:
    return [
        {"role": "user", "content": last},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": result},
    ]


def with_image(url: str, text: str = "What does this show?") -> list[dict[str, Any]]:
    parts = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]
    return [{"role": "user", "content": parts}]


@pytest.mark.parametrize("make", [after_tools, with_image])
async def test_an_equal_conversation_is_served_and_no_other(make: Any) -> None:
    async with serving({"decision": {"threshold": 0.1, "guards": []}}) as served, client_of(served) as client:

        async def ask(messages: list[dict[str, Any]]) -> str:
            answer = await client.post(CHAT, json={"model": "m", "messages": messages})
            return answer.headers["x-cache-status"]

        first = make("data:image/png;base64,AAAA")
        assert [await ask(first), await ask(first)] == ["MISS", "HIT"]
        assert await ask(make("data:image/png;base64,AAAB")) == "MISS"
        assert await ask(make("data:image/png;base64,AAAA", "What does this show, please?")) == "MISS"
        turned = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}, *first]
        assert await ask(turned) == "MISS"
        stats = await served.stub.GetStats(pb.GetStatsRequest())
        assert (stats.requests.exact_hit, stats.requests.semantic_hit, stats.requests.bypass) == (1, 0, 0)


async def test_an_answer_that_calls_tools_isnt_stored_by_default() -> None:
    upstream = ScriptedUpstream(lambda _: Scripted(tool_calls=(CALL,), finish_reason="tool_calls"))
    async with serving(upstream=upstream) as served, client_of(served) as client:
        for _ in range(2):
            answer = await client.post(CHAT, json=asking("Look it up", tools=TOOLS))
            assert answer.headers["x-cache-status"] == "MISS"
            forced = await client.post(CHAT, json=asking("Look it up", tools=TOOLS, tool_choice="required"))
            assert forced.headers["cache-status"] == "semcache; fwd=bypass; detail=tool_calls"


async def test_an_answer_that_calls_tools_is_for_equal_requests_alone() -> None:
    upstream = ScriptedUpstream(lambda _: Scripted(tool_calls=(CALL,), finish_reason="tool_calls"))
    settings = {**STORING, "decision": {"threshold": 0.1, "guards": []}}
    async with serving(settings, upstream=upstream) as served, client_of(served) as client:
        first = await client.post(CHAT, json=asking("Look up the word cache", tools=TOOLS))
        again = await client.post(CHAT, json=asking("Look up the word cache", tools=TOOLS))
        near = await client.post(CHAT, json=asking("Look up the word cache please", tools=TOOLS))
        forced = [
            await client.post(CHAT, json=asking("Look up the word cache", tools=TOOLS, tool_choice="required"))
            for _ in range(2)
        ]
    assert again.headers["x-cache-match"] == "exact"
    assert again.json()["choices"][0]["message"]["tool_calls"] == [CALL]
    assert again.content == first.content
    assert near.headers["x-cache-status"] == "MISS"
    assert [answer.headers["x-cache-status"] for answer in forced] == ["MISS", "HIT"]
