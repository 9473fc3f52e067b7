"""An adapter that is rounded, written and read changes weights as the matrices that it was made from, to a step."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from semcache.embedding.adapter import read_adapter, rounded
from tests.support.adapters import write_adapter

NUMBERS = st.floats(-1e3, 1e3, width=32)


@st.composite
def products(draw):
    out, into, rank = (draw(st.integers(1, 6)) for _ in range(3))
    down = draw(arrays.arrays(np.float32, (rank, into), elements=NUMBERS))
    up = draw(arrays.arrays(np.float32, (out, rank), elements=NUMBERS))
    return down, up


@given(products())
def test_a_round_trip_moves_no_number_by_more_than_the_rounding(product):
    down, up = product
    with TemporaryDirectory() as folder:
        path = Path(folder) / "one.safetensors"
        write_adapter(path, {"layer": rounded(down, up)}, name="one", base_sha256="ab" * 32)
        change = read_adapter(path).layers["layer"].matrix()
    exact = up.astype(np.float64) @ down.astype(np.float64)
    down_step = np.abs(down).max(axis=1, keepdims=True).astype(np.float64) / 127 / 2
    up_step = np.abs(up).max(axis=0, keepdims=True).astype(np.float64) / 127 / 2
    # |(u + e)(d + f) − ud| ≤ |u||f| + |e||d| + |e||f|, summed over the rank; float32 adds its own rounding.
    bound = np.abs(up) @ np.broadcast_to(down_step, down.shape) + np.broadcast_to(up_step, up.shape) @ np.abs(down)
    bound = bound + np.broadcast_to(up_step, up.shape) @ np.broadcast_to(down_step, down.shape)
    slack = 1e-5 * (np.abs(up).astype(np.float64) @ np.abs(down).astype(np.float64)) + 1e-30
    assert (np.abs(change - exact) <= bound * (1 + 1e-5) + slack).all()
