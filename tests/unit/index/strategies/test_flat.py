"""Exact search on the CPU: its products, and one query alone with and without FAISS."""

import numpy as np
import pytest

from semcache.index.strategies.flat import product


@pytest.mark.parametrize("queries", [2, 3, 7, 32, 33, 40])
@pytest.mark.parametrize("rows", [1, 63, 64, 1023, 1024, 2050])
def test_products_in_blocks_are_the_whole_product(rows: int, queries: int):
    rng = np.random.default_rng(rows * 100 + queries)
    matrix, few = (rng.standard_normal((count, 48)).astype(np.float32) for count in (rows, queries))
    np.testing.assert_allclose(product(matrix, few), matrix @ few.T, atol=1e-4)
