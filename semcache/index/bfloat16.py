"""bfloat16: how vectors are rounded, how far that moves a cosine, and the product that a processor has units for.

A float32 is kept as two halves of 16 bits: its bfloat16, rounded, and what that took from it. The product of rounded
vectors differs from the cosine by at most `product_errors`. So only few rows can be among the nearest, and their exact
cosines come from the whole float32.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semcache.index.tuning import TUNING, IndexTuning

_ACCUMULATION = 2.0**-23
"""The largest error of a sum in float32, for each summand and sums of magnitudes up to 1: a property of the format."""
_SLACK = 1e-4
"""A share added for the errors' own rounding, and for unit vectors whose length is off by some 1e-6."""


def split(vectors: NDArray[np.float32]) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Return vectors as bfloat16, and the lower halves of their float32.

    bfloat16 is rounded to the nearest, halves away from zero.
    """
    bits = np.ascontiguousarray(vectors, dtype=np.float32).view(np.uint32)
    high, low = ((bits + 0x8000) >> 16).astype(np.uint16), bits.astype(np.uint16)
    return high, low


def join(high: NDArray[np.uint16], low: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return the float32 that were split, bit for bit."""
    bits = (high - (low >> 15)).astype(np.uint32)  # a lower half from 0x8000 on had been rounded up
    bits <<= 16
    bits |= low
    return bits.view(np.float32)


def widened(high: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return rounded vectors as float32."""
    return (high.astype(np.uint32) << 16).view(np.float32)


def rounding_errors(vectors: NDArray[np.float32], high: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return the lengths of what rounding took from vectors, (n,): at most 2⁻⁸ of theirs, mostly half of that."""
    lengths: NDArray[np.float32] = np.linalg.norm(vectors - widened(high), axis=1)
    return lengths


def product_errors(rows_error: float, queries: NDArray[np.float32], rounded: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return by how much the product of a rounded row with each rounded query can differ from their cosine, (m,).

    By the triangle inequality it is at most the sum of three: what rounding took from the query times the row's length
    of 1, what it took from the row times the rounded query's length, and the error of a sum of so many products.

    Args:
        rows_error: the largest of the rows' `rounding_errors`.
        queries: unit vectors, (m, dimension).
        rounded: the queries as bfloat16.
    """
    of_queries = rounding_errors(queries, rounded)
    errors: NDArray[np.float32] = of_queries + (1 + of_queries) * rows_error + queries.shape[1] * _ACCUMULATION
    return errors * np.float32(1 + _SLACK)


class Bfloat16Product:
    """Inner products of bfloat16 vectors, summed in float32, by OpenVINO on the CPU. Not thread-safe.

    Args:
        dimension: length of a vector.
        threads: of one product.
        tuning: the numbers that aren't settings.

    Raises:
        ImportError: OpenVINO isn't installed.
        RuntimeError: it can't compile the product.
    """

    def __init__(self, dimension: int, threads: int, tuning: IndexTuning = TUNING) -> None:
        import openvino
        from openvino import opset13

        vectors = [opset13.parameter([-1, dimension], openvino.Type.bf16) for _ in range(2)]
        # The conversions are for the type of the sum: the plugin multiplies bfloat16 where the processor can.
        rows, queries = (opset13.convert(each, openvino.Type.f32) for each in vectors)
        model = openvino.Model(
            [opset13.matmul(rows, queries, transpose_a=False, transpose_b=True)], vectors, "products"
        )
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
        }
        core = openvino.Core()
        self._compile: Callable[[], Any] = lambda: core.compile_model(model, "CPU", settings).create_infer_request()
        self._tensor: Callable[[NDArray[np.uint16]], Any] = lambda of: openvino.Tensor(
            of, openvino.Shape(of.shape), openvino.Type.bf16
        )
        self._request = self._compile()
        self._max_shapes = tuning.rounded_shapes
        self._shapes: set[tuple[int, int]] = set()

    def __call__(self, rows: NDArray[np.uint16], queries: NDArray[np.uint16]) -> NDArray[np.float32]:
        """Return the products of (n, dimension) and (m, dimension), (n, m); a view that the next call invalidates.

        Queries are filled up to a power of two, since each new shape is compiled (half a millisecond) and kept.
        """
        count = len(queries)
        padded = np.zeros((1 << (count - 1).bit_length(), queries.shape[1]), dtype=np.uint16)
        padded[:count] = queries
        shape = (len(rows), len(padded))
        if shape not in self._shapes:
            if len(self._shapes) >= self._max_shapes:
                self._request = self._compile()
                self._shapes.clear()
            self._shapes.add(shape)
        self._request.set_input_tensor(0, self._tensor(rows))
        self._request.set_input_tensor(1, self._tensor(padded))
        self._request.infer()
        products: NDArray[np.float32] = self._request.get_output_tensor(0).data[:, :count]
        return products


def open_product(
    dimension: int,
    threads: int,
    exact: Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]],
    tuning: IndexTuning = TUNING,
) -> tuple[Bfloat16Product | None, str]:
    """Return the product where this machine profits from it, and why or why not. Takes a tenth of a second.

    Args:
        dimension: length of a vector.
        threads: of one product.
        exact: what it competes with, the float32 product of (n, dimension) and (m, dimension).
        tuning: the numbers that aren't settings.
    """
    try:
        fast = Bfloat16Product(dimension, threads, tuning)
    except ImportError:
        return None, "OpenVINO isn't installed"
    except RuntimeError as error:
        return None, f"OpenVINO can't compile it: {str(error).strip().splitlines()[-1]}"
    vectors = np.random.default_rng(0).standard_normal((tuning.trial_rows, dimension), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rounded = split(vectors)[0]
    vectors = widened(rounded)
    queries = vectors[: tuning.trial_queries].copy()
    rounded_queries = rounded[: tuning.trial_queries]
    off = float(np.abs(fast(rounded, rounded_queries) - exact(vectors, queries)).max())
    if off > dimension * _ACCUMULATION:
        return None, f"OpenVINO's bfloat16 products are off by {off:.5f}"
    # In turn, so that other work on the same cores slows both sides.
    times = [
        (_seconds(exact, vectors, queries), _seconds(fast, rounded, rounded_queries))
        for _ in range(tuning.trial_rounds)
    ]
    exact_s, fast_s = (min(taken) for taken in zip(*times, strict=True))
    gain = exact_s / fast_s
    return (fast if gain >= tuning.trial_gain else None), f"bfloat16 products are {gain:.1f} × as fast as float32"


def _seconds(multiply: Callable[..., object], rows: NDArray[Any], queries: NDArray[Any]) -> float:
    started = time.perf_counter()
    multiply(rows, queries)
    return time.perf_counter() - started
