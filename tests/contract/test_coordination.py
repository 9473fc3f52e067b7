"""What every `Coordination` promises: leases, lookups that await their Store, invalidations under way."""

import asyncio
import dataclasses

import pytest

from semcache.coordination import LocalCoordination
from semcache.errors import PreconditionFailedError
from semcache.model import Cacheability, KeyedRequest, Request, Selector, Tier
from semcache.ports import Coordination, PendingLookup
from semcache.settings import LimitSettings
from semcache.testing.clock import FakeClock
from tests.support.stored import digest, entry

KEY = digest("request")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["local"])
def coordination(clock: FakeClock, request) -> Coordination:
    return LocalCoordination(clock, LimitSettings(pending_lookups=3, lookup_ttl_s=60))


def keyed(tenant: str = "acme") -> KeyedRequest:
    return KeyedRequest(
        request=Request(tenant, b"{}"),
        alias="gpt-4o",
        exact_key=KEY,
        partition=digest("partition"),
        older_partitions=(),
        text="a question",
        cacheability=Cacheability(Tier.SEMANTIC, "cacheable"),
        prompt_chars=10,
        output_limit=None,
        include_usage=False,
    )


async def test_a_key_has_one_lease_at_a_time(coordination, clock):
    lease = await coordination.take_lease("acme", KEY, 30)
    assert lease is not None
    assert lease.exact_key == KEY
    assert await coordination.take_lease("acme", KEY, 30) is None
    await coordination.use_lease(lease.lease_id, KEY)
    await coordination.release_lease(lease.lease_id, KEY)
    assert await coordination.take_lease("acme", KEY, 30) is not None


async def test_a_lease_that_has_ended_cannot_be_used_and_its_key_is_free(coordination, clock):
    lease = await coordination.take_lease("acme", KEY, 30)
    clock.advance(30)
    with pytest.raises(PreconditionFailedError) as caught:
        await coordination.use_lease(lease.lease_id, KEY)
    assert caught.value.reason == "LEASE_EXPIRED"
    assert await coordination.take_lease("acme", KEY, 30) is not None


async def test_a_lease_is_its_holders_and_its_keys_alone(coordination):
    lease = await coordination.take_lease("acme", KEY, 30)
    for lease_id, key in (("another", KEY), (lease.lease_id, digest("another request"))):
        with pytest.raises(PreconditionFailedError):
            await coordination.use_lease(lease_id, key)
        await coordination.release_lease(lease_id, key)
    await coordination.use_lease(lease.lease_id, KEY)


