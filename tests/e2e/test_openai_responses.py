"""OpenAI's own client and its `client.responses` against semcache, unchanged but for its base URL."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
from pathlib import Path

from semcache.errors import UpstreamError, UpstreamRefusedError
from semcache.model import UpstreamCall
from semcache.testing.serving import serving
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
            "a word as JSON": Scripted(text='{"word": "cache"}'),
            "call a tool": Scripted(tool_calls=(CALL,), finish_reason="tool_calls"),
            "cut it off": Scripted(text="one two", finish_reason="length"),
            "break off": Scripted(text="a longer answer", break_after=5),
            "wait": Scripted(gate=asyncio.Event()),
            "Count on": Scripted(pieces=("one ", "two"), piece_gates=(*[None] * 5, asyncio.Event())),
        }
        return scripted.get(text, Scripted(text=f"Answer to: {text}"))


async def test_the_client_works_unchanged(clients_python: str) -> None:
    keys = [{"tenant": "acme", "sha256": hashlib.sha256(KEY.encode()).hexdigest()}]
    settings = {
        "auth": {"enabled": True, "keys": keys},
        "upstream": {"targets": TARGETS, "routes": [{"alias": "fast", "target": "house"}]},
    }
    upstream = ScriptedUpstream(Provider(), models={"fast": "gpt-4o-mini"})
    async with serving(settings, upstream=upstream) as served:
        command = [clients_python, str(FOLDER / "openai_responses_client.py"), f"{served.http_url}/v1", KEY]
        ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
        assert ran.returncode == 0, ran.stderr
        check(json.loads(ran.stdout))
        await asyncio.wait_for(served.application.composition.gate.emptied(), 5)
        await served.application.stop(0.0)  # Some answers are never given.


def check(told: dict[str, object]) -> None:
    assert told["plain"] == {
        "texts": ["Answer to: What is a cache?"] * 2,
        "tokens": 30,
        "status": "HIT",
        "same": True,
    }
    assert told["stream"] == [["Answer to: Count to ten", True, "response.completed", 30]] * 2
    assert told["helper"] == [["Answer to: Count to twenty"] * 2] * 2
    assert told["parsed"] == ["cache", "cache"]
    called = ["look_up", '{"word": "cache"}', "call-1"]
    assert told["tools"] == [called, called, ["Answer to: look it up"] * 2]
    assert told["chain"] == ["Answer to: How large is one?"] * 2
    assert told["cut off"] == ["incomplete", "max_output_tokens", "response.incomplete"]
    assert told["wishes"] == ["completed", "completed"]
    assert told["retries"] == "Answer to: fail once"
    assert told["asynchronous"] == ["Answer to: What is a cache?", "Answer to: Count to ten", True, "response.created"]
    assert told["errors"] == {
        "unknown model": ["NotFoundError", 404, "UNKNOWN_MODEL", "invalid_request_error"],
        "no key": ["AuthenticationError", 401, "UNAUTHENTICATED", "authentication_error"],
        "no input": ["BadRequestError", 400, "EMPTY_MESSAGES", "invalid_request_error"],
        "rate limit": ["RateLimitError", 429, "rate_limit_exceeded", "requests"],
        "broken stream": ["error", "UPSTREAM_BROKE_OFF"],
        "kept response": ["NotFoundError", 404, "UNKNOWN_PATH", "invalid_request_error"],
        "cancelled response": ["NotFoundError", 404, "UNKNOWN_PATH", "invalid_request_error"],
        "timeout": ["APITimeoutError"],
    }
