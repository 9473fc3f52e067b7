"""OpenAI's own client and its `client.responses` against semcache, unchanged but for its base URL."""

from __future__ import annotations

import asyncio
from pathlib import Path

from semcache.testing.upstream import Scripted
from tests.support.sdk_clients import openai_provider, running

FOLDER = Path(__file__).parent


async def test_the_client_works_unchanged(clients_python: str) -> None:
    provider = openai_provider(
        a_word_as_JSON=Scripted(text='{"word": "cache"}'),
        cut_it_off=Scripted(text="one two", finish_reason="length"),
        break_off=Scripted(text="a longer answer", break_after=5),
        Count_on=Scripted(pieces=("one ", "two"), piece_gates=(*[None] * 5, asyncio.Event())),
    )
    script = FOLDER / "openai_responses_client.py"
    async with running(clients_python, script, provider, key="sk-of-a-program", model="gpt-4o-mini", path="/v1") as run:
        check(run.told)
        await asyncio.wait_for(run.served.application.composition.gate.emptied(), 5)


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
