"""Anthropic's own client against semcache, unchanged but for its base URL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from semcache.errors import UpstreamError, UpstreamRefusedError
from semcache.testing.messages import message_body
from semcache.testing.upstream import Scripted
from tests.support.sdk_clients import Provider, Run, running

FOLDER = Path(__file__).parent
KEY = "sk-ant-of-a-program"
MODEL = "claude-sonnet-4-5"
RATE_LIMIT = b'{"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}, "request_id": "req_1"}'
OVERLOAD = b'{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_1"}'
CALL = {"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": {"word": "cache"}}
THOUGHT = {"type": "thinking", "thinking": "The user asks to think.", "signature": "c2ln"}
CITATION = {
    "type": "char_location",
    "cited_text": "so",
    "document_index": 0,
    "document_title": None,
    "start_char_index": 0,
    "end_char_index": 2,
}
CITED = {"type": "text", "text": "It says so.", "citations": [CITATION]}


def provider() -> Provider:
    overloaded = UpstreamError("no", http_status=529, body=OVERLOAD)
    answers = {
        "too fast": Scripted(error=UpstreamRefusedError("no", http_status=429, body=RATE_LIMIT)),
        "too much": Scripted(error=overloaded),
        "call a tool": Scripted(tool_calls=(CALL,), finish_reason="tool_use"),
        "think": Scripted(body=message_body("", model=MODEL, content=[THOUGHT, CITED])),
        "break off": Scripted(text="a longer answer", break_after=3),
        "give up": Scripted(text="a longer answer", break_after=3, error=overloaded),
        "wait": Scripted(gate=asyncio.Event()),
        "Count on": Scripted(pieces=("one ", "two"), piece_gates=(None, None, None, asyncio.Event())),
    }
    return Provider(answers, UpstreamError("It failed.", http_status=529, body=OVERLOAD))


@pytest.fixture
async def run(clients_python: str) -> AsyncIterator[Run]:
    script = FOLDER / "anthropic_client.py"
    stores = {"store_tool_calls": True}
    upstream = {
        "targets": [{"name": "house", "base_url": "http://127.0.0.1:9/v1"}],
        "routes": [{"alias": alias, "target": "house"} for alias in ("fast", "a", "b", "c", "d")],
    }
    async with running(
        clients_python, script, provider(), key=KEY, model=MODEL, cacheability=stores, upstream=upstream
    ) as finished:
        yield finished


async def test_the_client_works_unchanged(run: Run) -> None:
    told = run.told
    plain = told["plain"]
    assert plain["texts"] == ["Answer to: What is a cache?"] * 2
    assert (plain["status"], plain["tokens"], plain["reason"]) == ("HIT", [20, 0, 10], "end_turn")
    assert len(set(plain["request_ids"])) == 2
    assert None not in plain["request_ids"]
    assert told["stream"] == [["Answer to: Count to ten", 20, 10, "message_stop"]] * 2
    assert told["helper"] == [["Answer to: Count to eleven"] * 2 + ["end_turn", 10]] * 2
    assert told["tools"] == [
        [["tool_use", "look_up", {"word": "cache"}]] * 2,
        {"word": "cache"},
        ["MISS", "HIT"],
    ]
    assert told["thoughts"] == [["The user asks to think.", "c2ln", "It says so.", "so"]] * 2
    assert told["beta"] == ["Answer to: What is a cache?"] * 2
    assert told["wishes"] == ["answered", "answered"]
    assert told["retries"] == "Answer to: fail once"
    assert told["asynchronous"] == ["Answer to: What is a cache?", "Answer to: Count to ten", True, "message_start"]
    assert told["errors"] == {
        "unknown model": ["NotFoundError", 404, "not_found_error", "UNKNOWN_MODEL"],
        "no key": ["AuthenticationError", 401, "authentication_error", "UNAUTHENTICATED"],
        "no messages": ["BadRequestError", 400, "invalid_request_error", "EMPTY_MESSAGES"],
        "other version": ["BadRequestError", 400, "invalid_request_error", "UNKNOWN_VERSION"],
        "rate limit": ["RateLimitError", 429, "rate_limit_error", None],
        "overload": ["OverloadedError", 529, "overloaded_error", None],
        "overload of a stream": ["OverloadedError", 529, "overloaded_error", None],
        "broken stream": ["APIStatusError", 200, "api_error", "UPSTREAM_BROKE_OFF"],
        "overload within a stream": ["APIStatusError", 200, "overloaded_error", None],
        "count of tokens": ["NotFoundError", 404, "not_found_error", "UNKNOWN_PATH"],
        "batches": ["NotFoundError", 404, "not_found_error", "UNKNOWN_PATH"],
        "timeout": ["APITimeoutError"],
    }
    assert told["models"] == {
        "forwards": ["fast", "a", "b", "c", "d"],
        "backwards": ["b", "c", "fast", "a"],
        "page": [2, True, "fast", "a"],
        "retired": [],
        "beta": ["fast", "a", "b", "c", "d"],
        "one": ["fast", "model", "fast", "active", True],
        "request_id": True,
        "valid": ["fast", "a"],
        "unknown": ["NotFoundError", 404, "not_found_error", "UNKNOWN_MODEL"],
        "no limit": ["BadRequestError", 400, "invalid_request_error", "INVALID_PARAMETER"],
        "no model": ["BadRequestError", 400, "invalid_request_error", "INVALID_PARAMETER"],
    }
    await asyncio.wait_for(run.served.application.composition.gate.emptied(), 5)


async def test_betas_reach_the_upstream_in_one_order(run: Run) -> None:
    headers = {dict(call.headers).get("anthropic-beta") for call in run.served.upstream.calls}
    assert "a-1,b-2" in headers
    assert {dict(call.headers)["anthropic-version"] for call in run.served.upstream.calls} == {"2026-10-21"}
