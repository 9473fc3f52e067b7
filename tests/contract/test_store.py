"""What every `Store` promises as a whole: its capabilities, whose vectors it holds, its limits, its end."""

import pytest
from structlog.testing import capture_logs

from semcache.errors import ShuttingDownError
from semcache.model import Cost, Rejection, Selector
from semcache.observe.clock_watch import SETTLING_S
from semcache.testing.clock import START_WALL_S
from tests.support.steps import at_once
from tests.support.stored import all_entries, answer, digest, entry, get, hit, record, served, vector

# -- capabilities


async def test_reads_that_need_no_waiting_return_without_suspending(store):
    if not store.capabilities.immediate_reads:
        pytest.skip("this back end waits for its reads")
    stored = await store.entries.put(entry(), vector())
    store.ledger.record(record("r1"), served("h1"))
    await store.ledger.flush()
    assert at_once(store.entries.find_exact(stored.exact_key)) == stored
    assert at_once(store.entries.find_exact(digest("nothing"))) is None
    assert at_once(store.entries.get_many([stored.entry_id, 99])) == {stored.entry_id: stored}
    assert at_once(store.entries.page("acme", 0)).entries == [stored]
    assert at_once(store.vectors.has(stored.partition)) is True
    assert at_once(store.vectors.count(stored.partition, 0, 9)) == (1, stored.entry_id)
    assert at_once(store.ledger.find("r1", record().at_s)) == record("r1")
    assert at_once(store.verdicts.served("h1")) == served("h1")


async def test_a_store_that_declares_durability_keeps_what_was_acknowledged(make, reopened):
    store = await make()
    stored = await store.entries.put(entry(), vector(), record("r1"))
    if not store.capabilities.durable:
        pytest.skip("this back end keeps nothing")
    store = await reopened(store, "")
    assert await store.entries.find_exact(stored.exact_key) == stored
    assert [line.request_id for line in store.ledger.records(None, 0, 1e11)] == ["r1"]


# -- embedders


async def test_entries_of_another_embedder_are_inert_until_they_go_or_it_is_back(make, reopened):
    store = await make("model A")
    first = await store.entries.put(entry("a"), vector(1))
    await store.entries.put(entry("b"), vector(2))
    await store.entries.put(entry("no vector"), None)
    assert store.stats().inert == 0
    store = await reopened(store, "model B")
    assert store.stats().inert == 2
    await store.entries.put(entry("c", partition=digest("p2")), vector(3))
    assert store.stats().inert == 2
    assert await store.entries.invalidate(Selector("acme", entry_ids=(first.entry_id,)), apply=True) == 1
    assert store.stats().inert == 1
    store = await reopened(store, "model A")
    assert store.stats().inert == 1  # the other's
    store = await reopened(store, "model C")
    assert store.stats().inert == 2
    await store.entries.put(entry("b", partition=digest("p3")), vector(4))  # in place of the last one of A
    assert store.stats().inert == 1
    await store.entries.invalidate(Selector("acme", everything=True), apply=True)
    assert store.stats().inert == 0
    assert (await reopened(store, "model A")).stats().inert == 0


async def test_inert_entries_are_told_of_once_with_the_way_out(make, reopened):
    with capture_logs() as logs:
        store = await make("model A")
        await store.entries.put(entry("a"), vector(1))
        store = await reopened(store, "model A")
        assert logs == []
        store = await reopened(store, "model B")
        store.stats()
    (line,) = logs
    assert (line["event"], line["log_level"], line["count"]) == ("store.inert_entries", "warning", 1)
    assert "until it is back" in line["hint"]
    assert "Invalidate" in line["hint"]


async def test_what_expires_or_is_evicted_is_no_longer_inert(make, reopened, clock):
    store = await make("model A", max_entries=3, eviction="lru")
    for name in "abc":
        clock.advance(1)
        await store.entries.put(entry(name, created_s=clock.wall()), vector(1))
    store = await reopened(store, "model B", max_entries=3, eviction="lru")
    assert store.stats().inert == 3
    clock.advance(1)
    await store.entries.put(entry("d", created_s=clock.wall(), expires_s=clock.wall() + 9000), vector(1))
    assert store.stats().evictions == 1
    assert store.stats().inert == 2
    clock.advance(3600)
    await store.sweep()
    assert store.stats().inert == 0


async def test_nothing_is_inert_without_an_embedder_or_of_an_unknown_one(make, reopened):
    store = await make("model A")
    await store.entries.put(entry("a"), vector(1))
    store = await reopened(store, "")
    assert store.stats().inert == 0
    await store.entries.put(entry("b"), vector(2))
    store = await reopened(store, "model B")
    assert store.stats().inert == 1


# -- the clock


