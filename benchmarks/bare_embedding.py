"""Run the server's embedding backend alone in a process: what a semantic hit is compared with."""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.worker import CACHE, Worker, questions, say

BATCH = 32


class BareEmbedding(Worker):
    """A process that embeds texts and measures its time."""

    def __init__(self, log: Path) -> None:
        super().__init__("benchmarks.bare_embedding", log=log)

    def batches(self, texts: Sequence[str], size: int = BATCH) -> dict[str, Any]:
        """Embed the texts in batches of `size` and return `cpu_s`, `wall_s`, and `latencies_s` of each batch."""
        return self.ask({"texts": list(texts), "size": size})

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors (n, d) in the server's own precision; a file keeps them between runs."""
        space = [self.ready["fingerprint"], self.ready["precision"]]
        name = hashlib.sha256("\0".join([*space, *texts]).encode()).hexdigest()[:32]
        path = CACHE / f"prompts-{name}.npy"
        if not path.exists():
            CACHE.mkdir(exist_ok=True)
            self.ask({"texts": list(texts), "size": BATCH, "save": str(path)})
        return np.asarray(np.load(path), dtype=np.float32)


async def _main() -> None:
    from semcache.embedding import open_embedder
    from semcache.settings import EmbeddingSettings

    embedder = open_embedder(EmbeddingSettings())
    say(asdict(embedder.stats()))
    for question in questions():
        texts, size = question["texts"], question["size"]
        latencies, vectors = [], []
        cpu_s, start = time.process_time(), time.perf_counter()
        for first in range(0, len(texts), size):
            asked = time.perf_counter()
            vectors.append(await embedder.embed(texts[first : first + size]))
            latencies.append(time.perf_counter() - asked)
        answer = {
            "wall_s": time.perf_counter() - start,
            "cpu_s": time.process_time() - cpu_s,
            "latencies_s": latencies,
        }
        if "save" in question:
            np.save(question["save"], np.concatenate(vectors))
        say(answer)


if __name__ == "__main__":
    import structlog

    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output carries the replies
    asyncio.run(_main())
