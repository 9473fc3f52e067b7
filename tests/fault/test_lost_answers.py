"""Answers that a 200 began and nobody can use: what they cost is booked, each try by itself."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence

import pytest

from semcache.errors import UpstreamError
from semcache.model import LedgerRecord, Purpose, Status, Usage
from semcache.protocols import replay_chunks
from semcache.settings import UpstreamSettings
from semcache.story.cache import SemanticCache
from semcache.testing.clock import FakeClock
from semcache.testing.upstream import completion_body
from semcache.testing.upstream_server import Ending, Reply, ScriptedServer, events, plain
from semcache.upstream import HttpUpstream
from tests.support.caches import Rig, check_books, request, rig

MODEL = "gpt-4o-mini"
IN_NANOUSD, OUT_NANOUSD = 150, 600
TEXT = "one two three four five six seven eight nine ten " * 8
WHOLE = completion_body(TEXT, model=MODEL, usage=Usage(20, 0, 80))
CHUNKS = tuple(replay_chunks(WHOLE, include_usage=False))
NAN = WHOLE.replace(b'"finish_reason"', b'"logprobs":{"content":[{"token":"a","logprob":NaN}]},"finish_reason"')
WORDS = len(TEXT.split())
"""The hashing embedder counts words."""


def cut(body: bytes, share: float = 0.5) -> Reply:
    """A plain answer whose connection closes before all of the announced body came."""
    part = body[: int(len(body) * share)]
    return Reply(
        headers={"content-type": "application/json", "content-length": str(len(body))},
        pieces=(part,),
        ending=Ending.CUT,
    )


async def asked(replies: Sequence[Reply], *, streams: bool = False, answered: bool) -> tuple[list[LedgerRecord], Rig]:
    """Ask one question of an upstream with these replies; return the ledger's lines, and check the books."""
    clock = FakeClock()

    async def no_sleep(_: float) -> None:
        return None

    async with ScriptedServer(replies) as server:
        settings = UpstreamSettings.model_validate({"targets": [{"name": "t", "base_url": server.base_url}]})
        upstream = HttpUpstream(settings, clock, rng=random.Random(1), sleep=no_sleep)
        served = rig(upstream, clock=clock)  # type: ignore[arg-type]
        try:
            await _ask(served.cache, streams=streams)
            failed = False
        except UpstreamError:
            failed = True
        await served.cache.drain(1.0)
        await upstream.close()
    assert failed is not answered
    check_books(served, requests=1)
    lines = served.store.ledger.records(None, 0, 1e12)
    return sorted(lines, key=lambda line: line.requests), served  # Lost answers first; one moment has no order.


async def _ask(cache: SemanticCache, *, streams: bool) -> None:
    asking = request("a question of six words, really", model=MODEL)
    if not streams:
        await cache.complete(asking)
        return
    async for _ in cache.stream(asking):
        pass


def nanousd(usage: Usage) -> int:
    return usage.input_tokens * IN_NANOUSD + usage.output_tokens * OUT_NANOUSD


@pytest.mark.parametrize("streams", [False, True], ids=["plain", "asked as a stream"])
async def test_an_answer_with_nan_costs_what_its_usage_says(streams: bool) -> None:
    (line,), _ = await asked([plain(NAN)], streams=streams, answered=False)
    assert (line.status, line.model, line.route, line.purpose) == (Status.ERROR, MODEL, "t", Purpose.REQUEST)
    assert (line.usage, line.spent.total_nanousd) == (Usage(20, 0, 80), 20 * IN_NANOUSD + 80 * OUT_NANOUSD)


async def test_an_answer_that_is_cut_and_tried_again_is_booked_twice() -> None:
    (lost, paid), _ = await asked([cut(WHOLE), plain(WHOLE)], answered=True)
    assert (lost.purpose, lost.requests, lost.status, lost.route) == (Purpose.LOST_ANSWER, 0, Status.MISS, "t")
    assert (paid.purpose, paid.requests, paid.usage) == (Purpose.REQUEST, 1, Usage(20, 0, 80))
    assert lost.usage.estimated
    # The length that was announced tells that half of it is missing.
    assert WORDS // 2 < lost.usage.output_tokens <= 1.3 * WORDS
    assert lost.spent.total_nanousd == nanousd(lost.usage) > 0


