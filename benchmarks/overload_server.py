"""Run what `benchmarks.overload` puts under load, each in a process of its own: a server, or its upstream.

The server is the real one but for the device: a batch is computed by waiting for as long as a device would take.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import uvloop
from numpy.typing import NDArray

from benchmarks.worker import say
from semcache.embedding.backend import BackendInfo
from semcache.embedding.lanes import Lanes
from semcache.embedding.queue import TextQueue
from semcache.embedding.scheduling import CPU_MAX_TOKENS, CPU_PASS_TOKENS, BatchRule
from semcache.testing.embedder import HashingEmbedder

DIMENSION = 384
UPSTREAM_S = 0.05
"""Seconds until the upstream answers."""


class WaitingDevice:
    """A backend that waits instead of computing; its vectors are those of unrelated texts."""

    lanes = 1

    def __init__(self, text_s: float) -> None:
        self._text_s = text_s

    def forward(self, batch: Sequence[Sequence[int]], lane: int = 0) -> NDArray[np.float32]:
        del lane
        time.sleep(self._text_s * len(batch))
        seeds = [int.from_bytes(hashlib.blake2b(repr(ids).encode(), digest_size=8).digest(), "little") for ids in batch]
        vectors = np.array([np.random.default_rng(seed).standard_normal(DIMENSION) for seed in seeds], dtype=np.float32)
        unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit

    def info(self) -> BackendInfo:
        return BackendInfo("waiting", "1", "none", "fp32")

    def close(self) -> None:
        """Free nothing."""


class DeviceEmbedder(HashingEmbedder):
    """The hashing embedder's tokenizer before the real queue and lanes."""

    def __init__(self, text_s: float, max_wait_s: float) -> None:
        super().__init__(dimension=DIMENSION)
        self._queue = TextQueue(
            dimension=DIMENSION,
            rule=BatchRule(32, CPU_MAX_TOKENS, CPU_PASS_TOKENS),
            lanes=1,
            max_queue=2048,
            monotonic=time.monotonic,
            max_wait_s=max_wait_s,
        )
        self._lanes = Lanes(WaitingDevice(text_s), self._queue, dimension=DIMENSION, monotonic=time.monotonic)

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return await self._queue.submit([[hash(word) & 0x7FFF for word in text.split()] for text in texts])

    def queue_depth(self) -> int:
        return self._queue.depth

    def expected_wait_s(self) -> float:
        return self._queue.expected_wait_s()

    async def close(self) -> None:
        await self._lanes.close()


async def serve(values: dict[str, dict[str, object]], text_s: float) -> None:
    from semcache.observe.logs import configure_logging
    from semcache.server.app import Application
    from semcache.server.process import serve as serve_forever
    from semcache.settings import load_settings

    settings = load_settings(None, values)
    configure_logging(settings.log)

    def ready(application: Application) -> None:
        say({"address": application.address, "metrics_port": application.metrics_port})

    await serve_forever(settings, on_ready=ready, embedder=DeviceEmbedder(text_s, settings.server.max_wait_s))


async def answer() -> None:
    from semcache.testing.upstream import completion_body
    from semcache.testing.upstream_server import ScriptedServer, plain

    reply = plain(completion_body("An answer of some words. " * 20, model="gpt-4o-mini"), delay_s=UPSTREAM_S)
    async with ScriptedServer(lambda _: reply, keep_requests=False) as server:
        say({"base_url": server.base_url})
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=Path, help="none: be the upstream")
    parser.add_argument("--text-ms", type=float, default=5.0)
    options = parser.parse_args()
    if options.settings is None:
        uvloop.run(answer())
    else:
        uvloop.run(serve(json.loads(options.settings.read_text()), options.text_ms / 1000))


if __name__ == "__main__":
    main()
