"""What every `EntryStore` promises, over the one in memory and the one on disk."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from semcache.errors import NotFoundError, ShuttingDownError
from semcache.model import ZERO_COST, Changes, Cost, LedgerHour, Rejection, Selector, Status, Usage
from semcache.store import LmdbStore
from semcache.testing.clock import START_WALL_S, FakeClock
from semcache.testing.store import MemoryStore
from tests.support.stored import SECRET, answer, digest, entry, hit, record, served, store_settings, vector

Store = LmdbStore | MemoryStore
Make = Callable[..., Awaitable[Store]]
Reopened = Callable[..., Awaitable[Store]]
HOUR = {"tenant": "acme", "start_s": 0.0, "end_s": 1e11}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory", "lmdb"])
async def make(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> AsyncIterator[Make]:
    made: list[Store] = []

    async def build(embedder: str = "", **fields: Any) -> Store:
        settings = store_settings(tmp_path / "store", **fields)
        store: Store = (
            MemoryStore(clock, settings, embedder_fingerprint=embedder)
            if request.param == "memory"
            else LmdbStore.open(settings, clock, secret_key_ids=[SECRET], embedder_fingerprint=embedder)
        )
        made.append(store)
        return store

    yield build
    for store in made:
        await store.close()


@pytest.fixture
def reopened(make: Make) -> Reopened:
    """Closes a store that `make` made and opens it again, perhaps under another embedder."""

    async def reopen(store: Store, embedder: str, **fields: Any) -> Store:
        await store.close()
        if isinstance(store, MemoryStore):
            store.reopen(embedder)
            return store
        return await make(embedder, **fields)

    return reopen


@pytest.fixture
async def store(make: Make) -> Store:
    return await make()


@pytest.fixture
def changes(store: Store) -> list[Changes]:
    seen: list[Changes] = []
    store.subscribe(seen.append)
    return seen


# -- entries


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
    stored = await store.put(full, vector())
    assert stored == replace(full, entry_id=stored.entry_id)
    assert stored.entry_id > 0
    assert store.get(stored.entry_id) == stored
    assert store.find_exact(full.exact_key) == stored


async def test_what_was_never_put_is_not_found(store):
    assert store.get(1) is None
    assert store.get(0) is None
    assert store.get(-1) is None
    assert store.get(1 << 64) is None
    assert store.find_exact(digest("nothing")) is None
    assert not store.has_vectors(digest("partition"))
    assert store.vectors(digest("partition"))[0].shape == (0,)
    assert store.served("nothing") is None
    assert store.served("") is None
    assert store.served("x" * 1000) is None
    assert store.entries("acme", 0, 10) == []


async def test_ids_rise_and_are_never_given_twice(store):
    first = await store.put(entry("a"), None)
    second = await store.put(entry("b"), None)
    await store.invalidate(Selector("acme", everything=True), apply=True)
    third = await store.put(entry("c"), None)
    assert first.entry_id < second.entry_id < third.entry_id


async def test_an_entry_replaces_the_one_under_its_exact_key_with_all_its_traces(store, changes):
    old = await store.put(entry("a", tags=("old",), partition=digest("p1")), vector(1))
    new = await store.put(entry("a", answer=answer("newer"), partition=digest("p2")), vector(2))
    assert store.find_exact(new.exact_key) == new
    assert store.get(old.entry_id) is None
    assert not store.has_vectors(digest("p1"))
    assert await store.invalidate(Selector("acme", tags=("old",)), apply=False) == 0
    assert [entry.entry_id for entry in store.entries("acme", 0, 10)] == [new.entry_id]
    assert changes[-1].removed == ((digest("p1"), old.entry_id, old.exact_key),)
    assert store.stats()["entries"] == 1


async def test_a_fresh_answer_to_the_same_text_keeps_what_the_old_one_was_rejected_for(store):
    rejection = Rejection(digest("r"), b"\x01\x02")
    await store.put(entry("a", rejections=(rejection,)), None)
    assert (await store.put(entry("a", answer=answer("newer")), None)).rejections == (rejection,)
    assert (await store.put(entry("a", text="another text"), None)).rejections == ()


async def test_writes_at_once_all_land(store):
    stored = await asyncio.gather(*(store.put(entry(f"n{i}"), vector(i)) for i in range(200)))
    assert len({one.entry_id for one in stored}) == 200
    assert all(store.get(one.entry_id) == one for one in stored)
    ids, _ = store.vectors(digest("partition"))
    assert sorted(ids.tolist()) == sorted(one.entry_id for one in stored)


async def test_a_key_of_another_length_is_refused_at_once(store):
    with pytest.raises(ValueError, match="32 bytes"):
        await store.put(entry(exact_key=b"short"), None)
    with pytest.raises(ValueError, match="out of range"):
        await store.put(entry(cost=Cost(input_nanousd=1 << 70)), None)
    assert store.stats()["entries"] == 0


# -- time


async def test_an_entry_ends_at_its_time_on_the_wall_clock_and_sweeping_takes_its_traces(store, clock, changes):
    stored = await store.put(entry("a", tags=("t",)), vector())
    kept = await store.put(entry("b", expires_s=START_WALL_S + 9000), vector(1))
    clock.advance(3599)
    assert store.get(stored.entry_id) == stored
    clock.advance(1)
    assert store.get(stored.entry_id) is None
    assert store.find_exact(stored.exact_key) is None
    assert store.entries("acme", 0, 10) == [kept]
    assert store.stats()["entries"] == 2
    assert await store.sweep() == 1
    assert store.stats()["entries"] == 1
    assert store.stats()["expirations"] == 1
    assert store.vectors(digest("partition"))[0].tolist() == [kept.entry_id]
    assert changes[-1].removed == ((stored.partition, stored.entry_id, stored.exact_key),)
    assert await store.sweep() == 0


async def test_a_wall_clock_set_back_brings_an_unswept_entry_back(store, clock):
    stored = await store.put(entry(), None)
    clock.jump_wall(4000)
    assert store.get(stored.entry_id) is None
    clock.jump_wall(-4000)
    assert store.get(stored.entry_id) == stored


async def test_a_large_sweep_takes_all_of_it(store, clock):
    await asyncio.gather(*(store.put(entry(f"n{i}"), None) for i in range(700)))
    clock.advance(3600)
    assert await store.sweep() == 700
    assert store.stats()["entries"] == 0


# -- vectors


async def test_vectors_are_those_of_the_partition_alone_by_id(store):
    first = await store.put(entry("a", partition=digest("p1")), vector(1))
    other = await store.put(entry("b", partition=digest("p2")), vector(2))
    second = await store.put(entry("c", partition=digest("p1")), vector(3))
    ids, vectors = store.vectors(digest("p1"))
    assert ids.dtype == np.int64
    assert ids.tolist() == [first.entry_id, second.entry_id]
    np.testing.assert_array_equal(vectors, np.stack([vector(1), vector(3)]))
    assert vectors.dtype == np.float32
    assert vectors.flags.c_contiguous
    assert store.vectors(digest("p2"))[0].tolist() == [other.entry_id]
    assert store.count_vectors(digest("p1")) == 2
    assert store.has_vectors(digest("p1"))
    assert not store.has_vectors(digest("p3"))


async def test_vectors_may_be_read_from_worker_threads(store):
    await asyncio.gather(*(store.put(entry(f"n{i}"), vector(i)) for i in range(50)))
    reads = [asyncio.to_thread(store.vectors, digest("partition")) for _ in range(8)]
    writes = [store.put(entry(f"m{i}"), vector(i)) for i in range(50)]
    results = await asyncio.gather(*reads, *writes)
    assert all(len(ids) == len(vectors) >= 50 for ids, vectors in results[:8])


async def test_an_entry_may_have_no_vector_and_be_put_again_with_one(store, changes):
    bare = await store.put(entry(), None)
    assert changes == []
    assert store.get(bare.entry_id) == bare
    assert not store.has_vectors(bare.partition)
    stored = await store.put(entry(), vector(5))
    ids, vectors = store.vectors(stored.partition)
    assert ids.tolist() == [stored.entry_id]
    np.testing.assert_array_equal(vectors[0], vector(5))
    partition, entry_id, added = changes[-1].added[0]
    assert (partition, entry_id) == (stored.partition, stored.entry_id)
    np.testing.assert_array_equal(added, vector(5))


async def test_a_vector_is_the_stores_own_copy(store, changes):
    mine = vector(1)
    await store.put(entry(), mine)
    mine[:] = 0
    np.testing.assert_array_equal(changes[-1].added[0][2], vector(1))
    np.testing.assert_array_equal(store.vectors(digest("partition"))[1][0], vector(1))


# -- embedders


async def test_entries_of_another_embedder_are_inert_until_they_go_or_it_is_back(make, reopened):
    store = await make("model A")
    first = await store.put(entry("a"), vector(1))
    await store.put(entry("b"), vector(2))
    await store.put(entry("no vector"), None)
    assert store.stats()["inert"] == 0
    store = await reopened(store, "model B")
    assert store.stats()["inert"] == 2
    await store.put(entry("c", partition=digest("p2")), vector(3))
    assert store.stats()["inert"] == 2
    assert await store.invalidate(Selector("acme", entry_ids=(first.entry_id,)), apply=True) == 1
    assert store.stats()["inert"] == 1
    store = await reopened(store, "model A")
    assert store.stats()["inert"] == 1  # the other's
    store = await reopened(store, "model C")
    assert store.stats()["inert"] == 2
    await store.put(entry("b", partition=digest("p3")), vector(4))  # in place of the last one of A
    assert store.stats()["inert"] == 1
    await store.invalidate(Selector("acme", everything=True), apply=True)
    assert store.stats()["inert"] == 0
    assert (await reopened(store, "model A")).stats()["inert"] == 0


async def test_inert_entries_are_told_of_once_with_the_way_out(make, reopened):
    with capture_logs() as logs:
        store = await make("model A")
        await store.put(entry("a"), vector(1))
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
        await store.put(entry(name, created_s=clock.wall()), vector(1))
    store = await reopened(store, "model B", max_entries=3, eviction="lru")
    assert store.stats()["inert"] == 3
    clock.advance(1)
    await store.put(entry("d", created_s=clock.wall(), expires_s=clock.wall() + 9000), vector(1))
    assert store.stats()["evictions"] == 1
    assert store.stats()["inert"] == 2
    clock.advance(3600)
    await store.sweep()
    assert store.stats()["inert"] == 0


async def test_nothing_is_inert_without_an_embedder_or_of_an_unknown_one(make, reopened):
    store = await make("model A")
    await store.put(entry("a"), vector(1))
    store = await reopened(store, "")
    assert store.stats()["inert"] == 0
    await store.put(entry("b"), vector(2))
    store = await reopened(store, "model B")
    assert store.stats()["inert"] == 1


# -- changes


async def test_changes_reach_the_listeners_before_the_writer_is_told(store):
    told: list[str] = []
    store.subscribe(lambda changes: told.append(f"changed {changes.added[0][1]}"))
    stored = await store.put(entry(), vector())
    told.append("returned")
    assert told == [f"changed {stored.entry_id}", "returned"]


async def test_what_changes_no_entry_tells_nobody(store, changes):
    store.record(record(), served())
    await store.record_durably(record("r2"))
    await store.confirm("h1", "right")
    await store.flush()
    assert changes == []


# -- listing and invalidating


async def test_entries_are_a_tenants_own_by_id_in_pages(store):
    mine = [await store.put(entry(f"n{i}"), None) for i in range(5)]
    theirs = await store.put(entry("x", tenant="other"), None)
    assert store.entries("acme", 0, 3) == mine[:3]
    assert store.entries("acme", mine[2].entry_id, 3) == mine[3:]
    assert store.entries("other", 0, 10) == [theirs]
    assert store.entries("nobody", 0, 10) == []


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
        "a": await store.put(entry("a", tags=("red", "blue")), vector(1)),
        "b": await store.put(entry("b", tags=("red",), alias="small"), vector(2)),
        "c": await store.put(entry("c", tags=("blue",), sources=("doc",)), vector(3)),
        "d": await store.put(entry("d", namespace="prod", alias="small", created_s=START_WALL_S - 9), vector(4)),
        "e": await store.put(entry("e", tenant="other", tags=("red",)), vector(5)),
    }
    assert await store.invalidate(selector, apply=False) == len(named)
    assert all(store.get(one.entry_id) == one for one in stored.values())
    assert await store.invalidate(selector, apply=True) == len(named)
    assert {key for key, one in stored.items() if store.get(one.entry_id) is None} == named
    assert len(store.vectors(digest("partition"))[0]) == 5 - len(named)
    assert await store.invalidate(selector, apply=False) == 0


async def test_an_invalidation_by_id_is_bound_to_the_tenant(store):
    stored = await store.put(entry(), None)
    assert await store.invalidate(Selector("other", entry_ids=(stored.entry_id,)), apply=True) == 0
    assert await store.invalidate(Selector("acme", entry_ids=(stored.entry_id, 99, -1)), apply=True) == 1


async def test_an_invalidation_of_many_leaves_none_and_does_not_count_the_expired(store, clock):
    await asyncio.gather(*(store.put(entry(f"n{i}"), None) for i in range(600)))
    await store.put(entry("late", expires_s=START_WALL_S + 9000), None)
    clock.advance(3600)
    assert await store.invalidate(Selector("acme", everything=True), apply=True) == 1
    assert store.stats()["entries"] == 0


# -- verdicts


async def test_a_wrong_semantic_hit_is_remembered_at_the_entry(store, changes):
    stored = await store.put(entry(), vector())
    hit = served(entry_id=stored.entry_id)
    store.record(record(status=Status.SEMANTIC_HIT), hit)
    assert store.served("h1") == hit
    rejection = Rejection(hit.exact_key, hit.vector)
    await store.reject("h1", rejection, "wrong")
    assert store.get(stored.entry_id) == replace(stored, rejections=(rejection,))
    assert store.served("h1") == hit._replace(verdict="wrong")
    assert changes[-1] == Changes(rewritten=(stored.entry_id,))


async def test_rejections_are_bounded_to_the_latest(store):
    stored = await store.put(entry(), None)
    for i in range(70):
        store.record(record(f"r{i}"), served(f"h{i}", stored.entry_id))
        await store.reject(f"h{i}", Rejection(digest(str(i)), b""), "wrong")
    kept = store.get(stored.entry_id).rejections
    assert [rejection.exact_key for rejection in kept] == [digest(str(i)) for i in range(6, 70)]


@pytest.mark.parametrize("status", [Status.EXACT_HIT, Status.COALESCED])
async def test_an_entry_that_is_wrong_for_its_own_request_is_deleted(store, status):
    stored = await store.put(entry(), vector())
    store.record(record(status=status), served(entry_id=stored.entry_id, status=status, exact_key=stored.exact_key))
    await store.reject("h1", Rejection(stored.exact_key, b""), "wrong")
    assert store.get(stored.entry_id) is None
    assert store.find_exact(stored.exact_key) is None
    assert not store.has_vectors(stored.partition)
    assert store.served("h1").verdict == "wrong"


async def test_a_verdict_on_a_hit_whose_entry_has_gone_is_kept(store):
    store.record(record(), served(entry_id=99))
    await store.reject("h1", Rejection(digest("r"), b""), "wrong")
    assert store.served("h1").verdict == "wrong"


async def test_a_right_hit_is_confirmed(store):
    store.record(record(), served())
    await store.confirm("h1", "right")
    assert store.served("h1").verdict == "right"


async def test_a_hit_is_rejected_once_whatever_is_said_in_between(store):
    store.record(record(), served())
    verdicts = [await store.reject("h1", Rejection(digest("r"), b""), "wrong", record("w1", requests=0))]
    await store.confirm("h1", "right")
    verdicts.append(await store.reject("h1", Rejection(digest("r"), b""), "wrong", record("w2", requests=0)))
    assert verdicts == [True, False]
    assert store.served("h1").verdict == "wrong"


async def test_a_hit_that_nobody_remembers_gets_no_verdict(store, clock):
    store.record(record(), served())
    await store.flush()
    clock.advance(7 * 86_400)
    assert store.served("h1") is None
    for hit_id in ("h1", "h2", "", "x" * 600):
        with pytest.raises(NotFoundError):
            await store.confirm(hit_id, "right")
        with pytest.raises(NotFoundError):
            await store.reject(hit_id, Rejection(digest("r"), b""), "wrong")
    await store.sweep()
    clock.jump_wall(-7 * 86_400)
    assert store.served("h1") is None


# -- the ledger


async def test_the_ledger_rolls_up_by_hour_tenant_model_task_type_and_status(store):
    hit = {"status": Status.EXACT_HIT, "spent": ZERO_COST, "saved": Cost(5, 6, 7, priced=True)}
    await store.put(entry(), None, record("r1"))
    store.record(record("r2", **hit), None)
    store.record(record("r3", **hit, usage=Usage(1, 1, 1, estimated=True)), None)
    store.record(record("r4", at_s=START_WALL_S + 3600, spent=Cost()), None)
    await store.record_durably(record("r5", tenant="other", requests=0))
    await store.flush()
    hours = list(store.ledger_hours(**HOUR))
    start = int(START_WALL_S)
    names = {"tenant": "acme", "model": "gpt-4o-2024-08-06", "task_type": "chat"}
    spent = {"spent_input_nanousd": 1000, "spent_cached_input_nanousd": 200, "spent_output_nanousd": 3000}
    tokens = {"input_tokens": 12, "cached_input_tokens": 4, "output_tokens": 30}
    assert sorted(hours, key=lambda hour: (hour.hour_s, hour.status)) == [
        LedgerHour(
            start,
            **names,
            status=Status.EXACT_HIT,
            requests=2,
            input_tokens=13,
            cached_input_tokens=5,
            output_tokens=31,
            saved_nanousd=36,
            estimated=1,
        ),
        LedgerHour(start, **names, status=Status.MISS, requests=1, **tokens, **spent),
        LedgerHour(start + 3600, **names, status=Status.MISS, requests=1, **tokens, unpriced=1),
    ]
    assert [hour.requests for hour in store.ledger_hours("other", 0, 1e11)] == [0]
    assert len(list(store.ledger_hours(None, 0, 1e11))) == 4
    assert len(list(store.ledger_hours(None, start, start + 3600))) == 3
    assert len(list(store.ledger_hours(None, start + 1, start + 3601))) == 1


async def test_the_log_is_kept_line_by_line_oldest_first(store):
    lines = [
        record("r3", at_s=START_WALL_S + 3, saved=Cost(1, price_version="another"), similarity=0.5, entry_id=7),
        record("r1", at_s=START_WALL_S + 1.25, similarity=0.0),
        record("r2", at_s=START_WALL_S + 2, tenant="other", task_type="", model="größer"),
    ]
    for line in lines:
        store.record(line)
    await store.flush()
    assert list(store.ledger_records(None, 0, 1e11)) == [lines[1], lines[2], lines[0]]
    assert list(store.ledger_records("other", 0, 1e11)) == [lines[2]]
    assert list(store.ledger_records(None, START_WALL_S + 1.25, START_WALL_S + 3)) == [lines[1], lines[2]]


async def test_lines_of_one_request_at_one_moment_are_all_kept(store):
    for _ in range(3):
        store.record(record("same"))
    await store.flush()
    assert len(list(store.ledger_records(None, 0, 1e11))) == 3
    assert [hour.requests for hour in store.ledger_hours(None, 0, 1e11)] == [3]


async def test_the_ledger_may_be_written_while_it_is_read(store):
    for i in range(600):
        store.record(record(f"r{i:04}"))
    await store.flush()
    seen = 0
    for _ in store.ledger_records(None, 0, 1e11):
        if seen == 0:
            await store.put(entry(), None)
        seen += 1
    assert seen == 600


async def test_old_log_lines_are_swept_and_their_rollup_stays(make, clock):
    store = await make(log_ttl_s=100)
    for i in range(300):
        store.record(record(f"r{i}", at_s=START_WALL_S + i * 0.01))
    await store.flush()
    clock.advance(200)
    store.record(record("new", at_s=clock.wall()))
    await store.flush()
    await store.sweep()
    assert [line.request_id for line in store.ledger_records(None, 0, 1e11)] == ["new"]
    assert sum(hour.requests for hour in store.ledger_hours(None, 0, 1e11)) == 301


async def test_the_ledger_is_durable_through_now_once_flushed(store, clock):
    store.record(record())
    await store.flush()
    clock.advance(5)
    assert store.durable_through_s == clock.wall()


# -- limits


async def test_the_least_recently_used_leave_when_there_are_too_many(make, clock, request):
    store = await make(max_entries=3, eviction="lru")
    removed: list[int] = []
    store.subscribe(lambda changes: removed.extend(entry_id for _, entry_id, _ in changes.removed))
    stored = []
    for name in "abc":
        clock.advance(1)
        stored.append(await store.put(entry(name, created_s=clock.wall()), vector()))
    clock.advance(1)
    store.record(hit(stored[0].entry_id, at_s=clock.wall()))
    await store.flush()
    clock.advance(1)
    stored.append(await store.put(entry("d", created_s=clock.wall()), vector()))
    assert removed == [stored[1].entry_id]
    assert [one.entry_id for one in store.entries("acme", 0, 9)] == [stored[i].entry_id for i in (0, 2, 3)]
    assert store.stats()["evictions"] == 1


async def test_by_cost_what_saves_least_leaves_first(make):
    store = await make(max_entries=2, eviction="cost")
    cheap_and_used = await store.put(entry("a", cost=Cost(1, priced=True)), None)
    dear = await store.put(entry("b", cost=Cost(5_000, priced=True)), None)
    store.record(hit(cheap_and_used.entry_id, 50_000))
    await store.flush()
    newer = await store.put(entry("c", cost=Cost(10_000, priced=True)), None)
    assert store.get(dear.entry_id) is None
    assert store.get(cheap_and_used.entry_id) == cheap_and_used
    newest = await store.put(entry("d", cost=Cost(1, priced=True)), None)
    assert store.get(newer.entry_id) is None
    assert store.get(newest.entry_id) == newest


async def test_bytes_stay_below_four_fifths_of_the_limit(make):
    store = await make(max_bytes=1 << 20, eviction="lru")
    for i in range(300):
        await store.put(entry(f"n{i}", answer=answer("x" * 5000), created_s=START_WALL_S + i), vector(i))
        assert store.stats()["entry_bytes"] <= 0.8 * (1 << 20)
    kept = [one.text for one in store.entries("acme", 0, 1000)]
    assert kept == [f"What is n{i}?" for i in range(300 - len(kept), 300)]
    assert store.stats()["evictions"] == 300 - len(kept)
    assert len(kept) > 50


async def test_bytes_go_back_to_nothing_when_all_is_gone(store):
    for i in range(20):
        stored = await store.put(entry(f"n{i}", tags=("t",) * (i % 2)), vector(i) if i % 3 else None)
        store.record(record(f"r{i}"), served(f"h{i}", stored.entry_id))
        await store.reject(f"h{i}", Rejection(digest("r"), b"v" * 700), "wrong")
    assert store.stats()["entry_bytes"] > 0
    await store.invalidate(Selector("acme", everything=True), apply=True)
    assert store.stats()["entry_bytes"] == 0
    assert store.stats()["entries"] == 0


# -- leaving


async def test_a_caller_who_leaves_does_not_undo_its_write(store):
    task = asyncio.create_task(store.put(entry(), None))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await store.flush()
    assert store.find_exact(entry().exact_key) is not None


async def test_a_closed_store_takes_no_writes_and_may_be_closed_twice(store):
    await store.put(entry(), None)
    await store.close()
    with pytest.raises(ShuttingDownError):
        await store.put(entry("b"), None)
    await store.close()


async def test_nonsense_that_adds_up_beyond_any_row_holds_up_nobody(store):
    dear = Cost(output_nanousd=1 << 62, priced=True)
    stored = await store.put(entry(), None)
    for i in range(5):
        store.record(record(f"r{i}", spent=dear, saved=dear))
        store.record(hit(stored.entry_id, 1 << 62))
    await store.flush()
    await store.record_durably(record("last", tenant="other"))
    assert {hour.tenant for hour in store.ledger_hours(None, 0, 1e12)} == {"acme", "other"}
