"""The nearest of many rows, against a plain sort."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from semcache.index.nearest import neighbours


@given(st.lists(st.integers(-8, 8), min_size=1, max_size=120), st.integers(1, 20), st.randoms(use_true_random=False))
def test_the_nearest_come_first_and_the_older_among_equals(levels, k, chance):
    similarities = np.array(levels, dtype=np.float32) / 8
    ids = np.array(chance.sample(range(1, 1000), len(levels)), dtype=np.int64)
    found = neighbours(ids, similarities, k)
    assert [n.similarity for n in found] == sorted(similarities.tolist(), reverse=True)[:k]
    assert all(similarities[ids.tolist().index(n.entry_id)] == n.similarity for n in found)
    assert len({n.entry_id for n in found}) == len(found)
    pairs = [(-n.similarity, n.entry_id) for n in found]
    assert pairs == sorted(pairs)
