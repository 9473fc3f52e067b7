"""OpenAI's own client against semcache, unchanged but for its base URL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from semcache.testing.upstream import Scripted
from tests.support.sdk_clients import Run, openai_provider, running

FOLDER = Path(__file__).parent


@pytest.fixture
async def run(clients_python: str) -> AsyncIterator[Run]:
    provider = openai_provider(
        break_off=Scripted(text="a longer answer", break_after=2),
        Count_on=Scripted(pieces=("one ", "two"), piece_gates=(None, None, asyncio.Event())),
    )
    script = FOLDER / "openai_client.py"
    async with running(
        clients_python, script, provider, key="sk-of-a-program", model="gpt-4o-mini", path="/v1"
    ) as finished:
        yield finished


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