async def test_waiters_go_on_when_the_lease_is_released(coordination):
    assert await coordination.wait_for_lease(KEY) is False
    lease = await coordination.take_lease("acme", KEY, 30)
    waiters = [asyncio.create_task(coordination.wait_for_lease(KEY)) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(waiter.done() for waiter in waiters)
    await coordination.release_lease(lease.lease_id, KEY)
    assert await asyncio.gather(*waiters) == [True] * 3


async def test_leases_are_bounded(coordination):
    assert all([await coordination.take_lease("acme", digest(str(n)), 30) for n in range(3)])
    assert await coordination.take_lease("acme", digest("3"), 30) is None
    assert coordination.sizes()["leases"] == 3


async def test_a_tenant_with_many_leases_gives_its_oldest_for_another_tenant(coordination):
    oldest, *others = [await coordination.take_lease("acme", digest(str(n)), 30) for n in range(3)]
    waiter = asyncio.create_task(coordination.wait_for_lease(oldest.exact_key))
    await asyncio.sleep(0)
    theirs = await coordination.take_lease("globex", digest("theirs"), 30)
    assert theirs is not None
    assert await waiter is True
    for lease in (*others, theirs):
        await coordination.use_lease(lease.lease_id, lease.exact_key)
    with pytest.raises(PreconditionFailedError):
        await coordination.use_lease(oldest.lease_id, oldest.exact_key)


async def test_a_lookup_is_remembered_for_its_tenant_and_its_time(coordination, clock):
    pending = PendingLookup(keyed(), None, 7)
    lookup_id = await coordination.remember_lookup(pending)
    without_body = dataclasses.replace(pending.keyed, request=Request("acme", b""))
    kept = PendingLookup(without_body, None, 7)
    assert await coordination.find_lookup(lookup_id, "acme") == kept
    assert await coordination.find_lookup(lookup_id, "acme") == kept, "a Store may be sent again"
    assert await coordination.find_lookup(lookup_id, "globex") is None
    assert await coordination.find_lookup("unknown", "acme") is None
    clock.advance(60)
    assert await coordination.find_lookup(lookup_id, "acme") is None


async def test_the_oldest_lookups_leave_first(coordination):
    ids = [await coordination.remember_lookup(PendingLookup(keyed(), None, n)) for n in range(4)]
    known = [await coordination.find_lookup(lookup_id, "acme") for lookup_id in ids]
    assert [pending.generation if pending else None for pending in known] == [None, 1, 2, 3]
    assert coordination.sizes()["lookups"] == 3


async def test_the_lookups_of_others_push_none_out(coordination):
    mine = await coordination.remember_lookup(PendingLookup(keyed(), None, 0))
    for number in range(9):
        await coordination.remember_lookup(PendingLookup(keyed("globex"), None, number))
    assert await coordination.find_lookup(mine, "acme") is not None
    assert coordination.sizes()["lookups"] == 3


async def test_lookups_are_bounded_in_bytes(clock):
    coordination = LocalCoordination(clock, LimitSettings(pending_lookups=1_000, pending_lookup_bytes=1_000_000))
    for tenant in ("acme", *["globex"] * 20):
        long = dataclasses.replace(keyed(tenant), text="x" * 100_000)
        await coordination.remember_lookup(PendingLookup(long, None, 0))
    assert coordination.sizes()["lookups"] == 2
    lookup_id = await coordination.remember_lookup(PendingLookup(keyed(), None, 0))
    assert await coordination.find_lookup(lookup_id, "acme") is not None


async def test_an_invalidation_names_what_came_before_it_alone(coordination):
    before = await coordination.generation()
    stored = entry("a", tags=("faq",))
    assert await coordination.names_since(before, stored) is False
    after = await coordination.invalidated(Selector("acme", tags=("faq",)))
    assert after == await coordination.generation() == before + 1
    assert await coordination.names_since(before, stored) is True
    assert await coordination.names_since(after, stored) is False
    assert await coordination.names_since(before, dataclasses.replace(stored, tenant="globex")) is False


async def test_after_too_many_invalidations_to_remember_all_of_their_tenant_are_named(coordination):
    before = await coordination.generation()
    for _ in range(5_000):
        await coordination.invalidated(Selector("globex", tags=("faq",)))
    assert await coordination.names_since(before, entry("a", tenant="globex")) is True
    assert await coordination.names_since(before, entry("a")) is False, "another tenant's answer in flight is stored"


async def test_invalidations_of_others_push_none_out(coordination):
    await coordination.invalidated(Selector("acme", tags=("faq",)))
    for _ in range(5_000):
        await coordination.invalidated(Selector("globex", tags=("x" * 100,)))
    assert await coordination.names_since(0, entry("a", tags=("faq",))) is True
    assert await coordination.names_since(0, entry("a")) is False


async def test_an_invalidation_by_ids_names_no_answer_in_flight_and_pushes_none_out(coordination):
    await coordination.invalidated(Selector("acme", tags=("faq",)))
    for _ in range(5_000):
        await coordination.invalidated(Selector("acme", entry_ids=(1,)))
    assert await coordination.names_since(0, entry("a", tags=("faq",))) is True
    assert await coordination.names_since(0, entry("a")) is False


async def test_what_needs_no_waiting_does_not_suspend(coordination):
    for call in (
        coordination.take_lease("acme", KEY, 30),
        coordination.remember_lookup(PendingLookup(keyed(), None, 0)),
        coordination.find_lookup("unknown", "acme"),
        coordination.generation(),
        coordination.names_since(0, entry("a")),
    ):
        with pytest.raises(StopIteration):
            call.send(None)
