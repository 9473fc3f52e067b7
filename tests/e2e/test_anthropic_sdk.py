"""Anthropic's own client against semcache, unchanged but for its base URL."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from semcache.errors import UpstreamError, UpstreamRefusedError
from semcache.model import UpstreamCall
from semcache.testing.messages import message_body
from semcache.testing.serving import Served, serving
from semcache.testing.upstream import Scripted, ScriptedUpstream, prompt_of

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
TARGETS = [{"name": "house", "base_url": "http://127.0.0.1:9/v1"}]


class Provider:
    """Answers as the prompt says."""

    def __init__(self) -> None:
        self.failed = False

    def __call__(self, call: UpstreamCall) -> Scripted:
        text = prompt_of(call.body)
        if text == "fail once" and not self.failed:
            self.failed = True
            return Scripted(error=UpstreamError("It failed.", http_status=529, body=OVERLOAD))
        scripted = {
            "too fast": Scripted(error=UpstreamRefusedError("no", http_status=429, body=RATE_LIMIT)),
            "too much": Scripted(error=UpstreamError("no", http_status=529, body=OVERLOAD)),
            "call a tool": Scripted(tool_calls=(CALL,), finish_reason="tool_use"),
            "think": Scripted(body=message_body("", model=MODEL, content=[THOUGHT, CITED])),
            "break off": Scripted(text="a longer answer", break_after=3),
            "give up": Scripted(
                text="a longer answer", break_after=3, error=UpstreamError("no", http_status=529, body=OVERLOAD)
            ),
            "wait": Scripted(gate=asyncio.Event()),
            "Count on": Scripted(pieces=("one ", "two"), piece_gates=(None, None, None, asyncio.Event())),
        }
        return scripted.get(text, Scripted(text=f"Answer to: {text}"))


@dataclass
class Run:
    told: dict[str, Any]
    served: Served


@pytest.fixture
async def run(clients_python: str) -> AsyncIterator[Run]:
    keys = [{"tenant": "acme", "sha256": hashlib.sha256(KEY.encode()).hexdigest()}]
    settings = {
        "auth": {"enabled": True, "keys": keys},
        "cacheability": {"store_tool_calls": True},
        "upstream": {"targets": TARGETS, "routes": [{"alias": "fast", "target": "house"}]},
    }
    upstream = ScriptedUpstream(Provider(), models={"fast": MODEL})
    async with serving(settings, upstream=upstream) as served:
        command = [clients_python, str(FOLDER / "anthropic_client.py"), served.http_url, KEY]
        ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
        assert ran.returncode == 0, ran.stderr
        yield Run(json.loads(ran.stdout), served)
        await served.application.stop(0.0)  # Some answers are never given.


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
    await asyncio.wait_for(run.served.application.composition.gate.emptied(), 5)


async def test_betas_reach_the_upstream_in_one_order(run: Run) -> None:
    headers = {dict(call.headers).get("anthropic-beta") for call in run.served.upstream.calls}
    assert "a-1,b-2" in headers
    assert {dict(call.headers)["anthropic-version"] for call in run.served.upstream.calls} == {"2026-10-21"}
