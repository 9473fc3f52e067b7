"""A wrong verdict is about two requests: neither gets the other's answer again, whatever became of the entries."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from semcache.model import CacheMode, Response, Selector, Status
from semcache.testing.upstream import Scripted, ScriptedUpstream
from tests.support.caches import Rig, request, rig

STORED = "How do I reset my password please?"
SERVED = "How do I reset my password?"
NEARER = "How do I reset my password then?"
"""Nearer to `SERVED` than to `STORED`."""
HIT = {Status.SEMANTIC_HIT, Status.COALESCED}
Way = Callable[[Rig], Awaitable[object]]


async def ask(served: Rig, text: str, **fields: object) -> Response:
    return await served.cache.complete(request(text, **fields))


async def wrong_hit(served: Rig) -> Response:
    await ask(served, STORED)
    hit = await ask(served, SERVED)
    assert hit.status is Status.SEMANTIC_HIT
    return hit


async def report(served: Rig, hit: Response) -> None:
    await served.cache.report_verdict("acme", hit.hit_id, right=False)


async def by_expiry(served: Rig) -> None:
    served.clock.advance(served.settings.cacheability.ttl_s + 1)


async def by_sweep(served: Rig) -> None:
    await by_expiry(served)
    await served.store.sweep()


async def by_namespace(served: Rig) -> None:
    await served.cache.invalidate(Selector("acme", namespace="default"), apply=True)


async def by_everything(served: Rig) -> None:
    await served.cache.invalidate(Selector("acme", everything=True), apply=True)


async def by_refresh(served: Rig) -> None:
    await ask(served, STORED, mode=CacheMode.REFRESH)


async def by_restart(served: Rig) -> None:
    await by_everything(served)
    served.store.reopen("")


async def by_nothing(_: Rig) -> None:
    return


WAYS: dict[str, Way] = {
    "nothing": by_nothing,
    "expiry": by_expiry,
    "sweep": by_sweep,
    "namespace": by_namespace,
    "everything": by_everything,
    "refresh": by_refresh,
    "restart": by_restart,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("verdict_first", [True, False])
async def test_the_pair_is_never_served_again(way: str, *, verdict_first: bool) -> None:
    served = rig()
    hit = await wrong_hit(served)
    if verdict_first:
        await report(served, hit)
    await WAYS[way](served)
    if not verdict_first:
        if way in {"expiry", "sweep"}:
            back_s = served.settings.cacheability.ttl_s  # Verdicts are taken for less long than entries live.
            served.clock.jump_wall(-back_s)
        await report(served, hit)
    await ask(served, STORED)
    for text in (SERVED, NEARER):
        asked = await ask(served, text, no_store=True)
        assert asked.status is Status.MISS, text


@pytest.mark.parametrize("way", [way for way in WAYS if way not in {"nothing", "refresh"}])
async def test_the_other_direction_is_barred_too(way: str) -> None:
    served = rig()
    await report(served, await wrong_hit(served))
    await WAYS[way](served)
    assert (await ask(served, SERVED)).status is Status.MISS
    assert (await ask(served, STORED)).status is Status.MISS


@pytest.mark.parametrize("pair", [(STORED, SERVED), (SERVED, STORED), (STORED, NEARER)])
async def test_neither_waits_for_the_other_in_flight(pair: tuple[str, str]) -> None:
    gate = asyncio.Event()
    gate.set()
    served = rig(ScriptedUpstream(lambda _: Scripted("An answer.", gate=gate)))
    await report(served, await wrong_hit(served))
    await by_everything(served)
    gate.clear()
    tasks = []
    for calls, text in enumerate(pair, start=2):
        tasks.append(asyncio.create_task(ask(served, text)))
        await served.upstream.called(calls)
    gate.set()
    assert [(await task).status for task in tasks] == [Status.MISS, Status.MISS]


async def test_a_verdict_that_comes_while_one_waits_counts() -> None:
    gate = asyncio.Event()
    gate.set()
    served = rig(ScriptedUpstream(lambda _: Scripted("An answer.", gate=gate)))
    hit = await wrong_hit(served)
    await by_everything(served)
    gate.clear()
    first = asyncio.create_task(ask(served, STORED))
    await served.upstream.called(2)
    second = asyncio.create_task(ask(served, SERVED))
    for _ in range(30):
        await asyncio.sleep(0)
    assert len(served.upstream.calls) == 2
    await report(served, hit)
    gate.set()
    assert [(await task).status for task in (first, second)] == [Status.MISS, Status.MISS]


async def test_requests_that_nobody_judged_still_share() -> None:
    served = rig()
    await report(served, await wrong_hit(served))
    await by_everything(served)
    await ask(served, STORED)
    assert (await ask(served, STORED + "!")).status in HIT
