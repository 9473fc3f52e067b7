"""The same work on a GPU and on the processor: embedding with torch, flat search with FAISS. Skips without a GPU.

`python -m benchmarks.gpu`; needs the `gpu` extra.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable

import numpy as np

from benchmarks.figures import Figure, ratios, report
from benchmarks.prompts import mixed_prompts, short_prompts

ROUNDS = 5
DIMENSION = 384
SIZES = (10_000, 100_000, 1_000_000)
QUERIES = 32


def main() -> None:
    import faiss
    import torch

    missing = [] if torch.cuda.is_available() else ["torch sees no GPU"]
    if not getattr(faiss, "get_num_gpus", lambda: 0)():
        missing.append("faiss sees no GPU")
    if missing:
        reason = " and ".join(missing)
        print(f"skipped: {reason}")
        print(json.dumps({"benchmark": "gpu", "skipped": reason}))
        return
    figures = [*_embedding("short", short_prompts(2_048)), *_embedding("mixed", mixed_prompts(1_024))]
    for size in SIZES:
        figures += _search(size)
    report(
        "gpu", figures, notes=[f"{torch.cuda.get_device_name()}; torch {torch.__version__}, faiss {faiss.__version__}"]
    )


def _embedding(kind: str, texts: list[str]) -> list[Figure]:
    from semcache.embedding import open_embedder
    from semcache.settings import EmbeddingSettings

    async def rates() -> dict[str, list[float]]:
        embedders = {
            "GPU": open_embedder(EmbeddingSettings(backend="torch", device="cuda")),
            "CPU": open_embedder(EmbeddingSettings(device="cpu")),
        }
        found: dict[str, list[float]] = {name: [] for name in embedders}
        for number in range(ROUNDS + 1):
            for name, embedder in embedders.items():
                part = texts if name == "GPU" else texts[:256]
                start = time.perf_counter()
                await embedder.embed(part)
                if number:  # the first is warming up
                    found[name].append(len(part) / (time.perf_counter() - start))
        for embedder in embedders.values():
            await embedder.close()
        return found

    found = asyncio.run(rates())
    return [
        Figure(f"embedding, {kind}: GPU / CPU", "×", ratios(found["GPU"], found["CPU"])),
        Figure(f"embedding, {kind}: GPU", "/s", tuple(found["GPU"])),
        Figure(f"embedding, {kind}: CPU", "/s", tuple(found["CPU"])),
    ]


def _search(size: int) -> list[Figure]:
    import faiss

    vectors = np.random.default_rng(7).standard_normal((size, DIMENSION), dtype=np.float32)
    faiss.normalize_L2(vectors)
    queries = np.ascontiguousarray(vectors[:QUERIES])
    flat = faiss.IndexFlatIP(DIMENSION)
    flat.add(vectors)
    resources = faiss.StandardGpuResources()
    on_gpu = faiss.index_cpu_to_gpu(resources, 0, flat)
    searches: dict[str, Callable[[], object]] = {
        "GPU": lambda: on_gpu.search(queries, 5),
        "CPU": lambda: flat.search(queries, 5),
    }
    found: dict[str, list[float]] = {name: [] for name in searches}
    for number in range(ROUNDS + 1):
        for name, search in searches.items():
            start = time.perf_counter()
            search()
            if number:
                found[name].append((time.perf_counter() - start) / QUERIES * 1e3)
    return [
        Figure(f"flat search of {size:,}: CPU / GPU", "×", ratios(found["CPU"], found["GPU"])),
        Figure(f"flat search of {size:,}: GPU, a query", "ms", tuple(found["GPU"])),
        Figure(f"flat search of {size:,}: CPU, a query", "ms", tuple(found["CPU"])),
    ]


if __name__ == "__main__":
    main()
