"""The exact tier: decoded entries in memory that follow the store's commits, within their bound."""

import dataclasses

import pytest

from semcache.decision import Repeats
from semcache.model import Cacheability, KeyedRequest, Rejection, Request, Selector, Tier
from semcache.story.exact import ExactTier
from semcache.story.rules import Servability
from semcache.testing.clock import FakeClock
from semcache.testing.store import MemoryStore
from semcache.testing.upstream import ScriptedUpstream
from tests.support.stored import answer, digest, entry


def keyed(name: str = "a", **fields) -> KeyedRequest:
    request = KeyedRequest(
        request=Request("acme", b"{}"),
        alias="gpt-4o",
        exact_key=digest(name),
        partition=digest("partition"),
        older_partitions=(),
        text=name,
        cacheability=Cacheability(Tier.EXACT, "cacheable"),
        prompt_chars=1,
        output_limit=None,
        include_usage=False,
    )
    return dataclasses.replace(request, **fields)


class Shelf:
    """An exact tier over a store in memory."""

    def __init__(self, max_bytes: int = 1_000_000):
        self.clock = FakeClock()
        self.store = MemoryStore(self.clock)
        servability = Servability(self.clock, ScriptedUpstream())
        self.repeats = Repeats()
        self.tier = ExactTier(self.store.entries, self.clock, servability, self.repeats, max_bytes)


@pytest.fixture
def shelf():
    return Shelf()


async def test_an_entry_is_kept_decoded_and_found_again(shelf):
    stored = await shelf.store.entries.put(entry("a"), None)
    assert await shelf.tier.find(keyed("a")) == stored
    assert shelf.tier.size_bytes > 0
    assert await shelf.tier.find(keyed("a")) == stored
    assert await shelf.tier.find(keyed("b")) is None


async def test_an_invalidated_entry_is_gone_from_memory_too(shelf):
    await shelf.store.entries.put(entry("a"), None)
    assert await shelf.tier.find(keyed("a")) is not None
    await shelf.store.entries.invalidate(Selector("acme", everything=True), apply=True)
    assert await shelf.tier.find(keyed("a")) is None
    assert shelf.tier.size_bytes == 0


async def test_an_expired_entry_is_not_served_from_memory(shelf):
    await shelf.store.entries.put(entry("a"), None)
    assert await shelf.tier.find(keyed("a")) is not None
    shelf.clock.advance(3600)
    assert await shelf.tier.find(keyed("a")) is None
    assert shelf.tier.size_bytes == 0


async def test_memory_is_bounded_and_the_least_recently_used_leave_first():
    shelf = Shelf(max_bytes=3 * 2_500)
    for name in "abcd":
        await shelf.store.entries.put(entry(name), None)
    for name in "abac":
        assert await shelf.tier.find(keyed(name)) is not None
    before = shelf.tier.size_bytes
    assert await shelf.tier.find(keyed("d")) is not None
    assert shelf.tier.size_bytes == before, "one left for the one that came"
    assert before <= 3 * 2_500


async def test_an_entry_too_old_for_its_caller_or_of_a_degraded_model_is_refused(shelf):
    await shelf.store.entries.put(entry("a"), None)
    await shelf.store.entries.put(entry("b", answer=answer(degraded=True)), None)
    shelf.clock.advance(10)
    young = dataclasses.replace(keyed("a").request.control, max_age_s=5)
    request = dataclasses.replace(keyed("a").request, control=young)
    assert await shelf.tier.find(keyed("a", request=request)) is None
    assert await shelf.tier.find(keyed("a")) is not None
    assert await shelf.tier.find(keyed("b")) is None


async def test_a_request_that_may_not_be_cached_finds_nothing(shelf):
    await shelf.store.entries.put(entry("a", rejections=(Rejection(digest("z"), b""),)), None)
    bypassed = Cacheability(Tier.NONE, "tool_calls")
    assert await shelf.tier.find(keyed("a", cacheability=bypassed)) is None


class SlowReads:
    """Entries whose reads let a commit pass between the reading and the return."""

    def __init__(self, entries, between):
        self._entries = entries
        self._between = between
        self.subscribe = entries.subscribe

    async def find_exact(self, exact_key):
        found = await self._entries.find_exact(exact_key)
        await self._between()
        return found


async def test_an_entry_that_a_commit_removes_while_it_is_read_is_not_kept():
    shelf = Shelf()
    await shelf.store.entries.put(entry("a"), None)

    async def invalidate():
        await shelf.store.entries.invalidate(Selector("acme", everything=True), apply=True)

    slow = SlowReads(shelf.store.entries, invalidate)
    tier = ExactTier(slow, shelf.clock, Servability(shelf.clock, ScriptedUpstream()), shelf.repeats, 1_000_000)
    assert await tier.find(keyed("a")) is not None, "it was live when the read began"
    assert tier.size_bytes == 0
    assert await tier.find(keyed("a")) is None
