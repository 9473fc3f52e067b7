"""What every index keeps, over the fake and each kind of the real one."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest
import structlog

from semcache.errors import ShuttingDownError, StartError
from semcache.index import open_index
from semcache.model import Changes
from semcache.ports import VectorIndex
from semcache.settings import IndexSettings
from semcache.testing.index import BruteForceIndex
from tests.support.partitions import DIMENSION, search_plan, units

EMPTY = (np.empty(0, dtype=np.int64), np.empty((0, DIMENSION), dtype=np.float32))

# Sizes at which a partition of 64 vectors is of the kind in question; probing all lists makes IVF exact.
KINDS = {
    "numpy": IndexSettings(numpy_below=1000),
    "flat": IndexSettings(numpy_below=1),
    "ivf": IndexSettings(numpy_below=1, flat_below=32, nprobe=1000, overfetch=1000),
}


class Table:
    """A store's vectors: partitions of ids and rows, with what was loaded."""

    def __init__(self) -> None:
        self.partitions: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}
        self.loads: list[bytes] = []

    def __call__(self, partition: bytes):
        self.loads.append(partition)
        return self.partitions.get(partition, EMPTY)


def with_plan(load, *, open_gpu=None, rounded_product=None) -> VectorIndex:
    from semcache.index.partitioned_index import PartitionedIndex

    plan = search_plan(
        {"rounded_from": 1},
        numpy_below=1,
        ivf_above=None,
        gpu_from=32,
        open_gpu=open_gpu,
        rounded_product=rounded_product,
    )
    return PartitionedIndex(IndexSettings(), DIMENSION, load, plan=plan, monotonic=time.monotonic)


def open_kind(kind: str, load: Callable) -> VectorIndex:
    if kind == "brute":
        return BruteForceIndex(load)
    if kind == "bfloat16":
        from semcache.index.bfloat16 import Bfloat16Product

        return with_plan(load, rounded_product=Bfloat16Product(DIMENSION, threads=1))
    if kind == "faiss-append":  # the code around FAISS's index on a GPU, over one that appends only, on the CPU
        import faiss

        from semcache.index.strategies.faiss_gpu import FaissGpu

        return with_plan(load, open_gpu=lambda rows: FaissGpu(lambda: faiss.IndexFlatIP(DIMENSION), rows))
    if kind == "torch-cpu":  # the same code as on a GPU
        from semcache.index.strategies.torch_gpu import TorchGpu

        return with_plan(load, open_gpu=lambda rows: TorchGpu(rows.ids, rows.matrix, device="cpu"))
    if kind.startswith("gpu-"):
        library = kind.removeprefix("gpu-")
        try:
            return open_index(IndexSettings(device="gpu", gpu_from=32, gpu_library=library), DIMENSION, load)
        except StartError as error:
            pytest.skip(str(error))
    return open_index(KINDS[kind].model_copy(update={"device": "cpu"}), DIMENSION, load)


@pytest.fixture
def table() -> Table:
    filled = Table()
    filled.partitions[b"p"] = (np.arange(1, 65), units(64))
    filled.partitions[b"q"] = (np.arange(101, 104), units(3, seed=1))
    return filled


ON_GPU = [pytest.param(f"gpu-{library}", marks=pytest.mark.gpu) for library in ("faiss", "torch")]


@pytest.fixture(params=["brute", *KINDS, "bfloat16", "faiss-append", "torch-cpu", *ON_GPU])
async def index(request, table) -> AsyncIterator[VectorIndex]:
    opened = open_kind(request.param, table)
    if request.param == "ivf":
        await opened.search(b"p", units(1)[0], 1)
        while "ivf" not in opened.stats().by_strategy:
            await opened.search(b"p", units(1)[0], 1)
    yield opened
    await opened.close()


async def test_the_nearest_come_first_with_their_exact_cosines(index, table):
    ids, rows = table.partitions[b"p"]
    query = units(1, seed=9)[0]
    found = await index.search(b"p", query, 5)
    expected = np.argsort(-(rows @ query))[:5]
    assert [n.entry_id for n in found] == ids[expected].tolist()
    assert [n.similarity for n in found] == pytest.approx((rows[expected] @ query).tolist(), abs=1e-6)


async def test_a_vector_finds_itself_at_one_and_never_above(index, table):
    ids, rows = table.partitions[b"p"]
    for entry_id, row in zip(ids.tolist(), rows, strict=True):
        nearest = (await index.search(b"p", row, 1))[0]
        assert nearest.entry_id == entry_id
        assert 0.999999 <= nearest.similarity <= 1.0


async def test_k_beyond_the_partition_gives_all_of_it(index):
    found = await index.search(b"p", units(1)[0], 100)
    assert sorted(n.entry_id for n in found) == list(range(1, 65))
    assert len(await index.search(b"q", units(1)[0], 100)) == 3


async def test_an_unknown_partition_is_empty(index):
    assert list(await index.search(b"nowhere", units(1)[0], 5)) == []


