"""A caller who leaves at any await: nothing leaks, the books stay exact, and whoever else waits gets the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from semcache.errors import EmbeddingFailedError, OverloadedError, StoreFullError, UpstreamError
from semcache.model import CacheMode, Finished, Response, Status, Tier, UpstreamCall
from semcache.testing.upstream import Scripted, ScriptedUpstream
from tests.support.caches import ANSWER_NANOUSD, Rig, check_books, deposit, depth, key, request, rig

SEED = "How do I reset my password please?"
NEAR = "How do I reset my password?"
FAR = "Which trains go to the coast at night?"
MOST_TURNS = 200


async def streamed(served: Rig, text: str, **fields: Any) -> Response:
    frames = [frame async for frame in served.cache.stream(request(text, **fields))]
    assert isinstance(frames[-1], Finished)
    return frames[-1].response


async def cancelled_after(turns: int, work: Coroutine[Any, Any, object]) -> bool:
    """Whether `work` was still running after so many turns of the loop, and was cancelled then."""
    task = asyncio.get_running_loop().create_task(work)
    for _ in range(turns):
        await asyncio.sleep(0)
    left = task.cancel()
    await asyncio.wait([task])
    if not left:
        task.result()
    return left


async def drained_after(turns: int, served: Rig, work: Coroutine[Any, Any, object]) -> bool:
    """Whether `work` was still running after one more turn of the loop than `turns`, when the grace was over."""
    caller = asyncio.get_running_loop().create_task(work)
    for _ in range(turns + 1):
        await asyncio.sleep(0)
    running = not caller.done()
    await served.cache.drain(0.0)
    caller.cancel()
    await asyncio.wait([caller])
    await settled(served)
    return running


async def at_each_turn(case: Callable[[int], Awaitable[bool]]) -> None:
    """Run `case` with 0, 1, 2 … turns until it says that nothing was left to cancel."""
    for turns in range(MOST_TURNS):
        if not await case(turns):
            assert turns > 2, "the work was over before it could be cancelled"
            return
    pytest.fail(f"the work never ended within {MOST_TURNS} turns")


async def settled(served: Rig) -> None:
    """All that the cache still does comes to its end, and nothing is left behind."""
    await served.cache.drain(10.0)
    assert depth(served, "flights") == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


def answers(_: object) -> Scripted:
    return Scripted("answered")


PLAIN_AND_STREAM = pytest.mark.parametrize("kind", ["plain", "stream"])


def ask(served: Rig, kind: str, text: str, **fields: Any) -> Coroutine[Any, Any, Response]:
    return streamed(served, text, **fields) if kind == "stream" else served.cache.complete(request(text, **fields))


@PLAIN_AND_STREAM
@pytest.mark.parametrize(
    ("text", "mode"),
    [
        (SEED, CacheMode.DEFAULT),
        (NEAR, CacheMode.DEFAULT),
        (FAR, CacheMode.DEFAULT),
        (NEAR, CacheMode.BYPASS),
        (NEAR, CacheMode.REFRESH),
    ],
)
async def test_a_caller_who_leaves_is_counted_once_and_what_was_spent_is_booked_once(
    kind: str, text: str, mode: CacheMode
) -> None:
    async def case(turns: int) -> bool:
        served = rig(ScriptedUpstream(answers))
        await served.cache.complete(request(SEED))
        left = await cancelled_after(turns, ask(served, kind, text, mode=mode))
        await settled(served)
        # A task that is cancelled before its first step never asked for anything.
        requests = 2 if turns or not left else 1
        spent = check_books(served, requests=requests)
        assert spent == len(served.upstream.calls) * ANSWER_NANOUSD
        again = await served.cache.complete(request(text))
        kept = await served.store.entries.find_exact(key(served, request(text)).exact_key)
        if kept is not None:
            assert again.answer is not None
            assert again.answer.text == kept.answer.text == "answered"
        check_books(served, requests=requests + 1)
        return left and text is not SEED

    if text is SEED:
        served = rig(ScriptedUpstream(answers))
        await served.cache.complete(request(SEED))
        await cancelled_after(1, ask(served, kind, SEED, mode=mode))
        await settled(served)
        check_books(served, requests=2)
    else:
        await at_each_turn(case)


@PLAIN_AND_STREAM
@pytest.mark.parametrize("text", [NEAR, FAR])
async def test_a_follower_gets_the_answer_of_a_leader_who_left(kind: str, text: str) -> None:
    async def case(turns: int) -> bool:
        served = rig(ScriptedUpstream(answers))
        await served.cache.complete(request(SEED))
        loop = asyncio.get_running_loop()
        leader = loop.create_task(ask(served, kind, text))
        await asyncio.sleep(0)
        follower = loop.create_task(ask(served, kind, text))
        for _ in range(turns):
            await asyncio.sleep(0)
        left = leader.cancel()
        response = await follower
        await asyncio.wait([leader])
        assert response.answer is not None
        assert response.answer.text == "answered"
        await settled(served)
        spent = check_books(served, requests=3)
        assert len(served.upstream.calls) == (2 if text is FAR else 1)
        assert spent == len(served.upstream.calls) * ANSWER_NANOUSD
        return left

    await at_each_turn(case)


@PLAIN_AND_STREAM
async def test_a_follower_who_leaves_does_not_disturb_the_leader(kind: str) -> None:
    async def case(turns: int) -> bool:
        served = rig(ScriptedUpstream(answers))
        leader = asyncio.get_running_loop().create_task(ask(served, kind, FAR))
        await asyncio.sleep(0)
        left = await cancelled_after(turns, ask(served, kind, FAR))
        assert (await leader).status is Status.MISS
        await settled(served)
        assert check_books(served, requests=2 if turns or not left else 1) == ANSWER_NANOUSD
        return left

    await at_each_turn(case)


async def test_a_lookup_that_is_left_changes_nothing() -> None:
    async def case(turns: int) -> bool:
        served = rig()
        await served.cache.complete(request(SEED))
        left = await cancelled_after(turns, served.cache.lookup(request(FAR), 10.0))
        await settled(served)
        check_books(served, requests=2 if turns or not left else 1)
        response, _, lease = await served.cache.lookup(request(FAR), 10.0, waits=False)
        assert response.status is Status.MISS
        # A lease that nobody was told of is nobody's.
        assert (lease is not None) == left
        return left

    await at_each_turn(case)


async def test_one_who_waits_for_a_lease_and_leaves_changes_nothing() -> None:
    served = rig()
    _, _, lease = await served.cache.lookup(request(FAR), 60.0)
    assert lease is not None
    for turns in range(1, 8):
        assert await cancelled_after(turns, served.cache.lookup(request(FAR), 60.0))
        check_books(served, requests=1 + turns)
    stored = await served.cache.store(deposit(served, request(FAR), lease_id=lease.lease_id))
    assert stored.entry is not None
    assert (await served.cache.lookup(request(FAR), 60.0))[0].status is Status.EXACT_HIT


@pytest.mark.parametrize("leased", [True, False])
async def test_a_store_that_is_left_is_stored_and_booked_or_neither(leased: bool) -> None:
    async def case(turns: int) -> bool:
        served = rig()
        _, lookup_id, lease = await served.cache.lookup(request(FAR), 60.0 if leased else None)
        given = deposit(served, request(FAR), lookup_id=lookup_id, lease_id=lease.lease_id if lease else "")
        left = await cancelled_after(turns, served.cache.store(given))
        await settled(served)
        spent = check_books(served, requests=1)
        found = await served.store.entries.find_exact(given.keyed.exact_key)
        assert spent == (ANSWER_NANOUSD if found else 0)
        if leased and turns:
            # Whoever waited for the holder may go on.
            response, _, again = await served.cache.lookup(request(FAR), 60.0)
            assert (again is None) == (response.status is Status.EXACT_HIT)
        return left

    await at_each_turn(case)


@pytest.mark.parametrize("kind", ["plain", "stream"])
async def test_the_end_of_the_grace_books_what_a_verifier_cost(kind: str) -> None:
    """Its answer's and its own cost, whatever the work was at; nothing stays reserved."""
    tasks = {"critical": ["code"], "verifier": "judge"}
    costs = {"budgets": [{"name": "all", "limit_usd": 1}]}

    def answer(call: UpstreamCall) -> Scripted:
        return Scripted("YES", model="gpt-4o-mini") if call.alias == "judge" else Scripted("answered")

    async def case(turns: int) -> bool:
        served = rig(ScriptedUpstream(answer), tasks=tasks, costs=costs)
        running = await drained_after(turns, served, ask(served, kind, FAR, task_type="code"))
        spent = check_books(served, requests=1)
        (balance,) = served.accounts.budgets.balances()
        assert (balance.spent_nanousd, balance.reserved_nanousd) == (spent, 0)
        return running

    await at_each_turn(case)


