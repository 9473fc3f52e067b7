"""What every `Entries` promises, over the one in memory and the one on disk."""

import asyncio
from dataclasses import replace

import pytest

from semcache.model import Cost, Rejection, Selector, Usage
from semcache.store import LmdbStore
from semcache.testing.clock import START_WALL_S
from tests.support.stored import all_entries, answer, digest, entry, get, record, served, vector


async def test_what_is_put_is_found_with_every_field(store):
    full = entry(
        tags=("faq", "grüße"),
        sources=("https://example.org/" + "long/" * 200,),
        task_type="support",
        template_id="t1",
        knowledge_version="k2",
        features={"numbers": ("1", "2"), "negation": ()},
        rejections=(Rejection(digest("r"), b"\x01\x02"),),
    )
    stored = await store.entries.put(full, vector())
    assert stored == replace(full, entry_id=stored.entry_id)
    assert stored.entry_id > 0
    assert await get(store, stored.entry_id) == stored
    assert await store.entries.find_exact(full.exact_key) == stored


async def test_what_was_never_put_is_not_found(store):
    assert await store.entries.get_many([1, 0, -1, 1 << 64]) == {}
    assert await store.entries.get_many([]) == {}
    assert await store.entries.find_exact(digest("nothing")) is None
    assert await all_entries(store.entries, "acme") == []


async def test_ids_rise_and_are_never_given_twice(store):
    first = await store.entries.put(entry("a"), None)
    second = await store.entries.put(entry("b"), None)
    await store.entries.invalidate(Selector("acme", everything=True), apply=True)
    third = await store.entries.put(entry("c"), None)
    assert first.entry_id < second.entry_id < third.entry_id


async def test_an_entry_replaces_the_one_under_its_exact_key_with_all_its_traces(store, changes):
    old = await store.entries.put(entry("a", tags=("old",), partition=digest("p1")), vector(1))
    new = await store.entries.put(entry("a", answer=answer("newer"), partition=digest("p2")), vector(2))
    assert await store.entries.find_exact(new.exact_key) == new
    assert await get(store, old.entry_id) is None
    assert not await store.vectors.has(digest("p1"))
    assert await store.entries.invalidate(Selector("acme", tags=("old",)), apply=False) == 0
    assert [entry.entry_id for entry in await all_entries(store.entries, "acme")] == [new.entry_id]
    assert changes[-1].removed == ((digest("p1"), old.entry_id, old.exact_key),)
    assert store.stats().entries == 1


async def test_a_fresh_answer_to_the_same_text_keeps_what_the_old_one_was_rejected_for(store):
    rejection = Rejection(digest("r"), b"\x01\x02")
    await store.entries.put(entry("a", rejections=(rejection,)), None)
    assert (await store.entries.put(entry("a", answer=answer("newer")), None)).rejections == (rejection,)
    assert (await store.entries.put(entry("a", text="another text"), None)).rejections == ()


async def test_writes_at_once_all_land(store):
    stored = await asyncio.gather(*(store.entries.put(entry(f"n{i}"), vector(i)) for i in range(200)))
    assert len({one.entry_id for one in stored}) == 200
    assert await store.entries.get_many([one.entry_id for one in stored]) == {one.entry_id: one for one in stored}
    ids, _ = store.vectors.load(digest("partition"))
    assert sorted(ids.tolist()) == sorted(one.entry_id for one in stored)


async def test_a_key_of_another_length_is_refused_at_once(store):
    with pytest.raises(ValueError, match="32 bytes"):
        await store.entries.put(entry(exact_key=b"short"), None)
    with pytest.raises(ValueError, match="out of range"):
        await store.entries.put(entry(cost=Cost(input_nanousd=1 << 70)), None)
    assert store.stats().entries == 0


async def test_an_entry_and_its_ledger_line_are_one_commit(store):
    before = store.stats().commits
    await store.entries.put(entry(), vector(), record("r1"))
    assert store.stats().commits == before + 1
    assert [line.request_id for line in store.ledger.records(None, 0, 1e11)] == ["r1"]
    with pytest.raises(ValueError, match="out of range"):
        await store.entries.put(entry("b"), None, record("r2", usage=Usage(input_tokens=1 << 70)))
    assert await store.entries.find_exact(digest("b")) is None
    assert [line.request_id for line in store.ledger.records(None, 0, 1e11)] == ["r1"]


# -- time


async def test_an_entry_ends_at_its_time_on_the_wall_clock_and_sweeping_takes_its_traces(store, clock, changes):
    stored = await store.entries.put(entry("a", tags=("t",)), vector())
    kept = await store.entries.put(entry("b", expires_s=START_WALL_S + 9000), vector(1))
    clock.advance(3599)
    assert await get(store, stored.entry_id) == stored
    clock.advance(1)
    assert await get(store, stored.entry_id) is None
    assert await store.entries.find_exact(stored.exact_key) is None
    assert await all_entries(store.entries, "acme") == [kept]
    assert store.stats().entries == 2
    assert await store.sweep() == 1
    assert store.stats().entries == 1
    assert store.stats().expirations == 1
    assert store.vectors.load(digest("partition"))[0].tolist() == [kept.entry_id]
    assert changes[-1].removed == ((stored.partition, stored.entry_id, stored.exact_key),)
    assert await store.sweep() == 0


