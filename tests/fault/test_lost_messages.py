"""Anthropic's messages that break off: each is booked by what its start told and by the text that came."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

import pytest

from semcache.errors import UpstreamError
from semcache.model import ApiProtocol, LedgerRecord, Purpose, Request, Status, Usage
from semcache.protocols import FORMS
from semcache.settings import UpstreamSettings
from semcache.testing.clock import FakeClock
from semcache.testing.messages import message_body
from semcache.testing.upstream_server import Ending, Reply, ScriptedServer, named_events, plain
from semcache.upstream import HttpUpstream
from tests.support.caches import check_books, rig

MODEL = "claude-sonnet-4-5"
IN_NANOUSD, CACHED_NANOUSD, WRITTEN_NANOUSD, OUT_NANOUSD = 3_000, 300, 3_750, 15_000
TEXT = "one two three four five six seven eight nine ten " * 8
USAGE = Usage(input_tokens=1_000, cached_input_tokens=700, output_tokens=80, cache_write_tokens=200)
WHOLE = message_body(TEXT, model=MODEL, usage=USAGE)
EVENTS = tuple(FORMS[ApiProtocol.MESSAGES].replay(WHOLE).chunks(include_usage=True))
INPUT_NANOUSD = 100 * IN_NANOUSD + 700 * CACHED_NANOUSD + 200 * WRITTEN_NANOUSD
OVERLOADED = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
BODY = {"model": MODEL, "max_tokens": 500, "messages": [{"role": "user", "content": "a question of six words, really"}]}


def broken(*events: bytes, ending: Ending = Ending.CUT) -> Reply:
    return named_events(events, ending=ending)


async def asked(replies: Sequence[Reply], *, streams: bool, answered: bool) -> list[LedgerRecord]:
    """Ask one question of an upstream with these replies; return the ledger's lines, and check the books."""
    clock = FakeClock()

    async def no_sleep(_: float) -> None:
        return None

    async with ScriptedServer(replies) as server:
        settings = UpstreamSettings.model_validate({"targets": [{"name": "t", "base_url": server.base_url}]})
        upstream = HttpUpstream(settings, clock, rng=random.Random(1), sleep=no_sleep)
        served = rig(upstream, clock=clock)  # type: ignore[arg-type]
        asking = Request("acme", json.dumps(BODY).encode(), protocol=ApiProtocol.MESSAGES)
        try:
            if streams:
                async for _ in served.cache.stream(asking):
                    pass
            else:
                await served.cache.complete(asking)
            failed = False
        except UpstreamError:
            failed = True
        await served.cache.drain(1.0)
        await upstream.close()
    assert failed is not answered
    check_books(served, requests=1)
    lines = served.store.ledger.records(None, 0, 1e12)
    return sorted(lines, key=lambda line: line.requests)  # Lost answers first; one moment has no order.


@pytest.mark.parametrize(
    "reply",
    [broken(*EVENTS[:6]), broken(*EVENTS[:6], ending=Ending.END), broken(*EVENTS[:6], OVERLOADED, ending=Ending.END)],
    ids=["cut", "ended early", "an error event"],
)
async def test_a_stream_that_breaks_off_costs_its_input_and_the_text_that_came(reply: Reply) -> None:
    (line,) = await asked([reply], streams=True, answered=False)
    assert (line.status, line.model, line.purpose) == (Status.ERROR, MODEL, Purpose.REQUEST)
    assert (line.usage.input_tokens, line.usage.cached_input_tokens, line.usage.cache_write_tokens) == (1_000, 700, 200)
    assert line.usage.estimated
    came = "".join(json.loads(event)["delta"]["text"] for event in EVENTS[2:6])
    assert len(came.split()) <= line.usage.output_tokens < len(TEXT.split())
    assert line.spent.total_nanousd == INPUT_NANOUSD + line.usage.output_tokens * OUT_NANOUSD


async def test_a_stream_that_breaks_off_behind_its_usage_costs_what_that_says() -> None:
    (line,) = await asked([broken(*EVENTS[:-1])], streams=True, answered=False)
    assert line.usage == USAGE
    assert line.spent.total_nanousd == INPUT_NANOUSD + 80 * OUT_NANOUSD


async def test_a_plain_answer_that_is_cut_and_tried_again_is_booked_twice() -> None:
    headers = {"content-type": "application/json", "content-length": str(len(WHOLE))}
    cut = Reply(headers=headers, pieces=(WHOLE[: len(WHOLE) // 2],), ending=Ending.CUT)
    (lost, paid) = await asked([cut, plain(WHOLE)], streams=False, answered=True)
    assert (lost.purpose, lost.requests, paid.requests) == (Purpose.LOST_ANSWER, 0, 1)
    assert lost.usage.estimated
    assert 0 < lost.usage.output_tokens <= 1.3 * len(TEXT.split())
    assert paid.spent.total_nanousd == INPUT_NANOUSD + 80 * OUT_NANOUSD


@pytest.mark.parametrize("streams", [False, True])
async def test_an_overload_costs_nothing_and_is_tried_again(streams: bool) -> None:
    overload = named_events([OVERLOADED]) if streams else plain(OVERLOADED)
    answer = named_events(EVENTS) if streams else plain(WHOLE)
    (line,) = await asked([overload, overload, answer], streams=streams, answered=True)
    assert line.usage == USAGE
    assert line.spent.total_nanousd == INPUT_NANOUSD + 80 * OUT_NANOUSD
