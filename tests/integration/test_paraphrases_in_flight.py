"""A request that means the same as one that is being answered waits for it, under the rules for a stored one."""

from __future__ import annotations

import asyncio

import pytest

from semcache.errors import UpstreamError, UpstreamRefusedError
from semcache.model import CacheMode, Finished, Response, Selector, Started, Status, UpstreamCall
from semcache.testing.upstream import Scripted, ScriptedUpstream
from tests.support.caches import ANSWER_NANOUSD, Rig, check_books, depth, request, rig

FIRST = "How do I reset my password please?"
SAME = "How do I reset my password?"
OTHER = "Which trains go to the coast at night?"
VETOED = "How do I reset my 2 passwords please?"


def held(**fields: object) -> tuple[asyncio.Event, ScriptedUpstream]:
    gate = asyncio.Event()
    return gate, ScriptedUpstream(lambda _: Scripted("An answer.", gate=gate, **fields))


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


async def ask(served: Rig, text: str, **fields: object) -> Response:
    return await served.cache.complete(request(text, **fields))


async def both(served: Rig, gate: asyncio.Event, second: str, **fields: object) -> tuple[Response, Response]:
    """One request, and another that arrives while it is upstream."""
    one = asyncio.create_task(ask(served, FIRST))
    await served.upstream.called(1)
    two = asyncio.create_task(ask(served, second, **fields))
    await settle()
    gate.set()
    return await one, await two


async def test_a_paraphrase_waits_and_shares_the_answer() -> None:
    gate, upstream = held()
    served = rig(upstream)
    first, second = await both(served, gate, SAME)
    assert (first.status, second.status) == (Status.MISS, Status.COALESCED)
    assert second.reason == "paraphrase_in_flight"
    assert len(upstream.calls) == 1
    assert second.entry_id == first.entry_id != 0
    assert second.similarity is not None
    assert 0.6 < second.similarity < 1
    assert (second.cost.total_nanousd, second.saved.total_nanousd) == (0, ANSWER_NANOUSD)
    assert check_books(served, requests=2) == ANSWER_NANOUSD


async def test_a_verdict_on_it_is_taken_like_on_any_hit() -> None:
    gate, upstream = held()
    served = rig(upstream)
    _, second = await both(served, gate, SAME)
    await served.cache.report_verdict("acme", second.hit_id, right=False)
    assert (await ask(served, SAME)).status is Status.MISS


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        (OTHER, {}),
        (VETOED, {}),
        (SAME, {"tenant": "globex"}),
        (SAME, {"namespace": "other"}),
        (SAME, {"model": "gpt-4o"}),
        (SAME, {"mode": CacheMode.BYPASS}),
        (SAME, {"mode": CacheMode.REFRESH}),
        (SAME, {"no_store": True}),
    ],
)
async def test_what_a_stored_answer_would_not_be_served_to_asks_by_itself(text: str, fields: dict[str, object]) -> None:
    gate, upstream = held()
    served = rig(upstream)
    _, second = await both(served, gate, text, **fields)
    assert second.status not in {Status.COALESCED, Status.SEMANTIC_HIT}
    assert len(upstream.calls) == 2


@pytest.mark.parametrize("first", [{"mode": CacheMode.REFRESH}, {"mode": CacheMode.BYPASS}, {"no_store": True}])
async def test_nobody_waits_for_one_who_never_joins(first: dict[str, object]) -> None:
    gate, upstream = held()
    served = rig(upstream)
    one = asyncio.create_task(ask(served, FIRST, **first))
    await upstream.called(1)
    two = asyncio.create_task(ask(served, SAME))
    await upstream.called(2)
    gate.set()
    await asyncio.gather(one, two)


async def test_a_lookup_that_may_only_read_does_not_wait() -> None:
    gate, upstream = held()
    served = rig(upstream)
    one = asyncio.create_task(ask(served, FIRST))
    await upstream.called(1)
    response, _, _ = await served.cache.lookup(request(SAME))
    assert response.status is Status.MISS
    gate.set()
    await one


@pytest.mark.parametrize(
    "fields",
    [
        {"finish_reason": "content_filter"},
        {"tool_calls": ({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}},)},
    ],
)
async def test_an_answer_that_is_not_kept_is_nobody_elses(fields: dict[str, object]) -> None:
    gate, upstream = held(**fields)
    served = rig(upstream)
    first, second = await both(served, gate, SAME)
    assert (first.status, second.status) == (Status.MISS, Status.MISS)
    assert len(upstream.calls) == 2


async def test_a_failure_reaches_all_once() -> None:
    gate, upstream = held(error=UpstreamError("no", http_status=500))
    served = rig(upstream)
    one = asyncio.create_task(ask(served, FIRST))
    await upstream.called(1)
    two = asyncio.create_task(ask(served, SAME))
    await settle()
    gate.set()
    for task in (one, two):
        with pytest.raises(UpstreamError):
            await task
    assert len(upstream.calls) == 1
    assert depth(served, "flights") == 0


async def test_the_first_may_leave_and_the_second_still_gets_its_answer() -> None:
    gate, upstream = held()
    served = rig(upstream)
    one = asyncio.create_task(ask(served, FIRST))
    await upstream.called(1)
    two = asyncio.create_task(ask(served, SAME))
    await settle()
    one.cancel()
    await settle()
    gate.set()
    assert (await two).status is Status.COALESCED
    assert len(upstream.calls) == 1


async def test_the_second_may_leave_and_nothing_is_lost() -> None:
    gate, upstream = held()
    served = rig(upstream)
    one = asyncio.create_task(ask(served, FIRST))
    await upstream.called(1)
    two = asyncio.create_task(ask(served, SAME))
    await settle()
    two.cancel()
    gate.set()
    assert (await one).status is Status.MISS
    await served.cache.drain(5.0)
    check_books(served, requests=2)