@pytest.mark.parametrize("kind", ["plain", "stream"])
async def test_the_end_of_the_grace_books_what_was_spent(kind: str) -> None:
    """Draining cancels the work itself, at any await: what the upstream has answered by then is booked all the same."""

    async def case(turns: int) -> bool:
        served = rig(ScriptedUpstream(answers))
        await served.cache.complete(request(SEED))
        running = await drained_after(turns, served, ask(served, kind, FAR))
        check_books(served, requests=2)
        kept = await served.store.entries.find_exact(key(served, request(FAR)).exact_key)
        if kept is not None:
            assert served.metrics.spent_nanousd() == 2 * ANSWER_NANOUSD
        return running

    await at_each_turn(case)


@PLAIN_AND_STREAM
@pytest.mark.parametrize("error", [StoreFullError("full"), OverloadedError("busy")])
async def test_a_store_that_refuses_costs_no_answer_and_no_booking(kind: str, error: Exception) -> None:
    served = rig(ScriptedUpstream(answers))
    served.store.fail_writes = error
    response = await ask(served, kind, FAR)
    assert response.answer is not None
    assert response.answer.text == "answered"
    assert (response.stored, response.store_reason) == (False, "spend_not_durable")
    served.store.fail_writes = None
    await settled(served)
    assert check_books(served, requests=1) == ANSWER_NANOUSD


