"""One partition: its kinds by size, and that what it was told always shows."""

import faiss
import numpy as np
import pytest
import structlog

from semcache.index import partition as partition_module
from semcache.index.bfloat16 import widened
from semcache.index.ivf import lists_for, samples_for, train
from semcache.index.nearest import neighbours
from semcache.index.partition import Partition, Plan, product
from semcache.index.rows import Rows, room_for

DIMENSION = 16


def units(count: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, DIMENSION)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def plan(**changes) -> Plan:
    values = {"numpy_below": 8, "ivf_above": 100, "gpu_from": None, "gpu_empty": None, "nprobe": 1000, "overfetch": 50}
    return Plan(**{**values, **changes})


def partition(count: int, **changes) -> Partition:
    return Partition(plan(**changes), np.arange(1, count + 1), units(count))


def found(part: Partition, row: np.ndarray, k: int) -> list[int]:
    return [n.entry_id for n in part.search(row[None, :], k)[0]]


@pytest.mark.parametrize("count", [20, 90])
def test_a_batch_finds_what_each_of_its_queries_finds_alone(monkeypatch, count):
    monkeypatch.setattr("semcache.index.partition._PRODUCT_CELLS", 4 * count)
    part = partition(count)
    queries = units(11, seed=5)

    together = part.search(queries, 3)

    alone = [part.search(query[None, :], 3)[0] for query in queries]
    assert [[n.entry_id for n in row] for row in together] == [[n.entry_id for n in row] for row in alone]
    for one, other in zip(together, alone, strict=True):
        assert [n.similarity for n in one] == pytest.approx([n.similarity for n in other], abs=1e-6)


@pytest.mark.parametrize("split", [False, True])
def test_rows_move_the_last_into_the_hole(split):
    rows = Rows(np.array([5, 6, 7]), units(3), split=split)
    assert rows.remove(5)
    assert not rows.remove(5)
    assert sorted(rows.ids.tolist()) == [6, 7]
    assert np.array_equal(rows.gather([7, 6]), units(3)[[2, 1]])
    assert rows.remove(7)
    assert rows.remove(6)
    assert len(rows) == 0


def test_split_rows_keep_every_bit_and_room_for_a_sixteenth_more():
    for count in (1, 31, 32, 33, 1000, 2500):
        vectors = units(count)
        rows = Rows(np.arange(count), vectors, split=True)
        assert np.array_equal(rows.matrix, vectors)
        assert count <= len(rows.rounded) <= 1 + count * 17 // 16
        rows.add(count, vectors[0])
        assert np.array_equal(rows.take(np.array([count, 0])), vectors[[0, 0]])
        assert len(rows.rounded) == room_for(count + 1)


def test_few_sizes_make_few_products():
    assert len({room_for(count) for count in range(5_000, 20_000)}) <= 40


def test_rows_grow_without_losing_any():
    rows, vectors = Rows(np.empty(0, np.int64), np.empty((0, DIMENSION), np.float32)), units(500)
    for entry_id, vector in enumerate(vectors):
        rows.add(entry_id, vector)
    assert np.array_equal(rows.gather(range(500)), vectors)
    assert rows.matrix.base.nbytes < 1.3 * vectors.nbytes


def test_rows_copy_what_they_are_given():
    vectors = units(3)
    rows = Rows(np.array([1, 2, 3]), vectors)
    vectors[:] = 0
    assert np.array_equal(rows.gather([1]), units(3)[:1])


def test_an_id_twice_is_refused():
    with pytest.raises(ValueError, match="twice"):
        Rows(np.array([1, 1]), units(2))


def test_neighbours_are_sorted_clipped_and_the_older_first_among_equals():
    ids, similarities = np.array([9, 3, 5, 7]), np.array([0.5, 1.0000002, 0.5, -1.0000001], np.float32)
    (got,) = neighbours(ids, similarities[None, :], 4)
    assert [(n.entry_id, n.similarity) for n in got] == [(3, 1.0), (5, 0.5), (9, 0.5), (7, -1.0)]