async def test_every_try_that_is_cut_is_booked() -> None:
    lines, served = await asked([cut(WHOLE)] * 3, answered=False)
    assert [line.requests for line in lines] == [0, 0, 1]
    assert [line.status for line in lines] == [Status.MISS, Status.MISS, Status.ERROR]
    assert all(line.spent.total_nanousd == lines[0].spent.total_nanousd > 0 for line in lines)
    assert served.metrics.spent_nanousd() == 3 * lines[0].spent.total_nanousd


async def test_an_answer_cut_behind_its_usage_costs_what_that_says() -> None:
    first = b'{"model":"gpt-4o-mini","usage":{"prompt_tokens":20,"completion_tokens":80},"choices":[{"message":{'
    (lost, _), _ = await asked([cut(first + b'"content":"one two"}}]}', 0.95), plain(WHOLE)], answered=True)
    assert lost.usage == Usage(20, 0, 80)


async def test_a_lost_answer_counts_its_reasoning_and_its_calls_of_tools() -> None:
    message = {
        "content": None,
        "reasoning_content": TEXT,
        "tool_calls": [{"function": {"name": "look", "arguments": '{"q": "one two three"}'}}],
    }
    body = json.dumps({"model": MODEL, "choices": [{"message": message, "logprobs": float("nan")}]}).encode()
    (line,), _ = await asked([plain(body)], answered=False)
    assert line.usage.estimated
    assert line.usage.output_tokens >= WORDS + 4


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>hello</html>",
        b"upstream request timeout",
        b'{"error":{"message":"no"}}',
        b'{"detail":"Not Found"}',
        b'{"object":"chat.completion","choices":[]}',
        b"[]",
    ],
    ids=["nothing", "html", "text", "an error", "a detail", "no choices", "a list"],
)
async def test_what_is_no_answer_costs_nothing(body: bytes) -> None:
    (line,), _ = await asked([plain(body)], answered=False)
    assert (line.status, line.usage, line.spent.total_nanousd) == (Status.ERROR, Usage(), 0)


async def test_an_answer_without_choices_costs_the_usage_that_it_has() -> None:
    body = b'{"model":"gpt-4o-mini","choices":[],"usage":{"prompt_tokens":20,"completion_tokens":3}}'
    (line,), _ = await asked([plain(body)], answered=False)
    assert line.spent.total_nanousd == 20 * IN_NANOUSD + 3 * OUT_NANOUSD


@pytest.mark.parametrize(
    "chunks",
    [[], [b'{"error":{"message":"overloaded"}}'], [b"oops"]],
    ids=["no chunk", "an error", "no JSON"],
)
async def test_a_stream_without_a_part_of_an_answer_costs_nothing(chunks: list[bytes]) -> None:
    (line,), _ = await asked([events(chunks)], streams=True, answered=False)
    assert (line.usage, line.spent.total_nanousd) == (Usage(), 0)


def with_usage(chunk: bytes, prompt: int, completion: int) -> bytes:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion}
    return json.dumps({**json.loads(chunk), "usage": usage}).encode()


@pytest.mark.parametrize("ending", [Ending.CUT, Ending.RESET, Ending.END])
async def test_a_stream_that_breaks_off_costs_the_text_that_came(ending: Ending) -> None:
    reply = events(CHUNKS[:-1], done=False, ending=ending)
    (line,), _ = await asked([reply], streams=True, answered=False)
    assert (line.status, line.model, line.requests) == (Status.ERROR, MODEL, 1)
    assert line.usage.estimated
    assert line.usage.output_tokens == WORDS > len(CHUNKS)
    assert line.usage.input_tokens > 0
    assert line.spent.total_nanousd == nanousd(line.usage)


