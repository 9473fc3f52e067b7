"""Tenants with random actions: no answer, id, lease, list or sum of one ever reaches another tenant or namespace."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from semcache.costs.prices import PriceBook
from semcache.errors import NotFoundError, PreconditionFailedError
from semcache.model import Answer, CacheMode, Finished, Request, Response, Selector, Status, UpstreamCall
from semcache.settings import CostSettings
from semcache.testing.clock import FakeClock
from semcache.testing.upstream import Scripted, ScriptedUpstream
from tests.support.caches import ANSWER_NANOUSD, MODEL, Rig, deposit, rig
from tests.support.stored import all_entries

TENANTS = ("acme", "acme/", "bob", "default")
NAMESPACES = ("default", "acme", "bob")
TEXTS = (
    "How do I reset my password please?",
    "How do I reset my password?",
    "How can I reset my password please?",
    "Which trains go to the coast at night?",
)
PRICES = PriceBook.open(CostSettings())
CHANGES = ("complete", "stream", "lookup", "store", "lease", "verdict", "invalidate", "invalidate_ids", "refresh")

steps = st.lists(
    st.tuples(
        st.sampled_from(CHANGES),
        st.sampled_from(TENANTS),
        st.sampled_from(NAMESPACES),
        st.sampled_from(TEXTS),
        st.booleans(),
    ),
    max_size=30,
)


@dataclass
class World:
    """The ids and costs that tenants got so far, with the tenant that each belongs to."""

    served: Rig
    lookups: dict[str, str] = field(default_factory=dict)
    leases: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    hits: dict[str, str] = field(default_factory=dict)
    spent: dict[str, int] = field(default_factory=dict)
    made: int = 0

    def request(self, tenant: str, namespace: str, text: str, mode: CacheMode = CacheMode.DEFAULT) -> Request:
        body = {"model": MODEL, "messages": [{"role": "user", "content": text}], "user": f"{tenant}|{namespace}"}
        asked = Request(tenant=tenant, body=json.dumps(body).encode(), namespace=namespace)
        return Request(tenant, asked.body, namespace, control=type(asked.control)(mode=mode))

    def seen(self, tenant: str, namespace: str, response: Response) -> None:
        """Check that an answer was made for this tenant and namespace, and keep its hit id and cost."""
        if response.answer is not None:
            assert owner(response.answer) == f"{tenant}|{namespace}", response
        if response.hit_id:
            self.hits[response.hit_id] = tenant
        self.spent[tenant] = self.spent.get(tenant, 0) + response.cost.total_nanousd


def owner(answer: Answer) -> str:
    return answer.text.rsplit(" for ", 1)[1]


def answer_of_its_owner(call: UpstreamCall) -> Scripted:
    """Return an answer that names its owner by `user`, which is part of no key."""
    return Scripted(f"An answer for {json.loads(call.body)['user']}")


async def play(world: World, step: tuple[str, str, str, str, bool]) -> None:
    action, tenant, namespace, text, flag = step
    cache = world.served.cache
    asked = world.request(tenant, namespace, text)
    if action == "complete":
        world.seen(tenant, namespace, await cache.complete(asked))
    elif action == "refresh":
        refreshed = world.request(tenant, namespace, text, CacheMode.REFRESH)
        world.seen(tenant, namespace, await cache.complete(refreshed))
    elif action == "stream":
        frames = [frame async for frame in cache.stream(asked)]
        assert isinstance(frames[-1], Finished)
        world.seen(tenant, namespace, frames[-1].response)
    elif action in {"lookup", "lease"}:
        response, lookup_id, lease = await cache.lookup(asked, 60.0 if action == "lease" else None, waits=False)
        world.seen(tenant, namespace, response)
        if lookup_id:
            world.lookups[lookup_id] = tenant
        if lease is not None:
            world.leases[lease.lease_id] = (tenant, lease.exact_key)
    elif action == "store":
        await store(world, tenant, namespace, asked, through_lookup=flag)
    elif action == "verdict":
        await judge(world, tenant, own=flag)
    else:
        await invalidate(world, tenant, namespace, by_ids=action == "invalidate_ids")


async def judge(world: World, tenant: str, *, own: bool) -> None:
    for hit_id, holder in list(world.hits.items())[-3:]:
        if holder != tenant:
            with pytest.raises(NotFoundError):
                await world.served.cache.report_verdict(tenant, hit_id, right=False)
        elif own:
            await world.served.cache.report_verdict(tenant, hit_id, right=False)


async def store(world: World, tenant: str, namespace: str, asked: Request, *, through_lookup: bool) -> None:
    cache = world.served.cache
    for lookup_id, holder in list(world.lookups.items())[-3:]:
        if holder != tenant:
            with pytest.raises(PreconditionFailedError, match="unknown or was forgotten"):
                await cache.recall(tenant, lookup_id)
    given = deposit(world.served, asked, f"A gift for {tenant}|{namespace}")
    for lease_id, (holder, exact_key) in list(world.leases.items())[-3:]:
        if holder != tenant or exact_key != given.keyed.exact_key:
            with pytest.raises(PreconditionFailedError):
                await cache.store(deposit(world.served, asked, f"A theft for {tenant}|{namespace}", lease_id=lease_id))
    lookup_id = next((each for each, holder in world.lookups.items() if holder != tenant), "")
    if through_lookup and lookup_id:  # Another tenant's lookup id has no effect.
        given = deposit(world.served, asked, f"A gift for {tenant}|{namespace}", lookup_id=lookup_id)
    stored = await cache.store(given)
    world.spent[tenant] = world.spent.get(tenant, 0) + stored.cost.total_nanousd


async def invalidate(world: World, tenant: str, namespace: str, *, by_ids: bool) -> None:
    before = {other: await ids(world, other) for other in TENANTS}
    all_ids = tuple(sorted(set().union(*before.values())))
    selector = Selector(tenant, entry_ids=all_ids) if by_ids else Selector(tenant, namespace=namespace)
    if not selector.names_nothing:
        await world.served.cache.invalidate(selector, apply=True)
    for other in TENANTS:
        if other != tenant:
            assert await ids(world, other) == before[other]


async def ids(world: World, tenant: str) -> set[int]:
    entries = await all_entries(world.served.store.entries, tenant)
    assert all(entry.tenant == tenant == owner(entry.answer).split("|")[0] for entry in entries)
    return {entry.entry_id for entry in entries}


@given(steps)
@hypothesis_settings(max_examples=150)
def test_nothing_crosses_between_tenants_or_namespaces(played: list[tuple[str, str, str, str, bool]]) -> None:
    async def run() -> None:
        # A threshold of -1 serves any entry of the same partition, so only partitions keep tenants apart.
        served = rig(ScriptedUpstream(answer_of_its_owner), threshold=-1.0, clock=FakeClock(), prices=PRICES)
        world = World(served)
        for step in played:
            await play(world, step)
        for tenant in TENANTS:
            await ids(world, tenant)
            hours = served.store.ledger.hours(tenant, 0, 1e12)
            assert sum(hour.spent_nanousd for hour in hours) == world.spent.get(tenant, 0)

    asyncio.run(run())


async def test_in_flight_requests_of_two_tenants_never_join() -> None:
    gate = asyncio.Event()
    upstream = ScriptedUpstream(lambda call: Scripted(f"An answer for {json.loads(call.body)['user']}", gate=gate))
    world = World(rig(upstream, threshold=-1.0, prices=PRICES))
    waiting = [
        asyncio.create_task(world.served.cache.complete(world.request(tenant, namespace, TEXTS[0])))
        for tenant in TENANTS
        for namespace in NAMESPACES
        for _ in range(2)
    ]
    await upstream.called(len(TENANTS) * len(NAMESPACES))
    gate.set()
    responses = await asyncio.gather(*waiting)
    asked = [(tenant, namespace) for tenant in TENANTS for namespace in NAMESPACES for _ in range(2)]
    for (tenant, namespace), response in zip(asked, responses, strict=True):
        world.seen(tenant, namespace, response)
    assert [response.status for response in responses] == [Status.MISS, Status.COALESCED] * (len(waiting) // 2)
    assert len(upstream.calls) == len(waiting) // 2
    assert world.spent == dict.fromkeys(TENANTS, len(NAMESPACES) * ANSWER_NANOUSD)
