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
    lease = await coordination.take_lease(KEY, 30)
    assert lease is not None
    assert lease.exact_key == KEY
    assert await coordination.take_lease(KEY, 30) is None
    await coordination.use_lease(lease.lease_id, KEY)
    await coordination.release_lease(lease.lease_id, KEY)
    assert await coordination.take_lease(KEY, 30) is not None


async def test_a_lease_that_has_ended_cannot_be_used_and_its_key_is_free(coordination, clock):
    lease = await coordination.take_lease(KEY, 30)
    clock.advance(30)
    with pytest.raises(PreconditionFailedError) as caught:
        await coordination.use_lease(lease.lease_id, KEY)
    assert caught.value.reason == "LEASE_EXPIRED"
    assert await coordination.take_lease(KEY, 30) is not None


async def test_a_lease_is_its_holders_and_its_keys_alone(coordination):
    lease = await coordination.take_lease(KEY, 30)
    for lease_id, key in (("another", KEY), (lease.lease_id, digest("another request"))):
        with pytest.raises(PreconditionFailedError):
            await coordination.use_lease(lease_id, key)
        await coordination.release_lease(lease_id, key)
    await coordination.use_lease(lease.lease_id, KEY)


async def test_waiters_go_on_when_the_lease_is_released(coordination):
    assert await coordination.wait_for_lease(KEY) is False
    lease = await coordination.take_lease(KEY, 30)
    waiters = [asyncio.create_task(coordination.wait_for_lease(KEY)) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(waiter.done() for waiter in waiters)
    await coordination.release_lease(lease.lease_id, KEY)
    assert await asyncio.gather(*waiters) == [True] * 3


async def test_leases_are_bounded(coordination):
    assert all([await coordination.take_lease(digest(str(n)), 30) for n in range(3)])
    assert await coordination.take_lease(digest("3"), 30) is None
    assert coordination.sizes()["leases"] == 3


async def test_a_lookup_is_remembered_for_its_tenant_and_its_time(coordination, clock):
    pending = PendingLookup(keyed(), None, 7)
    lookup_id = await coordination.remember_lookup(pending)
    assert await coordination.find_lookup(lookup_id, "acme") is pending
    assert await coordination.find_lookup(lookup_id, "acme") is pending, "a Store may be sent again"
    assert await coordination.find_lookup(lookup_id, "globex") is None
    assert await coordination.find_lookup("unknown", "acme") is None
    clock.advance(60)
    assert await coordination.find_lookup(lookup_id, "acme") is None


async def test_the_oldest_lookups_leave_first(coordination):
    ids = [await coordination.remember_lookup(PendingLookup(keyed(), None, n)) for n in range(4)]
    known = [await coordination.find_lookup(lookup_id, "acme") for lookup_id in ids]
    assert [pending.generation if pending else None for pending in known] == [None, 1, 2, 3]
    assert coordination.sizes()["lookups"] == 3


async def test_an_invalidation_names_what_came_before_it_alone(coordination):
    before = await coordination.generation()
    stored = entry("a", tags=("faq",))
    assert await coordination.names_since(before, stored) is False
    after = await coordination.invalidated(Selector("acme", tags=("faq",)))
    assert after == await coordination.generation() == before + 1
    assert await coordination.names_since(before, stored) is True
    assert await coordination.names_since(after, stored) is False
    assert await coordination.names_since(before, dataclasses.replace(stored, tenant="globex")) is False


async def test_after_too_many_invalidations_to_remember_all_are_named(coordination):
    before = await coordination.generation()
    for _ in range(1_001):
        await coordination.invalidated(Selector("globex", everything=True))
    assert await coordination.names_since(before, entry("a")) is True


async def test_what_needs_no_waiting_does_not_suspend(coordination):
    for call in (
        coordination.take_lease(KEY, 30),
        coordination.remember_lookup(PendingLookup(keyed(), None, 0)),
        coordination.find_lookup("unknown", "acme"),
        coordination.generation(),
        coordination.names_since(0, entry("a")),
    ):
        with pytest.raises(StopIteration):
            call.send(None)