def test_the_kind_follows_the_size():
    assert partition(7).kind == "numpy"
    assert partition(8).kind == "flat"
    assert partition(100).kind == "flat"
    assert not partition(100).wants_training
    grown = partition(100)
    grown.add(101, units(1, seed=5)[0])
    assert grown.wants_training


class RoundedProduct:
    """Counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, rows: np.ndarray, queries: np.ndarray) -> np.ndarray:
        self.calls += 1
        return widened(rows) @ widened(queries).T


def test_vectors_are_rounded_as_long_as_there_are_many(monkeypatch):
    monkeypatch.setattr(partition_module, "_DENSE_SEARCHES", 1000)  # two of ten are a large part
    product, vectors = RoundedProduct(), units(40)
    part = partition(9, numpy_below=3, rounded_product=product, rounded_from=10)
    assert found(part, vectors[5], 1) == [6]
    assert product.calls == 0
    for entry_id in range(10, 41):
        part.add(entry_id, vectors[entry_id - 1])
        assert found(part, vectors[entry_id - 1], 2)[0] == entry_id
    assert product.calls == 40 - 9
    for entry_id in range(1, 37):
        part.remove(entry_id)
    assert found(part, vectors[39], 3)[0] == 40
    assert product.calls == 40 - 9
    assert np.array_equal(part.sample(4), vectors[[39, 38, 37, 36]])


def test_a_dense_partition_gives_rounded_products_up():
    product = RoundedProduct()
    near = units(1)[0] + 0.01 * units(40, seed=1)
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    part = Partition(plan(rounded_product=product, rounded_from=10), np.arange(40), near)
    for _ in range(30):
        assert found(part, near[7], 1) == [7]
    assert product.calls == 16
    part.add(40, near[0])
    part.remove(0)
    assert found(part, near[0], 1) == [40]
    assert product.calls == 16


def test_one_dense_search_among_others_gives_nothing_up():
    product = RoundedProduct()
    part = partition(40, rounded_product=product, rounded_from=10)
    for _ in range(10):
        part.search(units(3), 40)  # all are among the nearest
        part.search(units(1), 1)
    assert product.calls == 20


def test_many_queries_of_an_ivf_partition_are_searched_exhaustively():
    product, vectors = RoundedProduct(), units(150)
    part = partition(150, rounded_product=product, rounded_from=10, nprobe=1, overfetch=1)
    fill(part)
    assert part.kind == "ivf"
    part.search(vectors[:2], 5)
    assert product.calls == 0
    together = part.search(vectors[:3], 5)
    assert product.calls == 1
    exact = partition(150, ivf_above=None).search(vectors[:3], 5)
    assert [[n.entry_id for n in row] for row in together] == [[n.entry_id for n in row] for row in exact]


def fill(part: Partition) -> None:
    part.training = True
    part.begin_filling(train(part.sample(samples_for(len(part))), len(part), threads=1))
    while part.filling:
        part.fill(10)


def test_a_filled_index_takes_over_and_is_right():
    part = partition(150)
    fill(part)
    assert part.kind == "ivf"
    assert not part.wants_training
    for entry_id, row in enumerate(units(150), start=1):
        assert found(part, row, 1) == [entry_id]


def test_changes_while_an_index_is_filled_reach_it():
    part, fresh = partition(150), units(3, seed=3)
    part.training = True
    part.begin_filling(train(part.sample(150), 150, threads=1))
    part.fill(40)
    part.remove(10)  # filled already
    part.remove(120)  # still to come
    part.add(500, fresh[0])
    part.add(130, fresh[1])  # replaced before its turn
    part.add(20, fresh[2])  # replaced after it
    part.add(600, fresh[0])
    part.remove(600)
    while part.filling:
        part.fill(40)
    assert part.kind == "ivf"
    everything = found(part, fresh[0], 200)
    assert len(everything) == len(set(everything)) == 149
    assert not {10, 120, 600} & set(everything)
    assert [found(part, row, 1) for row in fresh] == [[500], [130], [20]]


def test_a_grown_partition_is_trained_anew_and_a_shrunken_one_is_flat_again():
    part = partition(101)
    fill(part)
    for entry_id, row in enumerate(units(304, seed=4), start=1000):
        part.add(entry_id, row)
    assert part.wants_training
    assert part.kind == "ivf"
    for entry_id in [*range(1000, 1304), *range(1, 53)]:
        part.remove(entry_id)
    assert part.kind == "flat"


def test_a_failed_training_is_not_tried_again_and_again():
    part = partition(150)
    part.training = True
    assert not part.wants_training


def test_few_lists_probed_still_give_k():
    part = partition(150, nprobe=1, overfetch=1)
    fill(part)
    assert len(found(part, units(1)[0], 150)) == 150


def test_similarities_of_an_approximate_index_are_exact():
    part, rows = partition(150), units(150)
    fill(part)
    query = units(1, seed=8)
    got = part.search(query, 10)[0]
    assert [n.similarity for n in got] == pytest.approx(np.sort(rows @ query[0])[::-1][:10].tolist(), abs=1e-6)


def test_a_device_index_buries_and_is_rebuilt_before_the_dead_outweigh_the_living():
    made = []

    def empty():
        made.append(faiss.IndexFlatIP(DIMENSION))
        return made[-1]

    part = partition(3000, ivf_above=None, gpu_from=50, gpu_empty=empty)
    assert part.kind == "gpu"
    rows = units(3000)
    for entry_id in range(1, 1001):
        part.remove(entry_id)
    assert len(made) == 1
    assert found(part, rows[0], 2000) == found(partition_of(part, rows), rows[0], 2000)
    for entry_id in range(1001, 1101):
        part.remove(entry_id)
    assert len(made) == 2
    assert found(part, rows[1100], 1) == [1101]
    for entry_id in range(1101, 2980):
        part.remove(entry_id)
    assert part.kind == "flat"


def test_a_device_without_memory_leaves_the_partition_on_the_cpu():
    def full():
        raise RuntimeError("out of memory\non the device")

    with structlog.testing.capture_logs() as logs:
        part = partition(60, ivf_above=None, gpu_from=50, gpu_empty=full)
        part.add(61, units(1, seed=6)[0])
    assert part.kind == "flat"
    assert found(part, units(60)[4], 1) == [5]
    assert [line["event"] for line in logs] == ["index_gpu_failed"]


def partition_of(part: Partition, rows: np.ndarray) -> Partition:
    """The same vectors, searched flat."""
    ids = np.array(sorted(found(part, rows[0], 10**6)))
    return Partition(plan(ivf_above=None), ids, rows[ids - 1])


def test_tombstones_next_to_the_query_never_hide_the_living():
    base = units(1)[0]
    near = base + 1e-3 * units(200, seed=2)
    near = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)
    rows = np.concatenate([near, units(100, seed=3)])
    part = Partition(
        plan(ivf_above=None, gpu_from=50, gpu_empty=lambda: faiss.IndexFlatIP(DIMENSION)), np.arange(1, 301), rows
    )
    for entry_id in range(1, 201):
        part.remove(entry_id)
    assert len(found(part, base, 5)) == 5


def test_lists_and_samples_grow_with_the_partition():
    assert lists_for(1) >= 1
    assert lists_for(100_000) > lists_for(20_000)
    assert samples_for(100) == 100
    assert samples_for(10**6) < 10**6


@pytest.mark.parametrize("queries", [2, 3, 7, 32, 33, 40])
@pytest.mark.parametrize("rows", [1, 63, 64, 1023, 1024, 2050])
def test_products_in_blocks_are_the_whole_product(rows: int, queries: int):
    rng = np.random.default_rng(rows * 100 + queries)
    matrix, few = (rng.standard_normal((count, 48)).astype(np.float32) for count in (rows, queries))
    np.testing.assert_allclose(product(matrix, few), matrix @ few.T, atol=1e-4)
