"""Random traffic: responses, counters, the rollup and the log agree to the nanodollar."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from semcache.costs.prices import PriceBook
from semcache.errors import NotFoundError, UpstreamError, UpstreamRefusedError
from semcache.model import ZERO_COST, CacheMode, Finished, Purpose, Status, UpstreamCall, Usage
from semcache.settings import CostSettings
from semcache.testing.upstream import Scripted, ScriptedUpstream
from tests.support.caches import Rig, check_books, deposit, request, rig

PRICES = PriceBook.open(CostSettings())
TEXTS = (
    "How do I reset my password please?",
    "How do I reset my password?",
    "How do I reset my 2 passwords please?",
    "What's the weather right now?",
    "Which trains go to the coast at night?",
)
MODELS = ("gpt-4o-mini", "gpt-4o", "claude-sonnet-4-5", "a-model-that-nobody-prices")
KINDS = ("plain", "stream", "lookup", "lease", "store", "report", "pass_time")


@dataclass(frozen=True)
class Step:
    """A call of one caller."""

    kind: str
    text: str
    model: str
    mode: CacheMode
    no_store: bool
    task_type: str
    leaves_after: int | None
    callers: int


@dataclass(frozen=True)
class Behaviour:
    """The upstream's behaviour for the next call."""

    kind: str
    usage: Usage | None
    model: str
    finish_reason: str


steps = st.builds(
    Step,
    kind=st.sampled_from(KINDS),
    text=st.sampled_from(TEXTS),
    model=st.sampled_from(MODELS),
    mode=st.sampled_from(list(CacheMode)),
    no_store=st.booleans(),
    task_type=st.sampled_from(["", "code", "odd"]),
    leaves_after=st.none() | st.none() | st.integers(1, 12),
    callers=st.integers(1, 3),
)
counts = st.integers(0, 3_000_000)
usages = st.none() | st.builds(
    lambda cached, more, output: Usage(cached + more + 1, cached, output), counts, counts, counts
)
behaviours = st.builds(
    Behaviour,
    kind=st.sampled_from(["answers", "answers", "answers", "refuses", "fails", "breaks_off"]),
    usage=usages,
    model=st.sampled_from(["", "gpt-4o-2024-08-06", "nobody-knows"]),
    finish_reason=st.sampled_from(["stop", "stop", "length", "content_filter"]),
)


def scripted(behaviour: Behaviour) -> Scripted:
    reply = {"usage": behaviour.usage, "model": behaviour.model, "finish_reason": behaviour.finish_reason}
    if behaviour.kind == "refuses":
        return Scripted(error=UpstreamRefusedError("no", http_status=400))
    if behaviour.kind == "fails":
        return Scripted(error=UpstreamError("no", http_status=500))
    if behaviour.kind == "breaks_off":
        return Scripted(pieces=("one ", "two ", "three"), break_after=2, **reply)
    return Scripted("An answer.", **reply)


@dataclass
class Books:
    """The sums that callers can compute from their responses."""

    requests: int = 0
    failed: int = 0
    left: int = 0
    reported: dict[str, tuple[Status, int, int]] = field(default_factory=dict)


async def play(served: Rig, step: Step, books: Books, hits: list[str]) -> None:
    if step.kind == "pass_time":
        served.clock.advance(1_700.0)
    elif step.kind == "report":
        if hits:
            await served.cache.report_verdict("acme", hits.pop(), right=False)
    elif step.kind == "store":
        asked = request(step.text, model=step.model, task_type=step.task_type)
        stored = await served.cache.store(deposit(served, asked))
        books.reported[stored.request_id] = (Status.MISS, stored.cost.total_nanousd, 0)
    else:
        tasks = [asyncio.create_task(ask(served, step, books, hits)) for _ in range(step.callers)]
        books.requests += step.callers
        for _ in range(step.leaves_after or 0):
            await asyncio.sleep(0)
        if step.leaves_after is not None:
            tasks[0].cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            books.left += task.cancelled()
            if not task.cancelled():
                task.result()
        await served.cache.drain(60.0)


async def ask(served: Rig, step: Step, books: Books, hits: list[str]) -> None:
    mode = step.mode
    if step.kind in {"lookup", "lease"}:
        mode = CacheMode.DEFAULT
    asked = request(step.text, model=step.model, mode=mode, no_store=step.no_store, task_type=step.task_type)
    try:
        if step.kind == "plain":
            response = await served.cache.complete(asked)
        elif step.kind == "stream":
            frames = [frame async for frame in served.cache.stream(asked)]
            assert isinstance(frames[-1], Finished)
            response = frames[-1].response
        else:
            response, _, _ = await served.cache.lookup(asked, 5.0 if step.kind == "lease" else None, waits=False)
    except (NotFoundError, UpstreamError):
        books.failed += 1
        return
    books.reported[response.request_id] = (
        response.status,
        response.cost.total_nanousd,
        response.saved.total_nanousd,
    )
    if response.hit_id:
        hits.append(response.hit_id)


@given(st.lists(st.tuples(steps, behaviours), max_size=14))
@hypothesis_settings(max_examples=200)
def test_what_callers_are_told_is_what_the_books_say(played: list[tuple[Step, Behaviour]]) -> None:
    async def run() -> None:
        now = [Behaviour("answers", None, "", "stop")]

        def answer(call: UpstreamCall) -> Scripted:
            assert json.loads(call.body)["messages"]
            return scripted(now[0])

        served = rig(ScriptedUpstream(answer), prices=PRICES)
        books, hits = Books(), list[str]()
        for step, behaviour in played:
            now[0] = behaviour
            await play(served, step, books, hits)
        check_books(served, requests=books.requests)
        everything = served.store.ledger.records(None, 0, 1e12)
        lines = {line.request_id: line for line in everything if line.purpose is not Purpose.WRONG_HIT}
        for request_id, reported in books.reported.items():
            line = lines.pop(request_id)
            assert reported == (line.status, line.spent.total_nanousd, line.saved.total_nanousd)
        # The other lines have no response: their callers had left, or got an error.
        errors = [line for line in lines.values() if line.status is Status.ERROR]
        misses = [line for line in lines.values() if line.status is Status.MISS and line.spent == ZERO_COST]
        left = len(lines) - len(errors)
        assert len(errors) + len(misses) >= books.failed
        assert left - len(misses) <= books.left
        assert sum(line.saved.total_nanousd for line in errors) == 0

    asyncio.run(run())
