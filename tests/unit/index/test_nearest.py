"""From candidates to neighbours."""

import numpy as np
import pytest

from semcache.index.nearest import neighbours


def test_neighbours_are_sorted_clipped_and_the_older_first_among_equals():
    ids, similarities = np.array([9, 3, 5, 7]), np.array([0.5, 1.0000002, 0.5, -1.0000001], np.float32)
    (got,) = neighbours(ids, similarities[None, :], 4)
    assert [(n.entry_id, n.similarity) for n in got] == [(3, 1.0), (5, 0.5), (9, 0.5), (7, -1.0)]


@pytest.mark.parametrize("product", [1.02, 1.5, 1e30, np.inf, np.nan])
@pytest.mark.parametrize("count", [4, 100], ids=["few candidates", "many candidates"])
def test_products_that_no_unit_vectors_have_are_no_similarities(product, count):
    products = np.full((2, count), 0.5, np.float32)
    products[:, 1] = product
    for rows in (products, products[:1]):
        for got in neighbours(np.arange(count), rows, 4):
            assert all(neighbour.similarity == 0.5 for neighbour in got if neighbour.entry_id != 1)
            assert all(neighbour.similarity == -1.0 for neighbour in got if neighbour.entry_id == 1)
