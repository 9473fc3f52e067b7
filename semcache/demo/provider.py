"""The demo's upstream: an OpenAI-compatible server in a process of its own, with a provider's latency and token usage.

    python -m semcache.demo.provider --port 0 --seed 7 --latency-scale 1.0

It prints its address as one JSON line: `{"base_url": "http://127.0.0.1:40123/v1"}`. It runs until SIGTERM or SIGINT. If
its standard input is a pipe or a socket, it also ends when the other side closes that.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import math
import os
import random
import signal
import stat
import sys
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from semcache.model import Usage
from semcache.protocols.wire import replay_chunks
from semcache.testing.upstream import completion_body, prompt_of
from semcache.testing.upstream_server import Received, Reply, ScriptedServer, events, failure, plain

CHARS_PER_TOKEN = 4
"""Characters of a token, as a rough average of English."""
FIRST_TOKEN_MEDIAN_S = 0.39
"""The median time until the first token, in seconds."""
FIRST_TOKEN_SIGMA = 0.27
"""The sigma of the log-normal time until the first token: nine of ten lie between 0.25 and 0.6 s."""
TOKEN_S = (0.006, 0.014)
"""The shortest and the longest time of one output token, in seconds; each answer has a pace in between."""
_CACHED_FROM_TOKENS = 1024
"""Tokens of the shortest prefix that counts as cached, as at OpenAI."""
_CACHED_STEP_TOKENS = 128
"""Tokens by which a cached prefix grows, as at OpenAI."""
_MAX_PREFIXES = 10_000
"""Prefixes remembered: a bound on memory."""

_SENTENCES = (
    "The short version comes first, and the details follow.",
    "Most of it depends on where you start from.",
    "A small example makes the difference plain.",
    "Begin with the part that is easiest to check.",
    "Two cases have to be kept apart here.",
    "In practice the second step takes the longest.",
    "Write down what you expect before you try it.",
    "There is an exception, and it is rarer than it seems.",
    "If that fails, go back one step and look again.",
    "Numbers help: measure once before and once after.",
    "The usual mistake is to change several things at once.",
    "It pays to know what the result should look like.",
)


@dataclass(frozen=True, slots=True)
class Pace:
    """The time until the first token, and the time of each output token, in seconds."""

    first_token_s: float
    token_s: float


class Provider:
    """A scripted provider: under one seed a prompt always gets one answer, each time at another pace.

    Args:
        seed: of the answers and of the paces.
        latency_scale: multiplies all times; 0 answers at once.
    """

    def __init__(self, seed: int, latency_scale: float) -> None:
        self._seed = seed
        self._scale = latency_scale
        self._paces = random.Random(seed)
        self._prefixes: OrderedDict[bytes, None] = OrderedDict()

    def answer(self, request: Received) -> Reply:
        """Return the reply to a chat-completions request, plain or streamed; for others, an error in OpenAI's form."""
        if request.method != "POST" or not request.path.endswith("/chat/completions"):
            return failure(404, f"There is no {request.method} {request.path[:80]}.")
        try:
            fields = request.json
            prompt = prompt_of(request.body)
        except (ValueError, AttributeError, TypeError):
            return failure(400, "The body is not a chat-completions request.")
        if not prompt:
            return failure(400, "The request holds no user message.")
        text = answer_text(prompt, self._seed)
        finish_reason = "stop"
        limit = fields.get("max_completion_tokens") or fields.get("max_tokens")
        if isinstance(limit, int) and count_tokens(text) > limit > 0:
            text, finish_reason = text[: limit * CHARS_PER_TOKEN], "length"
        usage = self._usage(fields["messages"], text)
        body = completion_body(
            text,
            model=str(fields.get("model") or "scripted"),
            finish_reason=finish_reason,
            usage=usage,
            completion_id="chatcmpl-" + hashlib.sha256(request.body).hexdigest()[:24],
        )
        pace = self._pace()
        if not request.streams:
            return plain(body, delay_s=pace.first_token_s + usage.output_tokens * pace.token_s)
        options = fields.get("stream_options")
        wants_usage = isinstance(options, dict) and options.get("include_usage") is True
        chunks = list(replay_chunks(body, include_usage=wants_usage))
        piece_s = usage.output_tokens * pace.token_s / len(chunks)
        return events(chunks, delay_s=pace.first_token_s, piece_delay_s=piece_s)

    def _pace(self) -> Pace:
        first_token_s = self._paces.lognormvariate(math.log(FIRST_TOKEN_MEDIAN_S), FIRST_TOKEN_SIGMA)
        return Pace(first_token_s * self._scale, self._paces.uniform(*TOKEN_S) * self._scale)

    def _usage(self, messages: Any, text: str) -> Usage:
        prompt = json.dumps(messages, ensure_ascii=False)
        return Usage(count_tokens(prompt), self._cached_tokens(prompt), count_tokens(text))

    def _cached_tokens(self, prompt: str) -> int:
        """Return how many tokens of the prompt's beginning were seen before, and remember the prompt's prefixes."""
        cached = 0
        running = hashlib.sha256()
        step = _CACHED_STEP_TOKENS * CHARS_PER_TOKEN
        for end in range(step, len(prompt) + 1, step):
            running.update(prompt[end - step : end].encode())
            if end < _CACHED_FROM_TOKENS * CHARS_PER_TOKEN:
                continue
            prefix = running.digest()
            if prefix in self._prefixes:
                cached = end // CHARS_PER_TOKEN
                self._prefixes.move_to_end(prefix)
            else:
                self._prefixes[prefix] = None
        while len(self._prefixes) > _MAX_PREFIXES:
            self._prefixes.popitem(last=False)
        return cached


def answer_text(prompt: str, seed: int) -> str:
    """Return the answer to a prompt: it names the prompt, and adds a few paragraphs that depend on it."""
    chance = random.Random(f"{seed}:{prompt}")
    paragraphs = [" ".join(chance.sample(_SENTENCES, chance.randint(2, 5))) for _ in range(chance.randint(1, 3))]
    return "\n\n".join([f"Answer to: {prompt}", *paragraphs])


def count_tokens(text: str) -> int:
    """Return roughly the number of tokens that a provider would count."""
    return max(1, math.ceil(len(text) / CHARS_PER_TOKEN))


async def serve(port: int, provider: Provider) -> None:
    """Serve until a signal, or until standard input closes."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if _is_watchable(0):
        # The thread reads the descriptor, not sys.stdin: a lock of sys.stdin held at exit aborts the interpreter.
        threading.Thread(target=_wait_for_end, args=(loop, stop), daemon=True).start()
    async with ScriptedServer(provider.answer, port=port, keep_requests=False) as server:
        sys.stdout.write(json.dumps({"base_url": server.base_url}) + "\n")
        sys.stdout.flush()
        await stop.wait()


def _is_watchable(descriptor: int) -> bool:
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _wait_for_end(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    while os.read(0, 4096):
        continue
    if not loop.is_closed():
        loop.call_soon_threadsafe(stop.set)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server, and return the exit code: 1 if its port is taken."""
    parser = argparse.ArgumentParser(prog="python -m semcache.demo.provider", description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--seed", type=int, default=0, help="of answers and paces")
    parser.add_argument("--latency-scale", type=float, default=1.0, help="multiplies all times; 0 answers at once")
    options = parser.parse_args(arguments)
    try:
        asyncio.run(serve(options.port, Provider(options.seed, max(0.0, options.latency_scale))))
    except OSError as error:
        sys.stderr.write(f"Port {options.port} can't be served: {error.strerror}. Try --port 0.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
