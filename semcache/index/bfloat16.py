"""Exact search over rounded vectors: bfloat16 products, which a processor has units for, tell whom to look at closely.

A float32 is kept as two halves of 16 bits: its bfloat16, rounded, and what that took from it. The product of rounded
vectors differs from the cosine by at most `product_errors`, so that only a few rows can be among the nearest; their
cosines come from the whole float32.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ACCUMULATION = 2.0**-23
"""The largest error of a sum in float32, per summand and for sums of magnitudes up to 1."""
_SLACK = 1e-4
"""For the errors' own rounding, and for unit vectors whose length is off by some 1e-6."""
_SHAPES = 64
"""Counts of rows and queries (a power of two) for which OpenVINO has compiled the product, from which on it begins
anew: each takes 0.5 MB that nothing else gives back, and half a millisecond to make; to begin takes 10 ms."""

_TRIAL_ROWS = 4096
_TRIAL_QUERIES = 32
_TRIAL_ROUNDS = 5
_WORTH = 1.3
"""How much faster a product must be, for what the closer look takes."""


def split(vectors: NDArray[np.float32]) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Vectors as bfloat16, and the lower halves of their float32. Rounds to the nearest, halves away from zero."""
    bits = np.ascontiguousarray(vectors, dtype=np.float32).view(np.uint32)
    high, low = ((bits + 0x8000) >> 16).astype(np.uint16), bits.astype(np.uint16)
    return high, low


def join(high: NDArray[np.uint16], low: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The float32 that were split, bit for bit."""
    bits = (high - (low >> 15)).astype(np.uint32)  # a lower half from 0x8000 on had been rounded up
    bits <<= 16
    bits |= low
    return bits.view(np.float32)


def widened(high: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Rounded vectors as float32."""
    return (high.astype(np.uint32) << 16).view(np.float32)


def rounding_errors(vectors: NDArray[np.float32], high: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The lengths of what rounding took from vectors, (n,): at most 2⁻⁸ of theirs, mostly half of that."""
    lengths: NDArray[np.float32] = np.linalg.norm(vectors - widened(high), axis=1)
    return lengths


def product_errors(rows_error: float, queries: NDArray[np.float32], rounded: NDArray[np.uint16]) -> NDArray[np.float32]:
    """By how much the product of a rounded row with each rounded query can differ from their cosine, (m,).

    By the triangle inequality: what rounding took from the query, times the row's length of 1, what it took from the
    row, times the rounded query's, and what the sum of so many products can be off.

    Args:
        rows_error: the largest of the rows' `rounding_errors`.
        queries: unit vectors, (m, dimension).
        rounded: the same as bfloat16.
    """
    of_queries = rounding_errors(queries, rounded)
    errors: NDArray[np.float32] = of_queries + (1 + of_queries) * rows_error + queries.shape[1] * _ACCUMULATION
    return errors * np.float32(1 + _SLACK)


class Bfloat16Product:
    """Inner products of bfloat16 vectors, summed in float32, by OpenVINO on the CPU. Not thread-safe.

    Args:
        dimension: length of a vector.
        threads: of one product.

    Raises:
        ImportError: OpenVINO isn't installed.
        RuntimeError: it can't compile the product.
    """

    def __init__(self, dimension: int, threads: int) -> None:
        import openvino
        from openvino import opset13

        vectors = [opset13.parameter([-1, dimension], openvino.Type.bf16) for _ in range(2)]
        # The conversions are for the type of the sum: the plugin multiplies bfloat16 where the processor can.
        rows, queries = (opset13.convert(each, openvino.Type.f32) for each in vectors)
        model = openvino.Model([opset13.matmul(rows, queries, False, True)], vectors, "products")
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
        self._shapes: set[tuple[int, int]] = set()

    def __call__(self, rows: NDArray[np.uint16], queries: NDArray[np.uint16]) -> NDArray[np.float32]:
        """(n, dimension) and (m, dimension) to (n, m); a view that the next call invalidates."""
        count = len(queries)
        some = np.zeros((1 << (count - 1).bit_length(), queries.shape[1]), dtype=np.uint16)
        some[:count] = queries
        shape = (len(rows), len(some))
        if shape not in self._shapes:
            if len(self._shapes) >= _SHAPES:
                self._request = self._compile()
                self._shapes.clear()
            self._shapes.add(shape)
        self._request.set_input_tensor(0, self._tensor(rows))
        self._request.set_input_tensor(1, self._tensor(some))
        self._request.infer()
        found: NDArray[np.float32] = self._request.get_output_tensor(0).data[:, :count]
        return found


def open_product(
    dimension: int,
    threads: int,
    exact: Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]],
) -> tuple[Bfloat16Product | None, str]:
    """The product when this machine profits from it, and why or why not. Takes a tenth of a second.

    Args:
        dimension: length of a vector.
        threads: of one product.
        exact: what it competes with, the float32 product of (n, dimension) and (m, dimension).
    """
    try:
        fast = Bfloat16Product(dimension, threads)
    except ImportError:
        return None, "OpenVINO isn't installed"
    except RuntimeError as error:
        return None, f"OpenVINO can't compile it: {str(error).strip().splitlines()[-1]}"
    vectors = np.random.default_rng(0).standard_normal((_TRIAL_ROWS, dimension), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rounded = split(vectors)[0]
    vectors = widened(rounded)
    queries = vectors[:_TRIAL_QUERIES].copy()
    rounded_queries = rounded[:_TRIAL_QUERIES]
    off = float(np.abs(fast(rounded, rounded_queries) - exact(vectors, queries)).max())
    if off > dimension * _ACCUMULATION:
        return None, f"OpenVINO's bfloat16 products are off by {off:.5f}"
    # In turn, so that a neighbour's burst on the same cores slows both and not one.
    times = [
        (_seconds(exact, vectors, queries), _seconds(fast, rounded, rounded_queries)) for _ in range(_TRIAL_ROUNDS)
    ]
    exact_s, fast_s = (min(taken) for taken in zip(*times, strict=True))
    gain = exact_s / fast_s
    return (fast if gain >= _WORTH else None), f"bfloat16 products are {gain:.1f} × as fast as float32"


def _seconds(multiply: Callable[..., object], rows: NDArray[Any], queries: NDArray[Any]) -> float:
    started = time.perf_counter()
    multiply(rows, queries)
    return time.perf_counter() - started
