"""Seals notice every flipped bit of a row and of its key."""

import numpy as np
import pytest

from semcache.store import seals
from semcache.store.embedders import EmbedderRun, pack_runs, unpack_runs
from semcache.store.eviction import Access, pack_access, unpack_access
from semcache.store.layout import Counters
from tests.support.stored import digest, vector

KEY = digest("partition") + bytes(8)
RUNS = (EmbedderRun(1, "one", 2),)
READERS = {
    "a vector": (
        seals.sealed_row(KEY, vector().tobytes()),
        lambda row: row if seals.is_vector(KEY, row) else None,
    ),
    "accesses": (pack_access(KEY, Access(1, 2, 3.0)), lambda row: unpack_access(KEY, row)),
    "counters": (Counters(2, 1, 9, 9).pack(), Counters.unpack),
    "embedder runs": (pack_runs(RUNS), unpack_runs),
}


@pytest.mark.parametrize("name", READERS)
def test_any_flipped_bit_is_noticed(name):
    row, read = READERS[name]
    assert read(row) is not None
    for position in range(len(row) * 8):
        damaged = bytearray(row)
        damaged[position // 8] ^= 1 << position % 8
        assert read(bytes(damaged)) is None, position


@pytest.mark.parametrize("name", [name for name in READERS if name != "a vector"])
def test_a_row_cut_short_is_noticed_unless_its_seal_alone_is_missing(name):
    row, read = READERS[name]
    for length in range(len(row)):
        assert (read(row[:length]) is not None) == (length == len(row) - seals.SEAL_BYTES), length


def test_a_row_under_another_key_is_noticed():
    row = seals.sealed_row(KEY, vector().tobytes())
    for position in range(len(KEY) * 8):
        key = bytearray(KEY)
        key[position // 8] ^= 1 << position % 8
        assert not seals.is_vector(bytes(key), row)


@pytest.mark.parametrize("scale", [0.0, 0.98, 1.02, -1.5, 1e30, float("inf"), float("nan")])
def test_a_bare_vector_whose_length_is_off_is_noticed(scale):
    with np.errstate(all="ignore"):
        row = (vector() * np.float32(scale)).astype(np.float32).tobytes()
    assert not seals.is_vector(KEY, row)


def test_vectors_as_embedders_make_them_are_units():
    assert seals.is_vector(KEY, (vector() * np.float32(1.001)).tobytes())
    assert seals.are_units(np.empty((0, 8), np.float32)).tolist() == []
