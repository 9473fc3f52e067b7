"""Forward passes with attention as OpenVINO fuses it and with its products apart: the ratio of their times.

`python -m benchmarks.attention`. One thread; the precision that the server takes here.
"""

from __future__ import annotations

import asyncio
import sys
import time

import structlog

from benchmarks.measurements import Measurement, ratios, report

ROUNDS = 21
SHAPES = ((1, 14), (8, 14), (32, 14), (8, 56), (4, 112), (4, 224))
"""Texts of a pass and tokens of each."""


def main() -> None:
    from semcache.embedding import open_embedder, openvino_backend
    from semcache.embedding.backend import Backend
    from semcache.embedding.factory import Choice, open_backend
    from semcache.embedding.models import find_model
    from semcache.settings import EmbeddingSettings

    settings = EmbeddingSettings()
    embedder = open_embedder(settings)
    chosen = embedder.stats()
    asyncio.run(embedder.close())
    if chosen.backend != "openvino":
        sys.exit(f"attention: the embedding runs on {chosen.backend} here, and OpenVINO is what fuses it")
    files = find_model(settings.model)

    def opened(options: dict[str, str]) -> Backend:
        openvino_backend.ATTENTION = options
        return open_backend(settings, Choice("openvino", "cpu", chosen.precision, "as measured"), files, 1)

    with structlog.testing.capture_logs() as logs:
        apart, fused = opened(openvino_backend.ATTENTION), opened({})
    if any(line["event"] == "embedding.attention_fused" for line in logs):
        sys.exit("attention: this OpenVINO doesn't take it apart")
    measurements = []
    for texts, tokens in SHAPES:
        batch = [range(1000, 1000 + tokens)] * texts
        times: dict[str, list[float]] = {"apart": [], "fused": []}
        for _ in range(ROUNDS + 2):
            for name, backend in (("apart", apart), ("fused", fused)):
                started = time.perf_counter()
                backend.forward(batch)
                times[name].append(1e3 * (time.perf_counter() - started))
        of_apart, of_fused = tuple(times["apart"][2:]), tuple(times["fused"][2:])  # the first two warm up
        measurements += [
            Measurement(f"{texts} × {tokens} tokens: apart / fused", "×", ratios(of_apart, of_fused)),
            Measurement(f"{texts} × {tokens} tokens: apart", "ms", of_apart),
        ]
    report("attention", measurements, notes=[f"openvino {apart.info().version}, {chosen.precision}, one thread."])


if __name__ == "__main__":
    main()