async def test_a_stream_that_breaks_off_costs_at_least_the_last_usage_that_was_told() -> None:
    chunks = [with_usage(chunk, 1_000, 500 + number) for number, chunk in enumerate(CHUNKS[:3])]
    (line,), _ = await asked([events(chunks, done=False, ending=Ending.CUT)], streams=True, answered=False)
    assert (line.usage.input_tokens, line.usage.output_tokens) == (1_000, 502)


async def test_a_stream_that_repeats_all_so_far_in_each_chunk_costs_its_text_once() -> None:
    words, chunks = TEXT.split(), []
    for number, word in enumerate(words, start=1):
        choice = {
            "index": 0,
            "delta": {"content": f"{word} "},
            "message": {"role": "assistant", "content": " ".join(words[:number])},
        }
        body = {"id": "i", "model": MODEL, "object": "chat.completion.chunk", "choices": [choice]}
        chunks.append(with_usage(json.dumps(body).encode(), 1_000, number))
    (line,), _ = await asked([events(chunks, done=False, ending=Ending.CUT)], streams=True, answered=False)
    assert line.usage == Usage(1_000, 0, WORDS)


async def test_a_stream_that_breaks_off_behind_a_small_usage_costs_its_text() -> None:
    chunks = [with_usage(CHUNKS[0], 1_000, 1), *CHUNKS[1:-1]]
    (line,), _ = await asked([events(chunks, done=False, ending=Ending.CUT)], streams=True, answered=False)
    assert (line.usage.input_tokens, line.usage.output_tokens, line.usage.estimated) == (1_000, WORDS, True)


async def test_a_stream_that_ends_before_its_first_chunk_is_tried_again_and_booked() -> None:
    replies = [events([], done=False, ending=Ending.RESET), events(CHUNKS)]
    (lost, paid), _ = await asked(replies, streams=True, answered=True)
    assert (lost.purpose, lost.usage.output_tokens, lost.usage.estimated) == (Purpose.LOST_ANSWER, 0, True)
    assert lost.spent.total_nanousd == lost.usage.input_tokens * IN_NANOUSD > 0
    assert paid.usage.output_tokens == WORDS


async def test_a_stream_whose_flight_is_cancelled_costs_what_came() -> None:
    clock = FakeClock()
    reply = events(CHUNKS[:-1], done=False, ending=Ending.HANG)
    async with ScriptedServer([reply]) as server:
        settings = UpstreamSettings.model_validate({"targets": [{"name": "t", "base_url": server.base_url}]})
        upstream = HttpUpstream(settings, clock)
        served = rig(upstream, clock=clock)  # type: ignore[arg-type]
        seen = 0
        task = asyncio.create_task(_ask(served.cache, streams=True))
        while seen < 1 and not task.done():
            await asyncio.sleep(0.05)
            seen = len(server.requests)
        await asyncio.sleep(0.2)
        await served.cache.drain(0.0)
        await asyncio.wait([task])
        await upstream.close()
    spent = check_books(served, requests=1)
    (line,) = served.store.ledger.records(None, 0, 1e12)
    assert line.usage.output_tokens == WORDS
    assert spent == nanousd(line.usage)


async def test_an_answer_whose_output_is_told_as_nothing_is_estimated() -> None:
    body = completion_body(TEXT, model=MODEL, usage=Usage(20, 0, 0))
    (line,), _ = await asked([plain(body)], answered=True)
    assert line.usage == Usage(20, 0, WORDS, estimated=True)


async def test_an_answer_with_half_a_usage_keeps_that_half() -> None:
    body = json.loads(completion_body(TEXT, model=MODEL, usage=Usage(20, 0, 80)))
    body["usage"] = {"prompt_tokens": 0, "completion_tokens": 80}
    (line,), _ = await asked([plain(json.dumps(body).encode())], answered=True)
    assert line.usage.output_tokens == 80
    assert line.usage.input_tokens > 0
    assert line.usage.estimated
