"""The index as a whole: order, limits, lazy loading, and what happens when a step fails."""

import asyncio

import numpy as np
import pytest
import structlog

from semcache.errors import OverloadedError, ShuttingDownError
from semcache.index import open_index
from semcache.index.strategies import ivf_codes
from semcache.model import Changes, IndexSize, IndexStats
from semcache.settings import IndexSettings
from tests.support import partitions
from tests.support.passage import Passage

DIMENSION = 8


def units(count: int, seed: int = 0) -> np.ndarray:
    return partitions.units(count, seed, DIMENSION)


class GatedStore(Passage):
    """Loads wait until `open`; `rows` by partition, ids from 1."""

    def __init__(self, **rows: np.ndarray) -> None:
        super().__init__()
        self.rows = rows
        self.loads: list[str] = []

    def __call__(self, partition: bytes):
        name = partition.decode()
        self.loads.append(name)
        rows = self.rows.get(name, np.empty((0, DIMENSION), np.float32))
        snapshot = np.arange(1, len(rows) + 1), rows.copy()
        self.hold()
        return snapshot


def start(store, **settings):
    on_search = settings.pop("on_search", None)
    return open_index(
        IndexSettings(device="cpu", **settings), DIMENSION, store, on_search=on_search, monotonic=lambda: 0.0
    )


@pytest.fixture(autouse=True)
def logs():
    with structlog.testing.capture_logs() as captured:
        yield captured


async def test_searches_that_queued_together_are_one_batch():
    batches = []
    store = GatedStore(a=units(20))
    index = start(store, on_search=lambda size, seconds: batches.append((size, seconds)))
    first = asyncio.create_task(index.search(b"a", units(1)[0], 1))
    await store.entered()
    others = [asyncio.create_task(index.search(b"a", row, 1)) for row in units(20)]
    await asyncio.sleep(0)
    assert index.queue_depth() == 21
    store.open()
    found = await asyncio.gather(*others)
    assert [n[0].entry_id for n in found] == list(range(1, 21))
    await first
    await index.close()
    assert batches == [(1, 0.0), (20, 0.0)]
    assert index.queue_depth() == 0


async def test_the_queue_is_bounded_and_refuses_at_once():
    store = GatedStore(a=units(3))
    index = start(store, max_queue=2)
    waiting = [asyncio.create_task(index.search(b"a", units(1)[0], 1)) for _ in range(2)]
    await store.entered()
    with pytest.raises(OverloadedError, match=r"index\.max_queue is 2"):
        await index.search(b"a", units(1)[0], 1)
    store.open()
    await asyncio.gather(*waiting)
    assert await index.search(b"a", units(1)[0], 1)
    await index.close()


async def test_who_left_is_skipped():
    sizes = []
    store = GatedStore(a=units(3))
    index = start(store, on_search=lambda size, _: sizes.append(size))
    first = asyncio.create_task(index.search(b"a", units(1)[0], 1))
    await store.entered()
    leaving = asyncio.create_task(index.search(b"a", units(1)[0], 1))
    staying = asyncio.create_task(index.search(b"a", units(1)[0], 1))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.sleep(0)
    store.open()
    await asyncio.gather(first, staying)
    await index.close()
    assert sizes == [1, 1]
    assert index.queue_depth() == 0


async def test_changes_during_a_load_are_not_lost():
    """The snapshot was taken before these commits: what came must appear, what went must vanish."""
    rows = units(5)
    store = GatedStore(a=rows)
    index = start(store)
    search = asyncio.create_task(index.search(b"a", rows[0], 10))
    await store.entered()
    index.apply(Changes(added=((b"a", 9, rows[0]),), removed=((b"a", 2, b""),)))
    store.open()
    await search
    assert {n.entry_id for n in await index.search(b"a", rows[0], 10)} == {1, 3, 4, 5, 9}
    await index.close()


async def test_changes_that_the_load_saw_already_leave_it_as_it_is():
    rows = units(5)
    store = GatedStore(a=rows)
    store.open()
    index = start(store)
    await index.search(b"a", rows[0], 1)
    index.apply(Changes(added=((b"a", 5, rows[4]),), removed=((b"a", 77, b""),)))
    assert sorted(n.entry_id for n in await index.search(b"a", rows[0], 10)) == [1, 2, 3, 4, 5]
    await index.close()


async def test_changes_of_partitions_that_nobody_searched_cost_nothing():
    store = GatedStore()
    index = start(store)
    index.apply(Changes(added=((b"a", 1, units(1)[0]),)))
    assert index._worker.idle
    assert store.loads == []
    await index.close()


async def test_the_least_recently_searched_partition_leaves_first():
    store = GatedStore(a=units(2), b=units(2), c=units(2))
    store.open()
    index = start(store, max_partitions=2)
    for name in (b"a", b"b", b"a", b"c", b"a", b"b"):
        await index.search(name, units(1)[0], 1)
    assert store.loads == ["a", "b", "c", "b"]
    assert index.stats() == IndexStats(partitions=2, vectors=4, evicted=2, by_strategy={"numpy": IndexSize(2, 4)})
    await index.close()