async def test_a_wall_clock_set_back_brings_an_unswept_entry_back(store, clock):
    stored = await store.entries.put(entry(), None)
    clock.jump_wall(4000)
    assert await get(store, stored.entry_id) is None
    clock.jump_wall(-4000)
    assert await get(store, stored.entry_id) == stored


async def test_a_large_sweep_takes_all_of_it(store, clock):
    await asyncio.gather(*(store.entries.put(entry(f"n{i}"), None) for i in range(700)))
    clock.advance(3600)
    assert await store.sweep() == 700
    assert store.stats().entries == 0


# -- changes


async def test_changes_reach_the_listeners_before_the_writer_is_told(store):
    told: list[str] = []
    store.entries.subscribe(lambda changes: told.append(f"changed {changes.added[0][1]}"))
    stored = await store.entries.put(entry(), vector())
    told.append("returned")
    assert told == [f"changed {stored.entry_id}", "returned"]


async def test_what_changes_no_entry_tells_nobody(store, changes):
    store.ledger.record(record(), served())
    await store.ledger.record_durably(record("r2"))
    await store.verdicts.confirm("h1", "right")
    await store.ledger.flush()
    assert changes == []


# -- listing and invalidating


async def test_entries_are_a_tenants_own_by_id_in_pages(store):
    mine = [await store.entries.put(entry(f"n{i}"), None) for i in range(5)]
    theirs = await store.entries.put(entry("x", tenant="other"), None)
    assert await all_entries(store.entries, "acme") == mine
    assert (await store.entries.page("acme", mine[2].entry_id)).entries == mine[3:]
    assert await all_entries(store.entries, "other") == [theirs]
    assert await all_entries(store.entries, "nobody") == []


SELECTORS = {
    "tag": (Selector("acme", tags=("red", "blue")), {"a", "b", "c"}),
    "tag and alias": (Selector("acme", tags=("red",), alias="small"), {"b"}),
    "source": (Selector("acme", sources=("doc",)), {"c"}),
    "namespace": (Selector("acme", namespace="prod"), {"d"}),
    "alias": (Selector("acme", alias="small"), {"b", "d"}),
    "older": (Selector("acme", created_before_s=START_WALL_S), {"d"}),
    "everything": (Selector("acme", everything=True), {"a", "b", "c", "d"}),
    "another's": (Selector("other", everything=True), {"e"}),
    "nothing there": (Selector("acme", tags=("green",)), set()),
}


@pytest.mark.parametrize("name", SELECTORS)
async def test_an_invalidation_counts_then_removes_what_it_names_and_nothing_else(store, name):
    selector, named = SELECTORS[name]
    stored = {
        "a": await store.entries.put(entry("a", tags=("red", "blue")), vector(1)),
        "b": await store.entries.put(entry("b", tags=("red",), alias="small"), vector(2)),
        "c": await store.entries.put(entry("c", tags=("blue",), sources=("doc",)), vector(3)),
        "d": await store.entries.put(
            entry("d", namespace="prod", alias="small", created_s=START_WALL_S - 9), vector(4)
        ),
        "e": await store.entries.put(entry("e", tenant="other", tags=("red",)), vector(5)),
    }
    assert await store.entries.invalidate(selector, apply=False) == len(named)
    live = await store.entries.get_many([one.entry_id for one in stored.values()])
    assert live == {one.entry_id: one for one in stored.values()}
    assert await store.entries.invalidate(selector, apply=True) == len(named)
    assert {key for key, one in stored.items() if await get(store, one.entry_id) is None} == named
    assert len(store.vectors.load(digest("partition"))[0]) == 5 - len(named)
    assert await store.entries.invalidate(selector, apply=False) == 0


async def test_an_invalidation_by_id_is_bound_to_the_tenant(store):
    stored = await store.entries.put(entry(), None)
    assert await store.entries.invalidate(Selector("other", entry_ids=(stored.entry_id,)), apply=True) == 0
    assert await store.entries.invalidate(Selector("acme", entry_ids=(stored.entry_id, 99, -1)), apply=True) == 1


async def test_an_invalidation_of_many_leaves_none_and_does_not_count_the_expired(store, clock):
    await asyncio.gather(*(store.entries.put(entry(f"n{i}"), None) for i in range(600)))
    await store.entries.put(entry("late", expires_s=START_WALL_S + 9000), None)
    clock.advance(3600)
    assert await store.entries.invalidate(Selector("acme", everything=True), apply=True) == 1
    assert store.stats().entries == 0


