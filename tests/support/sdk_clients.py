"""Runs a program that uses another project's client, in that client's environment, against a server with a key."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semcache.errors import UpstreamError, UpstreamRefusedError
from semcache.model import UpstreamCall
from semcache.testing.serving import Served, serving
from semcache.testing.upstream import Scripted, ScriptedUpstream, prompt_of

_RATE_LIMIT = b'{"error": {"message": "slow down", "type": "requests", "param": null, "code": "rate_limit_exceeded"}}'
_CALL = {"id": "call-1", "type": "function", "function": {"name": "look_up", "arguments": '{"word": "cache"}'}}
_TARGETS = [{"name": "house", "base_url": "http://127.0.0.1:9/v1"}]


class Provider:
    """Answers as the prompt says.

    Args:
        answers: by the prompt; any other gets "Answer to: " and itself.
        failure: how the first "fail once" fails.
    """

    def __init__(self, answers: Mapping[str, Scripted], failure: Exception) -> None:
        self._answers = answers
        self._failure = Scripted(error=failure)
        self._failed = False

    def __call__(self, call: UpstreamCall) -> Scripted:
        """Return the answer to a call."""
        text = prompt_of(call.body)
        if text == "fail once" and not self._failed:
            self._failed = True
            return self._failure
        return self._answers.get(text, Scripted(text=f"Answer to: {text}"))


@dataclass
class Run:
    """What a program printed, and the server that it used."""

    told: dict[str, Any]
    served: Served


@asynccontextmanager
async def running(
    python: str, script: Path, provider: Provider, *, key: str, model: str, path: str = "", **sections: Any
) -> AsyncIterator[Run]:
    """Run a program to its end, and yield what it printed while its server still runs.

    Args:
        python: the interpreter of the client's environment.
        script: the program; it gets a base URL and a key, and prints JSON.
        provider: answers what the cache doesn't have.
        key: the key that the server takes.
        model: what the alias "fast" stands for.
        path: what the base URL has behind host and port.
        sections: more sections of the server's settings.
    """
    keys = [{"tenant": "acme", "sha256": hashlib.sha256(key.encode()).hexdigest()}]
    settings = {
        "auth": {"enabled": True, "keys": keys},
        "upstream": {"targets": _TARGETS, "routes": [{"alias": "fast", "target": "house"}]},
        **sections,
    }
    async with serving(settings, upstream=ScriptedUpstream(provider, models={"fast": model})) as served:
        command = [python, str(script), f"{served.http_url}{path}", key]
        ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
        assert ran.returncode == 0, ran.stderr
        yield Run(json.loads(ran.stdout), served)
        await served.application.stop(0.0)  # Some answers are never given.


def openai_provider(**answers: Scripted) -> Provider:
    """Return a provider that OpenAI's clients can ask for a tool call, a rate limit, and to be made to wait.

    Args:
        answers: more of them, by the prompt with "_" for each blank.
    """
    shared = {
        "too fast": Scripted(error=UpstreamRefusedError("no", http_status=429, body=_RATE_LIMIT)),
        "call a tool": Scripted(tool_calls=(_CALL,), finish_reason="tool_calls"),
        "wait": Scripted(gate=asyncio.Event()),
    }
    own = {name.replace("_", " "): answer for name, answer in answers.items()}
    return Provider({**shared, **own}, UpstreamError("It failed.", http_status=503))