@pytest.mark.parametrize("days", [32, -32])
async def test_while_the_clock_has_jumped_nothing_is_deleted_for_its_age(make, clock, days):
    store = await make()
    clock.advance(SETTLING_S)
    await store.entries.put(entry("a", created_s=clock.wall(), expires_s=clock.wall() + 60), vector(1), record("spend"))
    store.ledger.record(record("hit"), served("hit", at_s=clock.wall()))
    await store.ledger.flush()
    clock.jump_wall(days * 86_400)
    if days > 0:
        # What has ended by the new time isn't served: a miss harms nobody.
        assert await store.entries.find_exact(digest("a")) is None
    assert await store.sweep() == 0
    clock.advance(3)
    clock.jump_wall(-days * 86_400)
    assert await store.sweep() == 0
    assert await store.entries.find_exact(digest("a")) is not None
    assert await store.verdicts.served("hit") is not None
    assert sorted(line.request_id for line in store.ledger.records(None, 0, 1e11)) == ["hit", "spend"]
    assert store.stats().clock_jumps == 2
    clock.advance(SETTLING_S)
    assert await store.sweep() == 1


async def test_after_a_start_nothing_is_deleted_until_the_clock_has_gone_on_for_a_while(make, reopened, clock):
    store = await make()
    await store.entries.put(entry("a"), vector(1))
    clock.jump_wall(32 * 86_400)
    store = await reopened(store, "")
    assert await store.sweep() == 0
    clock.advance(SETTLING_S)
    assert await store.sweep() == 1


# -- limits


async def test_the_least_recently_used_leave_when_there_are_too_many(make, clock, request):
    store = await make(max_entries=3, eviction="lru")
    removed: list[int] = []
    store.entries.subscribe(lambda changes: removed.extend(entry_id for _, entry_id, _ in changes.removed))
    stored = []
    for name in "abc":
        clock.advance(1)
        stored.append(await store.entries.put(entry(name, created_s=clock.wall()), vector()))
    clock.advance(1)
    store.ledger.record(hit(stored[0].entry_id, at_s=clock.wall()))
    await store.ledger.flush()
    clock.advance(1)
    stored.append(await store.entries.put(entry("d", created_s=clock.wall()), vector()))
    assert removed == [stored[1].entry_id]
    assert [one.entry_id for one in await all_entries(store.entries, "acme")] == [stored[i].entry_id for i in (0, 2, 3)]
    assert store.stats().evictions == 1


async def test_by_cost_what_saves_least_leaves_first(make):
    store = await make(max_entries=2, eviction="cost")
    cheap_and_used = await store.entries.put(entry("a", cost=Cost(1, priced=True)), None)
    dear = await store.entries.put(entry("b", cost=Cost(5_000, priced=True)), None)
    store.ledger.record(hit(cheap_and_used.entry_id, 50_000))
    await store.ledger.flush()
    newer = await store.entries.put(entry("c", cost=Cost(10_000, priced=True)), None)
    assert await get(store, dear.entry_id) is None
    assert await get(store, cheap_and_used.entry_id) == cheap_and_used
    newest = await store.entries.put(entry("d", cost=Cost(1, priced=True)), None)
    assert await get(store, newer.entry_id) is None
    assert await get(store, newest.entry_id) == newest


async def test_bytes_stay_below_four_fifths_of_the_limit(make):
    store = await make(max_bytes=1 << 20, eviction="lru")
    for i in range(300):
        await store.entries.put(entry(f"n{i}", answer=answer("x" * 5000), created_s=START_WALL_S + i), vector(i))
        assert store.stats().entry_bytes <= 0.8 * (1 << 20)
    kept = [one.text for one in await all_entries(store.entries, "acme")]
    assert kept == [f"What is n{i}?" for i in range(300 - len(kept), 300)]
    assert store.stats().evictions == 300 - len(kept)
    assert len(kept) > 50


async def test_bytes_go_back_to_nothing_when_all_is_gone(store):
    for i in range(20):
        stored = await store.entries.put(entry(f"n{i}", tags=("t",) * (i % 2)), vector(i) if i % 3 else None)
        store.ledger.record(record(f"r{i}"), served(f"h{i}", stored.entry_id))
        await store.verdicts.reject(f"h{i}", Rejection(digest("r"), b"v" * 700), "wrong")
    assert store.stats().entry_bytes > 0
    await store.entries.invalidate(Selector("acme", everything=True), apply=True)
    assert store.stats().entry_bytes == 0
    assert store.stats().entries == 0


# -- closing


async def test_a_closed_store_takes_no_writes_and_may_be_closed_twice(store):
    await store.entries.put(entry(), None)
    await store.close()
    with pytest.raises(ShuttingDownError):
        await store.entries.put(entry("b"), None)
    assert store.stats().entries == 1
    await store.close()
