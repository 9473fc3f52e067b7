"""The nearest of many rows, against a plain sort."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from semcache.index.bfloat16 import join, product_errors, rounding_errors, split, widened
from semcache.index.nearest import contenders, neighbours


@given(st.lists(st.integers(-8, 8), min_size=1, max_size=120), st.integers(1, 20), st.randoms(use_true_random=False))
def test_the_nearest_come_first_and_the_older_among_equals(levels, k, chance):
    similarities = np.array(levels, dtype=np.float32) / 8
    ids = np.array(chance.sample(range(1, 1000), len(levels)), dtype=np.int64)
    found = neighbours(ids, similarities[None, :], k)[0]
    assert [n.similarity for n in found] == sorted(similarities.tolist(), reverse=True)[:k]
    assert all(similarities[ids.tolist().index(n.entry_id)] == n.similarity for n in found)
    assert len({n.entry_id for n in found}) == len(found)
    pairs = [(-n.similarity, n.entry_id) for n in found]
    assert pairs == sorted(pairs)


@given(
    st.integers(1, 700),
    st.integers(1, 5),
    st.integers(1, 300),
    st.sampled_from([0.0, 0.001, 0.01, 1.0]),
    st.integers(0, 2**32 - 1),
)
def test_none_of_the_nearest_is_missing_among_the_contenders(count, queries, k, spread, seed):
    chance = np.random.default_rng(seed)
    center = chance.standard_normal(8)
    vectors = center + spread * chance.standard_normal((count + queries, 8))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    high = split(vectors)[0]
    rounded = widened(high)
    k = min(k, count)
    errors = product_errors(rounding_errors(vectors, high)[:count].max(), vectors[count:], high[count:])

    found = contenders(rounded[:count] @ rounded[count:].T, k, errors)

    assert found.tolist() == sorted(set(found.tolist()))
    exact = vectors[:count] @ vectors[count:].T
    assert (np.abs(rounded[:count] @ rounded[count:].T - exact) <= errors).all()
    for column in range(queries):
        least = np.sort(exact[:, column])[-k]
        assert set(np.flatnonzero(exact[:, column] > least + 1e-6)) <= set(found.tolist())
        assert (exact[found, column] >= least - 1e-6).sum() >= k


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=50))
def test_what_is_split_is_joined_bit_for_bit(values):
    vector = np.array(values, dtype=np.float32)
    high, low = split(vector)
    assert np.array_equal(join(high, low).view(np.uint32), vector.view(np.uint32))
    assert (np.abs(widened(high) - vector) <= 2.0**-8 * np.abs(vector) + 1e-40).all()