@PLAIN_AND_STREAM
async def test_without_a_ledger_nothing_is_bought_where_the_settings_refuse(kind: str) -> None:
    served = rig(ScriptedUpstream(answers), without_ledger="refuse")
    known = await ask(served, kind, SEED)
    assert known.stored
    served.store.fail_writes = StoreFullError("full")
    with pytest.raises(StoreFullError):
        await ask(served, kind, FAR)
    assert len(served.upstream.calls) == 1
    hit = await ask(served, kind, SEED)
    assert hit.status is Status.EXACT_HIT
    served.store.fail_writes = None
    assert (await ask(served, kind, FAR)).stored
    await settled(served)
    assert check_books(served, requests=4) == 2 * ANSWER_NANOUSD


@PLAIN_AND_STREAM
async def test_an_answer_whose_spend_is_not_on_disk_is_withheld_where_the_settings_refuse(kind: str) -> None:
    def fill_the_disk(call: UpstreamCall) -> Scripted:
        served.store.fail_writes = StoreFullError("full")
        return answers(call)

    served = rig(ScriptedUpstream(fill_the_disk), without_ledger="refuse")
    with pytest.raises(StoreFullError):
        await ask(served, kind, FAR)
    served.store.fail_writes = None
    await settled(served)
    assert check_books(served, requests=1) == ANSWER_NANOUSD


async def test_a_deposit_that_the_store_refuses_is_an_error_and_costs_nothing() -> None:
    served = rig()
    served.store.fail_writes = StoreFullError("full")
    with pytest.raises(StoreFullError):
        await served.cache.store(deposit(served, request(FAR)))
    served.store.fail_writes = None
    assert check_books(served, requests=0) == 0
    assert await served.store.entries.find_exact(key(served, request(FAR)).exact_key) is None