async def test_the_limit_on_vectors_holds_and_the_last_partition_stays():
    store = GatedStore(a=units(5), b=units(9), c=units(3))
    store.open()
    index = start(store, max_vectors=8)
    await index.search(b"a", units(1)[0], 1)
    await index.search(b"b", units(1)[0], 1)
    assert index.stats() == IndexStats(partitions=1, vectors=9, evicted=1, by_strategy={"numpy": IndexSize(1, 9)})
    await index.search(b"c", units(1)[0], 1)
    await index.search(b"a", units(1)[0], 1)
    assert index.stats().vectors == 8
    await index.close()


async def test_an_evicted_partition_comes_back_with_what_changed_meanwhile():
    rows = units(6)
    store = GatedStore(a=rows[:5], b=rows[:1])
    store.open()
    index = start(store, max_partitions=1)
    await index.search(b"a", rows[0], 1)
    await index.search(b"b", rows[0], 1)
    store.rows["a"] = rows
    index.apply(Changes(added=((b"a", 6, rows[5]),)))
    assert (await index.search(b"a", rows[5], 1))[0].entry_id == 6
    await index.close()


async def test_a_change_that_fails_drops_the_partition_and_a_load_makes_it_right(logs):
    rows = units(3)
    store = GatedStore(a=rows)
    store.open()
    index = start(store)
    await index.search(b"a", rows[0], 1)
    index.apply(Changes(added=((b"a", 4, np.ones(DIMENSION + 1, np.float32)),)))
    assert len(await index.search(b"a", rows[0], 10)) == 3
    assert store.loads == ["a", "a"]
    assert "index.change_failed" in [line["event"] for line in logs]
    await index.close()


async def test_a_failed_load_is_tried_again_by_the_next_search():
    outcomes = [OSError("not now"), (np.array([1]), units(1))]

    def load(_partition):
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    index = start(load)
    with pytest.raises(OSError, match="not now"):
        await index.search(b"a", units(1)[0], 1)
    assert len(await index.search(b"a", units(1)[0], 1)) == 1
    await index.close()


async def test_a_large_partition_is_trained_off_the_path_and_swapped_in(logs):
    rows = units(400)
    store = GatedStore(a=rows)
    store.open()
    index = start(store, numpy_below=1, flat_below=100, nprobe=1000)
    while "ivf" not in index.stats().by_strategy:
        assert (await index.search(b"a", rows[7], 1))[0].entry_id == 8  # meanwhile searched flat
    for entry_id, row in enumerate(rows, start=1):
        assert (await index.search(b"a", row, 1))[0].entry_id == entry_id
    assert [line["event"] for line in logs][1:] == ["index.trained", "index.swapped_in"]
    await index.close()


async def test_a_training_that_fails_leaves_the_partition_flat(monkeypatch, logs):
    def fail(*_args, **_kwargs):
        raise MemoryError("no memory left")

    monkeypatch.setattr(ivf_codes, "train", fail)
    rows = units(400)
    store = GatedStore(a=rows)
    store.open()
    index = start(store, numpy_below=1, flat_below=100)
    assert (await index.search(b"a", rows[7], 1))[0].entry_id == 8
    while "index.training_failed" not in [line["event"] for line in logs]:
        await index.search(b"a", rows[7], 1)
    for _ in range(3):
        assert (await index.search(b"a", rows[7], 1))[0].entry_id == 8
    assert index.stats().by_strategy["flat"].partitions == 1
    await index.close()
    assert [line["event"] for line in logs].count("index.training_failed") == 1


async def test_an_observer_that_fails_harms_nobody():
    def fail(_size, _seconds):
        raise RuntimeError("the observer fails")

    store = GatedStore(a=units(3))
    store.open()
    index = start(store, on_search=fail)
    assert await index.search(b"a", units(1)[0], 1)
    assert await index.search(b"a", units(1)[0], 1)
    await index.close()


async def test_closing_answers_what_has_queued_and_takes_no_more():
    store = GatedStore(a=units(3))
    index = start(store)
    queued = [asyncio.create_task(index.search(b"a", units(1)[0], 1)) for _ in range(3)]
    await store.entered()
    closing = asyncio.create_task(index.close())
    await asyncio.sleep(0)
    with pytest.raises(ShuttingDownError):
        await index.search(b"a", units(1)[0], 1)
    index.apply(Changes(added=((b"a", 9, units(1)[0]),)))
    store.open()
    await closing
    assert [len(n) for n in await asyncio.gather(*queued)] == [1, 1, 1]
    assert index.stats().vectors == 0
    await index.close()


async def test_a_vector_of_another_length_is_refused_before_it_queues():
    index = start(GatedStore())
    with pytest.raises(ValueError, match=r"a vector \(8,\)"):
        await index.search(b"a", np.ones(9, np.float32), 1)
    await index.close()
