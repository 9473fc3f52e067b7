"""Search times of `TorchGpu`, `FaissGpu` and `Flat` on the CPU, with recall and the cost of the upload."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semcache.index.rows import Rows
from semcache.index.strategies.flat import Flat
from semcache.index.strategies.strategy import Strategy

DIMENSION = 384
SIZES = (10_000, 100_000, 1_000_000)
BATCHES = (1, 32)
K = 5
ROUNDS = 5
ROUND_S = 0.05
FLOAT_SLACK = 2e-6
"""By how much a sum of 384 products in float32 may be off."""


def measure(device: str, ends_s: float, sizes: tuple[int, ...] = SIZES) -> list[dict[str, Any]]:
    """Return one row for each strategy, size and batch that is measured before `ends_s` of the monotonic clock.

    Args:
        device: torch's name of the GPU; the tests pass "cpu".
        ends_s: seconds; no size is begun after it.
        sizes: vectors in the partition.
    """
    results: list[dict[str, Any]] = []
    for size in sizes:
        if time.monotonic() > ends_s:
            results.append({"vectors": size, "skipped": "no time was left"})
            continue
        vectors = np.random.default_rng(7).standard_normal((size, DIMENSION), dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        queries = _near(vectors[: max(BATCHES)])
        rows = Rows(np.arange(size), vectors)
        best = _exact_best(vectors, queries)
        for name, open_strategy in _openers(device).items():
            started_s = time.perf_counter()
            strategy = open_strategy(rows)
            upload_s = time.perf_counter() - started_s
            results += [
                {
                    "strategy": name,
                    "vectors": size,
                    "queries": batch,
                    "search_ms": _search_ms(strategy, queries[:batch]),
                    "recall_at_5": _recall(strategy, queries, best),
                    "upload_ms": round(upload_s * 1e3, 3),
                }
                for batch in BATCHES
            ]
            del strategy
    return results


def _openers(device: str) -> dict[str, Callable[[Rows], Strategy]]:
    import torch

    from semcache.index.strategies.torch_gpu import TorchGpu

    def open_torch(rows: Rows) -> Strategy:
        strategy = TorchGpu(rows.ids, rows.matrix, device=device)
        if device == "cuda":
            torch.cuda.synchronize()
        return strategy

    openers: dict[str, Callable[[Rows], Strategy]] = {"TorchGpu": open_torch}
    try:
        import faiss
    except ImportError:
        faiss = None
    if faiss is not None and getattr(faiss, "get_num_gpus", lambda: 0)():
        from semcache.index.strategies.faiss_gpu import FaissGpu, gpu_flat_factory

        empty = gpu_flat_factory(DIMENSION)
        openers["FaissGpu"] = lambda rows: FaissGpu(empty, rows)
    openers["Flat"] = lambda rows: Flat(rows, numpy_below=256)
    return openers


def _near(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Queries near stored vectors, as a cache's are."""
    queries = vectors + 0.02 * np.random.default_rng(8).standard_normal(vectors.shape).astype(np.float32)
    return np.ascontiguousarray(queries / np.linalg.norm(queries, axis=1, keepdims=True), dtype=np.float32)


def _exact_best(vectors: NDArray[np.float32], queries: NDArray[np.float32]) -> NDArray[np.float64]:
    """The K best cosines of each query in float64, descending, (queries, K)."""
    best = np.full((len(queries), K), -np.inf)
    for start in range(0, len(vectors), 50_000):
        cosines = queries.astype(np.float64) @ vectors[start : start + 50_000].T.astype(np.float64)
        best = -np.sort(-np.concatenate([best, cosines], axis=1), axis=1)[:, :K]
    return best


def _recall(strategy: Strategy, queries: NDArray[np.float32], best: NDArray[np.float64]) -> float:
    """The share of neighbours whose cosine reaches the exact K-th best, and is itself exact."""
    good = 0
    for neighbours, exact in zip(strategy.search(queries, K), best, strict=True):
        good += sum(abs(n.similarity - cosine) <= FLOAT_SLACK for n, cosine in zip(neighbours, exact, strict=True))
    return good / best.size


def _search_ms(strategy: Strategy, queries: NDArray[np.float32]) -> dict[str, float]:
    """Milliseconds of one search of all queries: the median of the rounds with their range."""
    strategy.search(queries, K)
    started_s = time.perf_counter()
    strategy.search(queries, K)
    repeats = max(1, int(ROUND_S / (time.perf_counter() - started_s)))
    rounds = []
    for _ in range(ROUNDS):
        started_s = time.perf_counter()
        for _ in range(repeats):
            strategy.search(queries, K)
        rounds.append((time.perf_counter() - started_s) / repeats * 1e3)
    return {"median": float(np.median(rounds)), "low": min(rounds), "high": max(rounds)}
