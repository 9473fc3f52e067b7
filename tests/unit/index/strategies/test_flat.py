"""Exact search on the CPU: its products, and one query alone with and without FAISS."""

import numpy as np
import pytest

from semcache.index.faiss_library import import_faiss
from semcache.index.rows import Rows
from semcache.index.strategies.flat import Flat, product
from tests.support.partitions import units


@pytest.mark.parametrize("queries", [2, 3, 7, 32, 33, 40])
@pytest.mark.parametrize("rows", [1, 63, 64, 1023, 1024, 2050])
def test_products_in_blocks_are_the_whole_product(rows: int, queries: int):
    rng = np.random.default_rng(rows * 100 + queries)
    matrix, few = (rng.standard_normal((count, 48)).astype(np.float32) for count in (rows, queries))
    np.testing.assert_allclose(product(matrix, few), matrix @ few.T, atol=1e-4)


@pytest.mark.parametrize("nearest_one", [None, import_faiss().nearest_one], ids=["numpy", "faiss"])
def test_one_query_finds_the_same_with_faiss_and_without(nearest_one):
    vectors, query = units(400), units(1, seed=9)
    flat = Flat(Rows(np.arange(400), vectors), numpy_below=1, nearest_one=nearest_one)
    (found,) = flat.search(query, 7)
    cosines = vectors @ query[0]
    assert [n.entry_id for n in found] == np.argsort(-cosines)[:7].tolist()
    assert [n.similarity for n in found] == pytest.approx(np.sort(cosines)[::-1][:7].tolist(), abs=1e-6)
