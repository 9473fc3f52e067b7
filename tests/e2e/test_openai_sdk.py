"""OpenAI's own client against semcache, unchanged but for its base URL."""

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
from semcache.testing.serving import Served, serving
from semcache.testing.upstream import Scripted, ScriptedUpstream, prompt_of

FOLDER = Path(__file__).parent
KEY = "sk-of-a-program"
RATE_LIMIT = b'{"error": {"message": "slow down", "type": "requests", "param": null, "code": "rate_limit_exceeded"}}'
CALL = {"id": "call-1", "type": "function", "function": {"name": "look_up", "arguments": '{"word": "cache"}'}}
TARGETS = [{"name": "house", "base_url": "http://127.0.0.1:9/v1"}]


class Provider:
    """Answers as the prompt says."""

    def __init__(self) -> None:
        self.failed = False

    def __call__(self, call: UpstreamCall) -> Scripted:
        text = prompt_of(call.body)
        if text == "fail once" and not self.failed:
            self.failed = True
            return Scripted(error=UpstreamError("It failed.", http_status=503))
        if text == "too fast":
            return Scripted(error=UpstreamRefusedError("no", http_status=429, body=RATE_LIMIT))
        scripted = {
            "call a tool": Scripted(tool_calls=(CALL,), finish_reason="tool_calls"),
            "break off": Scripted(text="a longer answer", break_after=2),
            "wait": Scripted(gate=asyncio.Event()),
            "Count on": Scripted(pieces=("one ", "two"), piece_gates=(None, None, asyncio.Event())),
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
        "upstream": {"targets": TARGETS, "routes": [{"alias": "fast", "target": "house"}]},
    }
    upstream = ScriptedUpstream(Provider(), models={"fast": "gpt-4o-mini"})
    async with serving(settings, upstream=upstream) as served:
        command = [clients_python, str(FOLDER / "openai_client.py"), f"{served.http_url}/v1", KEY]
        ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
        assert ran.returncode == 0, ran.stderr
        yield Run(json.loads(ran.stdout), served)
        await served.application.stop(0.0)  # Some answers are never given.


async def test_the_client_works_unchanged(run: Run) -> None:
    told = run.told
    plain = told["plain"]
    assert plain["texts"] == ["Answer to: What is a cache?"] * 2
    assert (plain["status"], plain["tokens"]) == ("HIT", 30)
    assert len(set(plain["request_ids"])) == 2
    assert told["stream"] == [["Answer to: Count to ten", [30], "stop"]] * 2
    assert told["helper"] == "Answer to: Count to ten"
    assert told["tools"] == [["look_up", '{"word": "cache"}']] * 2
    assert told["wishes"] == ["answered", "answered"]
    assert told["retries"] == "Answer to: fail once"
    assert told["cancelled"] == [True, "chat.completion.chunk"]
    assert told["models"] == [["fast"], "fast"]
    assert told["errors"] == {
        "unknown model": ["NotFoundError", 404, "UNKNOWN_MODEL", "invalid_request_error"],
        "no key": ["AuthenticationError", 401, "UNAUTHENTICATED", "authentication_error"],
        "no messages": ["BadRequestError", 400, "EMPTY_MESSAGES", "invalid_request_error"],
        "rate limit": ["RateLimitError", 429, "rate_limit_exceeded", "requests"],
        "broken stream": ["APIError"],
        "other endpoint": ["NotFoundError", 404, "UNKNOWN_PATH", "invalid_request_error"],
        "timeout": ["APITimeoutError"],
    }
    await asyncio.wait_for(run.served.application.composition.gate.emptied(), 5)
