"""Products of rounded vectors: right for every shape, and never more of them compiled than it says."""

import numpy as np

from semcache.index.bfloat16 import Bfloat16Product, product_errors, rounding_errors, split, widened
from semcache.index.tuning import IndexTuning
from tests.support.partitions import units


def test_products_of_every_shape_are_right_when_many_have_been_compiled(monkeypatch):
    product = Bfloat16Product(32, threads=1, tuning=IndexTuning(rounded_shapes=5))
    compiled = []
    original = product._compile
    monkeypatch.setattr(product, "_compile", lambda: compiled.append(1) or original())
    for count in (1, 7, 64, 300):
        for queries in (1, 2, 3, 8, 33):
            rows, asked = units(count, seed=count, dimension=32), units(queries, seed=queries, dimension=32)
            high, asked_high = split(rows)[0], split(asked)[0]

            found = product(high, asked_high)

            assert found.shape == (count, queries)
            np.testing.assert_allclose(found, widened(high) @ widened(asked_high).T, atol=32 * 2.0**-23)
            errors = product_errors(rounding_errors(rows, high).max(), asked, asked_high)
            assert (np.abs(found - rows @ asked.T) <= errors).all()
            assert len(product._shapes) <= 5
    assert len(compiled) == 3
