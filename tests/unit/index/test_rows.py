"""The rows of a partition: packed, growing, and the same bits whether split or not."""

import numpy as np
import pytest

from semcache.index.rows import Rows, room_for
from tests.support.partitions import DIMENSION, units


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
