"""`TorchGpu` by itself, on the CPU and on a GPU: exact cosines, growth, removal, blocks of queries."""

import numpy as np
import pytest

from semcache.index.strategies.torch_gpu import TorchGpu
from semcache.index.tuning import IndexTuning
from tests.support.partitions import units

DIMENSION = 384
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture(params=DEVICES)
def device(request) -> str:
    return request.param


def open_torch(device: str, count: int, **tuning) -> TorchGpu:
    vectors = units(count, dimension=DIMENSION)
    return TorchGpu(np.arange(count), vectors, device=device, tuning=IndexTuning(**tuning))


def test_cosines_are_those_of_float64(device):
    """TF32 would be off by 1e-3."""
    vectors, queries = units(3000, dimension=DIMENSION), units(7, seed=1, dimension=DIMENSION)
    exact = -np.sort(-(queries.astype(np.float64) @ vectors.T.astype(np.float64)), axis=1)[:, :5]
    found = open_torch(device, 3000).search(queries, 5)
    assert np.allclose([[n.similarity for n in row] for row in found], exact, atol=2e-6)


def test_a_batch_in_blocks_finds_what_one_product_finds(device):
    queries = units(9, seed=2, dimension=DIMENSION)
    whole, blocks = (open_torch(device, 200, **tuning).search(queries, 3) for tuning in ({}, {"gpu_cells": 450}))
    assert [[n.entry_id for n in row] for row in whole] == [[n.entry_id for n in row] for row in blocks]


def test_it_doubles_when_it_is_full_and_loses_nothing(device):
    strategy, more = open_torch(device, 60), units(80, seed=3, dimension=DIMENSION)
    assert "60 of 64 rows" in repr(strategy)
    for number, vector in enumerate(more):
        strategy.add(np.array([1000 + number]), vector[None, :])
    assert "140 of 256 rows" in repr(strategy)
    assert [row[0].entry_id for row in strategy.search(more, 1)] == list(range(1000, 1080))
    assert [row[0].entry_id for row in strategy.search(units(60, dimension=DIMENSION), 1)] == list(range(60))


def test_the_last_row_moves_into_the_hole(device):
    strategy, vectors = open_torch(device, 10), units(10, dimension=DIMENSION)
    for entry_id in (0, 9, 4, 4, 77):
        strategy.remove(entry_id)
    found = {n.entry_id: n.similarity for n in strategy.search(vectors[8][None, :], 7)[0]}
    assert sorted(found) == [1, 2, 3, 5, 6, 7, 8]
    assert found[8] == pytest.approx(1.0, abs=1e-6)


def test_vectors_that_may_not_be_written_are_taken(device):
    vectors = units(3, dimension=DIMENSION)
    vectors.flags.writeable = False
    strategy = TorchGpu(np.arange(3), vectors, device=device)
    assert [row[0].entry_id for row in strategy.search(vectors, 1)] == [0, 1, 2]
