"""What every `Vectors` promises, over the one in memory and the one on disk."""

import asyncio

import numpy as np

from tests.support.stored import digest, entry, get, vector


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
