"""What every `Vectors` promises, over the one in memory and the one on disk."""

import asyncio
from dataclasses import replace

import numpy as np

from semcache.model import Rejection, Selector
from tests.support.stored import all_entries, digest, entry, get, hit, record, served, vector


async def test_an_unknown_partition_has_no_vectors(store):
    assert not await store.vectors.has(digest("partition"))
    assert await store.vectors.count(digest("partition"), 7, 10) == (0, 7)
    assert store.vectors.load(digest("partition"))[0].shape == (0,)


async def test_vectors_are_those_of_the_partition_alone_by_id(store):
    first = await store.entries.put(entry("a", partition=digest("p1")), vector(1))
    other = await store.entries.put(entry("b", partition=digest("p2")), vector(2))
    second = await store.entries.put(entry("c", partition=digest("p1")), vector(3))
    ids, vectors = store.vectors.load(digest("p1"))
    assert ids.dtype == np.int64
    assert ids.tolist() == [first.entry_id, second.entry_id]
    np.testing.assert_array_equal(vectors, np.stack([vector(1), vector(3)]))
    assert vectors.dtype == np.float32
    assert vectors.flags.c_contiguous
    assert store.vectors.load(digest("p2"))[0].tolist() == [other.entry_id]
    assert await store.vectors.count(digest("p1"), 0, 10) == (2, second.entry_id)
    assert await store.vectors.count(digest("p1"), 0, 1) == (1, first.entry_id)
    assert await store.vectors.count(digest("p1"), first.entry_id, 10) == (1, second.entry_id)
    assert await store.vectors.has(digest("p1"))
    assert not await store.vectors.has(digest("p3"))


async def test_vectors_may_be_read_from_worker_threads(store):
    await asyncio.gather(*(store.entries.put(entry(f"n{i}"), vector(i)) for i in range(50)))
    reads = [asyncio.to_thread(store.vectors.load, digest("partition")) for _ in range(8)]
    writes = [store.entries.put(entry(f"m{i}"), vector(i)) for i in range(50)]
    results = await asyncio.gather(*reads, *writes)
    assert all(len(ids) == len(vectors) >= 50 for ids, vectors in results[:8])


async def test_an_entry_may_have_no_vector_and_be_put_again_with_one(store, changes):
    bare = await store.entries.put(entry(), None)
    assert changes == []
    assert await get(store, bare.entry_id) == bare
    assert not await store.vectors.has(bare.partition)
    stored = await store.entries.put(entry(), vector(5))
    ids, vectors = store.vectors.load(stored.partition)
    assert ids.tolist() == [stored.entry_id]
    np.testing.assert_array_equal(vectors[0], vector(5))
    partition, entry_id, added = changes[-1].added[0]
    assert (partition, entry_id) == (stored.partition, stored.entry_id)
    np.testing.assert_array_equal(added, vector(5))


async def test_a_vector_is_the_stores_own_copy(store, changes):
    mine = vector(1)
    await store.entries.put(entry(), mine)
    mine[:] = 0
    np.testing.assert_array_equal(changes[-1].added[0][2], vector(1))
    np.testing.assert_array_equal(store.vectors.load(digest("partition"))[1][0], vector(1))


# -- what another embedder made is embedded anew


async def moved(store, partition="partition", target="new", seed=100):
    """Moves all entries of a partition with new vectors; returns them by id."""
    texts = await store.vectors.texts(digest(partition), 99)
    vectors = {entry_id: vector(seed + entry_id) for entry_id in texts}
    assert await store.vectors.reembed(digest(partition), digest(target), vectors) == len(texts)
    return vectors


async def test_texts_are_those_of_a_partitions_entries_with_a_vector_lowest_id_first(store, clock):
    first = await store.entries.put(entry("a"), vector(1))
    await store.entries.put(entry("bare"), None)
    await store.entries.put(entry("other", partition=digest("other")), vector(1))
    second = await store.entries.put(entry("b"), vector(2))
    assert list((await store.vectors.texts(digest("partition"), 9)).items()) == [
        (first.entry_id, "What is a?"),
        (second.entry_id, "What is b?"),
    ]
    assert list(await store.vectors.texts(digest("partition"), 1)) == [first.entry_id]
    assert await store.vectors.texts(digest("unknown"), 9) == {}


async def test_other_embedders_are_told_the_latest_first_until_their_vectors_have_gone(make, reopened):
    store = await make("model A")
    assert list(store.vectors.other_embedders()) == []
    await store.entries.put(entry("a"), vector(1))
    store = await reopened(store, "model B")
    await store.entries.put(entry("b"), vector(2))
    assert list(store.vectors.other_embedders()) == ["model A"]
    store = await reopened(store, "model C")
    assert list(store.vectors.other_embedders()) == ["model B", "model A"]
    await moved(store)
    assert list(store.vectors.other_embedders()) == []
    store = await reopened(store, "model A")
    assert list(store.vectors.other_embedders()) == ["model C"]
    assert list((await reopened(store, "")).vectors.other_embedders()) == []