# -- leaving


async def test_a_caller_who_leaves_does_not_undo_its_write(store):
    task = asyncio.create_task(store.entries.put(entry(), None))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await store.ledger.flush()
    assert await store.entries.find_exact(entry().exact_key) is not None


async def test_an_expired_entry_is_found_by_its_exact_key_as_far_back_as_is_asked(store, clock):
    stored = await store.entries.put(entry(tags=("t",)), vector())
    assert await store.entries.find_exact(stored.exact_key, expired_s=10.0) == stored
    clock.advance(3600.0 + 9.0)
    assert await store.entries.find_exact(stored.exact_key, expired_s=10.0) == stored
    assert await store.entries.find_exact(stored.exact_key) is None
    assert await store.entries.get_many([stored.entry_id]) == {}
    assert await all_entries(store.entries, "acme") == []
    assert await store.entries.invalidate(Selector("acme", tags=("t",)), apply=False) == 0
    clock.advance(1.0)
    assert await store.entries.find_exact(stored.exact_key, expired_s=10.0) is None


async def test_what_is_invalidated_is_gone_though_it_had_expired(make, clock):
    store = await make(serve_stale_s=600.0)
    stored = await store.entries.put(entry(tags=("t",)), vector())
    clock.advance(7200.0)
    await store.entries.invalidate(Selector("acme", tags=("t",)), apply=True)
    assert await store.entries.find_exact(stored.exact_key, expired_s=1e6) is None


async def test_a_sweep_keeps_what_may_be_served_stale_and_takes_it_out_of_searches(make, clock):
    store = await make(serve_stale_s=7200.0)
    changes = []
    store.entries.subscribe(changes.append)
    stored = await store.entries.put(entry("a"), vector())
    lasting = await store.entries.put(entry("b", expires_s=START_WALL_S + 1e6), vector(1))
    clock.advance(3600.0 + 7199.0)
    assert await store.sweep() == 0
    assert await store.entries.find_exact(stored.exact_key, expired_s=7200.0) == stored
    ids, _ = store.vectors.load(stored.partition)
    assert ids.tolist() == [lasting.entry_id]
    assert changes[-1].removed == ((stored.partition, stored.entry_id, stored.exact_key),)
    assert await store.sweep() == 0
    assert len(changes) == 3  # The second sweep changed nothing.
    clock.advance(1.0)
    assert await store.sweep() == 1
    assert await store.entries.find_exact(stored.exact_key, expired_s=1e6) is None
    assert store.stats().entries == 1


async def test_a_kept_entry_is_replaced_by_a_fresh_answer(make, clock):
    store = await make(serve_stale_s=7200.0)
    await store.entries.put(entry("a"), vector())
    clock.advance(7200.0)
    await store.sweep()
    fresh = await store.entries.put(entry("a", expires_s=START_WALL_S + 1e6), vector())
    assert await store.entries.find_exact(fresh.exact_key) == fresh
    assert store.stats().entries == 1
    ids, _ = store.vectors.load(fresh.partition)
    assert ids.tolist() == [fresh.entry_id]


async def test_a_lower_setting_deletes_what_a_higher_one_has_kept(make, reopened, clock):
    store = await make(serve_stale_s=1e6)
    await store.entries.put(entry("a"), vector())
    clock.advance(7200.0)
    assert await store.sweep() == 0
    if isinstance(store, LmdbStore):
        store = await reopened(store, "", serve_stale_s=0.0)
        clock.advance(3600.0)
        assert await store.sweep() == 1
        assert store.stats().entries == 0


async def test_expired_entries_are_evicted_before_all_others(make, clock):
    store = await make(max_entries=2, serve_stale_s=1e6)
    dear = Cost(output_nanousd=10**9, priced=True)
    expired = await store.entries.put(entry("a", cost=dear, expires_s=START_WALL_S + 10), None)
    cheap = await store.entries.put(entry("b", cost=Cost(priced=True)), None)
    clock.advance(20.0)
    await store.entries.put(entry("c"), None)
    assert await store.entries.find_exact(expired.exact_key, expired_s=1e6) is None
    assert await store.entries.find_exact(cheap.exact_key) == cheap


async def test_a_clock_that_was_ahead_leaves_no_vector_behind(make, clock):
    store = await make(serve_stale_s=1e8)
    await store.entries.put(entry("a", expires_s=START_WALL_S + 2e6), vector())
    clock.jump_wall(4e6)
    await store.sweep()
    clock.advance(3600.0)
    await store.sweep()
    clock.jump_wall(-4e6)
    await store.sweep()
    later = await store.entries.put(entry("b", expires_s=START_WALL_S + 10_000), vector(1))
    clock.advance(20_000.0)
    await store.sweep()
    assert await store.entries.find_exact(later.exact_key, expired_s=1e8) == later
    assert not await store.vectors.has(later.partition)