async def test_partitions_never_see_each_other(index):
    assert {n.entry_id for n in await index.search(b"q", units(1)[0], 100)} == {101, 102, 103}


async def test_a_search_after_apply_sees_the_added(index):
    await index.search(b"p", units(1)[0], 1)
    added = units(1, seed=77)[0]
    index.apply(Changes(added=((b"p", 900, added),)))
    assert (await index.search(b"p", added, 1))[0].entry_id == 900


async def test_a_search_after_apply_misses_the_removed(index, table):
    ids, rows = table.partitions[b"p"]
    await index.search(b"p", rows[0], 1)
    for entry_id, row in zip(ids.tolist()[:40], rows[:40], strict=True):
        index.apply(Changes(removed=((b"p", entry_id, b""),)))
        assert entry_id not in [n.entry_id for n in await index.search(b"p", row, 64)]
    assert len(await index.search(b"p", rows[0], 64)) == 24


async def test_what_comes_and_goes_in_one_commit_is_gone(index):
    await index.search(b"p", units(1)[0], 1)
    vector = units(1, seed=78)[0]
    index.apply(Changes(added=((b"p", 901, vector),), removed=((b"p", 901, b""),)))
    assert 901 not in [n.entry_id for n in await index.search(b"p", vector, 70)]


async def test_an_addition_that_the_load_held_already_is_not_doubled(index, table):
    ids, rows = table.partitions[b"p"]
    await index.search(b"p", rows[3], 1)
    index.apply(Changes(added=((b"p", int(ids[3]), rows[3]),)))
    found = [n.entry_id for n in await index.search(b"p", rows[3], 100)]
    assert found.count(int(ids[3])) == 1
    assert len(found) == 64


async def test_a_second_vector_under_an_id_replaces_the_first(index, table):
    rows = table.partitions[b"p"][1]
    await index.search(b"p", rows[0], 1)
    index.apply(Changes(added=((b"p", 1, -rows[0]),)))
    found = {n.entry_id: n.similarity for n in await index.search(b"p", rows[0], 100)}
    assert len(found) == 64
    assert found[1] == pytest.approx(-1.0, abs=1e-6)


async def test_changes_before_the_first_search_come_with_the_load(index, table):
    added = units(1, seed=79)[0]
    table.partitions[b"new"] = (np.array([7]), added[None, :])
    index.apply(Changes(added=((b"new", 7, added),)))
    found = await index.search(b"new", added, 5)
    assert [n.entry_id for n in found] == [7]


async def test_many_removals_and_additions_later_it_is_still_right(index, table):
    rows = table.partitions[b"p"][1]
    await index.search(b"p", rows[0], 1)
    fresh = units(60, seed=80)
    index.apply(Changes(removed=tuple((b"p", entry_id, b"") for entry_id in range(1, 65))))
    assert list(await index.search(b"p", rows[0], 5)) == []
    index.apply(Changes(added=tuple((b"p", 1000 + i, row) for i, row in enumerate(fresh))))
    for i, row in enumerate(fresh):
        assert (await index.search(b"p", row, 1))[0].entry_id == 1000 + i


async def test_searches_at_once_get_their_own_answers(index, table):
    ids, rows = table.partitions[b"p"]
    found = await asyncio.gather(*(index.search(b"p", row, 1) for row in rows))
    assert [n[0].entry_id for n in found] == ids.tolist()


async def test_a_partition_is_loaded_once(index, table):
    for _ in range(3):
        await index.search(b"q", units(1)[0], 1)
        await index.search(b"empty", units(1)[0], 1)
    assert table.loads.count(b"q") == 1
    assert table.loads.count(b"empty") == 1


async def test_it_counts_what_it_holds(index):
    await index.search(b"p", units(1)[0], 1)
    await index.search(b"q", units(1)[0], 1)
    assert index.stats().partitions == 2
    assert index.stats().vectors == 67


async def test_no_neighbours_can_not_be_asked_for(index):
    with pytest.raises(ValueError, match="k ≥ 1"):
        await index.search(b"p", units(1)[0], 0)


async def test_after_closing_it_refuses(index):
    await index.close()
    with pytest.raises(ShuttingDownError):
        await index.search(b"p", units(1)[0], 1)


async def test_a_load_that_fails_reaches_who_searched_and_nobody_else(table):
    def load(partition: bytes):
        if partition == b"bad":
            raise OSError("the disk is gone")
        return table(partition)

    with structlog.testing.capture_logs():
        for kind in ("brute", "flat"):
            opened = open_kind(kind, load)
            bad, good = await asyncio.gather(
                opened.search(b"bad", units(1)[0], 1), opened.search(b"q", units(1)[0], 1), return_exceptions=True
            )
            assert isinstance(bad, OSError)
            assert len(good) == 1
            assert len(await opened.search(b"q", units(1)[0], 5)) == 3
            await opened.close()