async def test_an_entry_that_is_embedded_anew_keeps_its_id_and_all_else(make, reopened, clock):
    store = await make("model A", eviction="lru")
    before = [await store.entries.put(entry(name, tags=("t",)), vector(1)) for name in "ab"]
    store.ledger.record(hit(before[0].entry_id))
    store.ledger.record(record("h"), served("h1", before[0].entry_id, entry_key=before[0].exact_key))
    await store.verdicts.reject("h1", Rejection(digest("another question"), b"\x01\x02"), "wrong")
    store = await reopened(store, "model B", eviction="lru")
    size_before = store.stats().entry_bytes
    assert store.stats().inert == 2

    changes = []
    store.entries.subscribe(changes.append)
    vectors = await moved(store)

    after = await all_entries(store.entries, "acme", "t")
    assert [found.entry_id for found in after] == [found.entry_id for found in before]
    for old, new in zip(before, after, strict=True):
        rejections = new.rejections if old is before[0] else ()
        assert new == replace(old, partition=digest("new"), embedder="model B", rejections=rejections)
        assert await store.entries.find_exact(old.exact_key) == new
    assert len(after[0].rejections) == 1
    assert not await store.vectors.has(digest("partition"))
    ids, stored = store.vectors.load(digest("new"))
    assert ids.tolist() == list(vectors)
    np.testing.assert_array_equal(stored, np.stack(list(vectors.values())))
    (change,) = changes
    assert [(place, entry_id) for place, entry_id, _ in change.added] == [(digest("new"), n) for n in vectors]
    assert [(place, entry_id) for place, entry_id, _ in change.removed] == [(digest("partition"), n) for n in vectors]
    assert list(change.rewritten) == list(vectors)
    stats = store.stats()
    assert (stats.inert, stats.reembedded, stats.entries) == (0, 2, 2)
    assert size_before <= stats.entry_bytes < size_before + 1000
    assert await store.vectors.reembed(digest("partition"), digest("new"), vectors) == 0  # again: nothing is there


async def test_inert_entries_are_counted_right_whatever_becomes_of_those_that_moved(make, reopened):
    store = await make("model A")
    for name in "abcd":
        await store.entries.put(entry(name, partition=digest(name)), vector(1))
    store = await reopened(store, "model B")
    await moved(store, "a", "a of B")
    await moved(store, "b", "b of B")
    await store.entries.put(entry("e"), vector(5))
    assert store.stats().inert == 2
    await store.entries.invalidate(Selector("acme", entry_ids=(1,)), apply=True)
    assert store.stats().inert == 2
    store = await reopened(store, "model A")
    assert store.stats().inert == 2  # b, which moved, and e
    await moved(store, "b of B", "b")
    assert store.stats().inert == 1
    store = await reopened(store, "model B")
    assert store.stats().inert == 3
    await store.entries.put(entry("b"), vector(9))
    assert store.stats().inert == 2
    await store.entries.invalidate(Selector("acme", everything=True), apply=True)
    assert store.stats().inert == 0
    assert list((await reopened(store, "model A")).vectors.other_embedders()) == []


async def test_only_what_still_lies_in_the_partition_moves(make, reopened):
    store = await make("model A")
    gone, replaced, stays = [await store.entries.put(entry(name), vector(1)) for name in "abc"]
    store = await reopened(store, "model B")
    texts = await store.vectors.texts(digest("partition"), 9)
    await store.entries.invalidate(Selector("acme", entry_ids=(gone.entry_id,)), apply=True)
    await store.entries.put(entry("b", partition=digest("new")), vector(7))
    vectors = {entry_id: vector(100 + entry_id) for entry_id in texts}
    assert await store.vectors.reembed(digest("partition"), digest("new"), vectors) == 1
    ids, _ = store.vectors.load(digest("new"))
    assert ids.tolist() == [stays.entry_id, replaced.entry_id + 2]
    assert store.stats().entries == 2


async def test_an_entry_that_gets_no_vector_is_found_by_its_exact_key_alone(make, reopened):
    store = await make("model A")
    stored = await store.entries.put(entry("a"), vector(1))
    store = await reopened(store, "model B")
    assert await store.vectors.reembed(digest("partition"), digest("new"), {stored.entry_id: None}) == 0
    assert not await store.vectors.has(digest("partition"))
    assert not await store.vectors.has(digest("new"))
    assert await store.entries.find_exact(stored.exact_key) == stored
    assert store.stats().inert == 0


