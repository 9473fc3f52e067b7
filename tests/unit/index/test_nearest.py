"""From candidates to neighbours."""

import numpy as np

from semcache.index.nearest import neighbours


def test_neighbours_are_sorted_clipped_and_the_older_first_among_equals():
    ids, similarities = np.array([9, 3, 5, 7]), np.array([0.5, 1.0000002, 0.5, -1.0000001], np.float32)
    (got,) = neighbours(ids, similarities[None, :], 4)
    assert [(n.entry_id, n.similarity) for n in got] == [(3, 1.0), (5, 0.5), (9, 0.5), (7, -1.0)]
