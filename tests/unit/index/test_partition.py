"""One partition: how it is searched by its size, and that every change shows in the next search."""

import numpy as np
import pytest
import structlog

from semcache.index.bfloat16 import widened
from semcache.index.partition import Partition
from semcache.index.strategies.flat import Flat
from semcache.index.strategies.ivf_codes import train
from tests.support.partitions import nearest_ids, partition, search_plan, train_and_fill, units


@pytest.mark.parametrize("count", [20, 90])
def test_a_batch_finds_what_each_of_its_queries_finds_alone(count):
    part = partition(count, tuning={"product_cells": 4 * count})
    queries = units(11, seed=5)

    together = part.search(queries, 3)

    alone = [part.search(query[None, :], 3)[0] for query in queries]
    assert [[n.entry_id for n in row] for row in together] == [[n.entry_id for n in row] for row in alone]
    for one, other in zip(together, alone, strict=True):
        assert [n.similarity for n in one] == pytest.approx([n.similarity for n in other], abs=1e-6)


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


def test_vectors_are_rounded_as_long_as_there_are_many():
    product, vectors = RoundedProduct(), units(40)
    # Two of ten are a large part: no limit on dense searches.
    part = partition(9, {"rounded_from": 10, "dense_searches": 1000}, numpy_below=3, rounded_product=product)
    assert nearest_ids(part, vectors[5], 1) == [6]
    assert product.calls == 0
    for entry_id in range(10, 41):
        part.add(entry_id, vectors[entry_id - 1])
        assert nearest_ids(part, vectors[entry_id - 1], 2)[0] == entry_id
    assert product.calls == 40 - 9
    for entry_id in range(1, 37):
        part.remove(entry_id)
    assert nearest_ids(part, vectors[39], 3)[0] == 40
    assert product.calls == 40 - 9
    assert np.array_equal(part.sample(4), vectors[[39, 38, 37, 36]])


def test_a_dense_partition_gives_rounded_products_up():
    product = RoundedProduct()
    near = units(1)[0] + 0.01 * units(40, seed=1)
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    part = Partition(search_plan({"rounded_from": 10}, rounded_product=product), np.arange(40), near)
    for _ in range(30):
        assert nearest_ids(part, near[7], 1) == [7]
    assert product.calls == 16
    part.add(40, near[0])
    part.remove(0)
    assert nearest_ids(part, near[0], 1) == [40]
    assert product.calls == 16


def test_one_dense_search_among_others_gives_nothing_up():
    product = RoundedProduct()
    part = partition(40, {"rounded_from": 10}, rounded_product=product)
    for _ in range(10):
        part.search(units(3), 40)  # all are among the nearest
        part.search(units(1), 1)
    assert product.calls == 20


def test_many_queries_of_an_ivf_partition_are_searched_exhaustively():
    product, vectors = RoundedProduct(), units(150)
    part = partition(150, {"rounded_from": 10}, rounded_product=product, nprobe=1, overfetch=1)
    train_and_fill(part)
    assert part.kind == "ivf"
    part.search(vectors[:2], 5)
    assert product.calls == 0
    together = part.search(vectors[:3], 5)
    assert product.calls == 1
    exact = partition(150, ivf_above=None).search(vectors[:3], 5)
    assert [[n.entry_id for n in row] for row in together] == [[n.entry_id for n in row] for row in exact]


def test_a_filled_index_takes_over_and_is_right():
    part = partition(150)
    train_and_fill(part)
    assert part.kind == "ivf"
    assert not part.wants_training
    for entry_id, row in enumerate(units(150), start=1):
        assert nearest_ids(part, row, 1) == [entry_id]


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
    everything = nearest_ids(part, fresh[0], 200)
    assert len(everything) == len(set(everything)) == 149
    assert not {10, 120, 600} & set(everything)
    assert [nearest_ids(part, row, 1) for row in fresh] == [[500], [130], [20]]


def test_a_grown_partition_is_trained_anew_and_a_shrunken_one_is_flat_again():
    part = partition(101)
    train_and_fill(part)
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
    train_and_fill(part)
    assert len(nearest_ids(part, units(1)[0], 150)) == 150


def test_similarities_of_an_approximate_index_are_exact():
    part, rows = partition(150), units(150)
    train_and_fill(part)
    query = units(1, seed=8)
    got = part.search(query, 10)[0]
    assert [n.similarity for n in got] == pytest.approx(np.sort(rows @ query[0])[::-1][:10].tolist(), abs=1e-6)


class FailingGpu:
    """A GPU that works until `fail` names what raises."""

    def __init__(self, rows) -> None:
        self.rows = rows
        self.fail = ""

    def search(self, queries, k):
        if self.fail == "search":
            raise RuntimeError("out of memory")
        return Flat(self.rows, numpy_below=1).search(queries, k)

    def add(self, ids, vectors):
        if self.fail == "add":
            raise RuntimeError("out of memory")

    def remove(self, entry_id):
        if self.fail == "remove":
            raise RuntimeError("out of memory")


@pytest.mark.parametrize("act", ["search", "add", "remove"])
def test_a_gpu_that_fails_later_is_given_up_and_nothing_is_lost(act):
    made = []

    def open_gpu(rows):
        made.append(FailingGpu(rows))
        return made[-1]

    part = partition(60, ivf_above=None, open_gpu=open_gpu)
    assert part.kind == "gpu"
    made[0].fail = act
    with structlog.testing.capture_logs() as logs:
        part.add(61, units(1, seed=6)[0])
        part.remove(60)
        assert nearest_ids(part, units(1, seed=6)[0], 1) == [61]
    assert part.kind == "flat"
    assert sorted(nearest_ids(part, units(1)[0], 100)) == [*range(1, 60), 61]
    assert [line["event"] for line in logs] == ["index.gpu_failed"]
    assert len(made) == 1