async def test_a_moved_entry_expires_and_is_evicted_like_any_other(make, reopened, clock):
    store = await make("model A")
    await store.entries.put(entry("a"), vector(1))
    store = await reopened(store, "model B")
    await moved(store)
    clock.advance(3600)
    assert await store.sweep() == 1
    stats = store.stats()
    assert (stats.entries, stats.inert, stats.entry_bytes) == (0, 0, 0)
    assert not await store.vectors.has(digest("new"))
    assert list((await reopened(store, "model C")).vectors.other_embedders()) == []


async def test_rejections_between_two_requests_get_their_new_vectors(make, reopened):
    store = await make("model A")
    first, second = [await store.entries.put(entry(name), vector(1)) for name in "ab"]
    hit_on_first = served("h1", first.entry_id, exact_key=second.exact_key, entry_key=first.exact_key)
    store.ledger.record(record("h"), hit_on_first)
    await store.verdicts.reject("h1", Rejection(second.exact_key, b"\x01\x02"), "wrong")
    store = await reopened(store, "model B")
    vectors = await moved(store)
    for of, other in ((first, second), (second, first)):
        renewed = Rejection(other.exact_key, vectors[other.entry_id].astype(np.float16).tobytes())
        assert await store.verdicts.rejections("acme", of.exact_key) == [renewed]
        found = await store.entries.find_exact(of.exact_key)
        assert found is not None
        assert found.rejections == (renewed,)


async def rejected(store, of, other, hit_id="h1"):
    """Report the answer of an entry wrong for the request of another one, whose vector lies in the store."""
    ids, vectors = store.vectors.load(other.partition)
    found = vectors[ids.tolist().index(other.entry_id)].astype(np.float16).tobytes()
    store.ledger.record(record(hit_id), served(hit_id, of.entry_id, exact_key=other.exact_key, entry_key=of.exact_key))
    await store.verdicts.reject(hit_id, Rejection(other.exact_key, found), "wrong")


async def rejection_vectors(store, of):
    """The vectors in an entry's rejections, which those that are kept apart agree with, by exact key."""
    found = await store.entries.find_exact(of.exact_key)
    assert found is not None
    in_entry = {one.exact_key: one.vector for one in found.rejections}
    apart = {one.exact_key: one.vector for one in await store.verdicts.rejections("acme", of.exact_key)}
    assert in_entry == apart
    return in_entry


async def test_no_rejection_is_compared_by_a_vector_of_another_embedder(make, reopened):
    store = await make("model A")
    asked, gone, waits = [
        await store.entries.put(entry(name, partition=digest(f"of {name}")), vector(seed, 384))
        for seed, name in enumerate(("asked", "gone", "waits"))
    ]
    await rejected(store, asked, gone, "h1")
    await rejected(store, asked, waits, "h2")
    assert all((await rejection_vectors(store, asked)).values())
    before = await rejection_vectors(store, waits)
    await store.entries.invalidate(Selector("acme", entry_ids=(gone.entry_id,)), apply=True)
    store = await reopened(store, "model B")

    assert await store.vectors.reembed(asked.partition, digest("new"), {asked.entry_id: vector(10, 384)}) == 1
    assert await rejection_vectors(store, asked) == {gone.exact_key: b"", waits.exact_key: b""}
    assert await rejection_vectors(store, waits) == before  # Its own vector is still model A's.

    assert await store.vectors.reembed(waits.partition, digest("new"), {waits.entry_id: vector(11, 384)}) == 1
    of_b = {seed: vector(seed, 384).astype(np.float16).tobytes() for seed in (10, 11)}
    assert await rejection_vectors(store, asked) == {gone.exact_key: b"", waits.exact_key: of_b[11]}
    assert await rejection_vectors(store, waits) == {asked.exact_key: of_b[10]}


async def test_an_entry_in_place_of_another_embedders_takes_no_vector_from_its_rejections(make, reopened):
    store = await make("model A")
    asked, other = [await store.entries.put(entry(name), vector(seed, 384)) for seed, name in enumerate("ab")]
    await rejected(store, asked, other)
    store = await reopened(store, "model B")
    again = await store.entries.put(entry("a", partition=digest("new")), vector(10, 384))
    assert again.rejections == (Rejection(other.exact_key, b""),)
    assert await store.vectors.reembed(other.partition, digest("new"), {other.entry_id: vector(11, 384)}) == 1
    of_b = {seed: vector(seed, 384).astype(np.float16).tobytes() for seed in (10, 11)}
    assert await rejection_vectors(store, asked) == {other.exact_key: of_b[11]}
    assert await rejection_vectors(store, other) == {asked.exact_key: of_b[10]}