async def test_half_a_stream_on_a_full_disk_is_still_the_upstreams_failure() -> None:
    served = rig(ScriptedUpstream(lambda _: Scripted(pieces=("a ", "b "), break_after=2)))
    served.store.fail_writes = StoreFullError("full")
    with pytest.raises(UpstreamError):
        await streamed(served, FAR)


@PLAIN_AND_STREAM
async def test_an_embedder_that_fails_beside_the_upstream_costs_the_vector_alone(kind: str) -> None:
    served = rig(ScriptedUpstream(answers))
    served.embedder.fail_next(EmbeddingFailedError("broken"))
    response = await ask(served, kind, FAR)
    assert response.stored
    keyed = key(served, request(FAR))
    assert keyed.cacheability.tier is Tier.SEMANTIC
    assert await served.store.vectors.has(keyed.partition) is False
    assert (await served.cache.complete(request(FAR))).status is Status.EXACT_HIT
    check_books(served, requests=2)


async def test_an_answer_whose_tokens_cannot_be_counted_is_booked_all_the_same() -> None:
    served = rig(ScriptedUpstream(lambda _: Scripted("answered", usage=None)))

    def broken(_: str) -> int:
        raise RuntimeError("no tokenizer")

    served.embedder.count_tokens = broken  # type: ignore[method-assign]
    response = await served.cache.complete(request(FAR))
    assert response.usage.estimated
    assert check_books(served, requests=1) > 0


async def test_half_a_stream_of_a_model_with_an_endless_name_is_booked() -> None:
    script = Scripted(model="m" * 70_000, pieces=("one ", "two"), break_after=2)
    served = rig(ScriptedUpstream(lambda _: script))
    with pytest.raises(UpstreamError):
        await streamed(served, FAR)
    (line,) = served.store.ledger.records(None, 0, 1e12)
    assert (line.status, line.usage.output_tokens, len(line.model)) == (Status.ERROR, 1, 256)


async def test_an_embedder_that_is_full_refuses_the_request_and_all_who_wait_with_it() -> None:
    served = rig(ScriptedUpstream(answers))
    await served.cache.complete(request(SEED))
    served.embedder.fail_next(OverloadedError("the queue is full"))
    waiting = await asyncio.gather(*(served.cache.complete(request(FAR)) for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in waiting] == [OverloadedError] * 3
    assert len(served.upstream.calls) == 1
    assert served.metrics.counts()[Status.ERROR] == 3
    check_books(served, requests=4)


@PLAIN_AND_STREAM
async def test_an_answer_that_only_waits_for_its_vector_when_the_grace_ends_is_booked(kind: str) -> None:
    served = rig(ScriptedUpstream(answers))
    served.embedder.hang_next()
    caller = asyncio.get_running_loop().create_task(ask(served, kind, FAR))
    await served.upstream.called()
    for _ in range(20):
        await asyncio.sleep(0)
    assert served.upstream.running == 0
    await served.cache.drain(0.0)
    caller.cancel()
    await asyncio.wait([caller])
    await settled(served)
    assert check_books(served, requests=1) == ANSWER_NANOUSD


@pytest.mark.parametrize("ends", ["first", "second", "all"])
@PLAIN_AND_STREAM
async def test_paraphrases_in_flight_end_once_whoever_leaves_at_whichever_await(kind: str, ends: str) -> None:
    """The first and the second leave by themselves; all end with the grace."""

    async def case(turns: int) -> bool:
        served = rig(ScriptedUpstream(answers))
        loop = asyncio.get_running_loop()
        first = loop.create_task(ask(served, kind, SEED))
        await served.upstream.called(1)
        second = loop.create_task(ask(served, kind, NEAR))
        follower = loop.create_task(ask(served, "plain", NEAR))
        tasks = [first, second, follower]
        for _ in range(turns + 1):
            await asyncio.sleep(0)
        running = not all(task.done() for task in tasks)
        if ends == "all":
            await served.cache.drain(0.0)
        else:
            (first if ends == "first" else second).cancel()
        await asyncio.wait(tasks)
        await settled(served)
        check_books(served, requests=3)
        if ends != "all":
            assert follower.result().answer is not None
        return running

    await at_each_turn(case)