async def test_many_at_once_ask_once() -> None:
    gate, upstream = held()
    served = rig(upstream)
    texts = [FIRST, SAME, "how do i reset my password please", "How do I reset my password, please?"]
    tasks = [asyncio.create_task(ask(served, text)) for text in texts]
    await upstream.called(1)
    await settle()
    gate.set()
    responses = await asyncio.gather(*tasks)
    assert len(upstream.calls) == 1
    assert sorted(response.status for response in responses) == [*[Status.COALESCED] * 3, Status.MISS]
    check_books(served, requests=4)


async def test_a_stream_waits_for_a_plain_one_and_is_replayed() -> None:
    gate, upstream = held()
    served = rig(upstream)
    one = asyncio.create_task(ask(served, FIRST))
    await upstream.called(1)

    async def stream() -> list[object]:
        return [frame async for frame in served.cache.stream(request(SAME))]

    two = asyncio.create_task(stream())
    await settle()
    gate.set()
    await one
    frames = await two
    last = frames[-1]
    assert isinstance(last, Finished)
    assert last.response.status is Status.COALESCED
    assert sum(isinstance(frame, bytes) for frame in frames) > 1


async def test_a_refusal_of_the_firsts_text_is_not_the_seconds() -> None:
    gate = asyncio.Event()

    def answer(call: UpstreamCall) -> Scripted:
        refused = UpstreamRefusedError("the prompt is filtered", http_status=400)
        return Scripted("An answer.", gate=gate, error=refused if FIRST in call.body.decode() else None)

    served = rig(ScriptedUpstream(answer))
    one = asyncio.create_task(ask(served, FIRST))
    await served.upstream.called(1)
    two = asyncio.create_task(ask(served, SAME))
    await settle()
    gate.set()
    with pytest.raises(UpstreamRefusedError):
        await one
    assert (await two).status is Status.MISS
    check_books(served, requests=2)


async def test_one_that_ends_while_the_second_is_embedded_is_not_asked_again() -> None:
    gate, upstream = held()
    served = rig(upstream)
    one = asyncio.create_task(ask(served, FIRST))
    await served.upstream.called(1)
    await settle()
    embedded = served.embedder.hang_next()
    two = asyncio.create_task(ask(served, SAME))
    await settle()
    gate.set()
    await one
    embedded.set()
    second = await two
    assert (second.status, second.reason) == (Status.COALESCED, "paraphrase_in_flight")
    assert len(upstream.calls) == 1


async def test_who_waited_in_vain_waits_for_no_other() -> None:
    gate, upstream = held(finish_reason="content_filter")
    served = rig(upstream)
    texts = [FIRST, SAME, "how do i reset my password please", "How do I reset my password, please?"]
    tasks = [asyncio.create_task(ask(served, text)) for text in texts]
    await upstream.called(1)
    await settle()
    assert len(upstream.calls) == 1
    behind = asyncio.Event()
    upstream.answers = lambda _: Scripted("An answer.", gate=behind)
    gate.set()
    await upstream.called(4)
    behind.set()
    await asyncio.gather(*tasks)


async def test_an_invalidation_while_the_second_waits_is_heeded() -> None:
    gate, upstream = held()
    served = rig(upstream)
    one = asyncio.create_task(ask(served, FIRST))
    await upstream.called(1)
    two = asyncio.create_task(ask(served, SAME))
    await settle()
    await served.cache.invalidate(Selector(tenant="acme"), apply=True)
    gate.set()
    assert (await one).store_reason == "invalidated"
    assert (await two).status is Status.MISS
    assert len(upstream.calls) == 2


async def test_all_end_with_the_grace() -> None:
    _, upstream = held()
    served = rig(upstream)
    one = asyncio.create_task(ask(served, FIRST))
    await upstream.called(1)
    two = asyncio.create_task(ask(served, SAME))
    follower = asyncio.create_task(ask(served, SAME))
    await settle()
    await served.cache.drain(0.0)
    await asyncio.wait([one, two, follower])
    assert depth(served, "flights") == 0
    check_books(served, requests=3)


async def test_a_text_that_is_not_compared_costs_others_no_embedding() -> None:
    gate, upstream = held()
    served = rig(upstream)
    long = " ".join(["word"] * 300)
    one = asyncio.create_task(ask(served, long))
    await upstream.called(1)
    two = asyncio.create_task(ask(served, SAME))
    await upstream.called(2)
    gate.set()
    await one
    assert "embed" not in dict((await two).stages)


async def test_a_stream_says_at_its_start_why_the_upstream_is_asked_as_at_its_end() -> None:
    served = rig()
    await ask(served, FIRST)
    for text in (OTHER, VETOED, "a question of its own"):
        frames = [frame async for frame in served.cache.stream(request(text))]
        first, last = frames[0], frames[-1]
        assert isinstance(first, Started)
        assert isinstance(last, Finished)
        assert first.response.reason == last.response.reason in {"below_threshold", "vetoed"}


async def test_a_failure_on_another_way_is_not_the_seconds() -> None:
    gate = asyncio.Event()

    def answer(call: UpstreamCall) -> Scripted:
        error = UpstreamError("no", http_status=500) if call.task_type == "code" else None
        return Scripted("An answer.", gate=gate, error=error)

    served = rig(ScriptedUpstream(answer))
    one = asyncio.create_task(ask(served, FIRST, task_type="code"))
    await served.upstream.called(1)
    two = asyncio.create_task(ask(served, SAME, task_type="chat"))
    await settle()
    gate.set()
    with pytest.raises(UpstreamError):
        await one
    assert (await two).status is Status.MISS
