"""Measure how long one caller waits for a semantic hit beyond the embedding alone, on an idle server.

`python -m benchmarks.latency`. The blocks alternate; both see prompts of the same kind, none twice.
"""

from __future__ import annotations

import numpy as np

from benchmarks.bare_embedding import BareEmbedding
from benchmarks.load import COMPLETE, Generators, write_requests
from benchmarks.measurements import Measurement, differences, report
from benchmarks.prompts import rewordings, short_prompts
from benchmarks.server_process import ServerProcess, answer_mark, complete_request, scratch
from semcache.v1 import semcache_pb2 as pb

ENTRIES = 10_000
ROUNDS = 9
CALLS = 150
STAGED = 100
ANSWER_CHARS = 720


def main() -> None:
    texts = short_prompts(ENTRIES)
    asked = rewordings(texts, (ROUNDS + 1) * CALLS, seed=4)
    with scratch() as folder:
        requests = write_requests(
            folder / "requests", [(complete_request(text), [answer_mark(number)]) for number, text in asked]
        )
        with BareEmbedding(folder / "embedding.log") as embedding, ServerProcess(folder) as server:
            server.fill(texts, embedding.vectors(texts), ANSWER_CHARS)
            generators = Generators(folder / "load.log")
            alone, whole, whole_p99 = [], [], []
            for number in range(ROUNDS + 1):
                start = number * CALLS
                part = [text for _, text in asked[start : start + CALLS]]
                alone.append(float(np.median(embedding.batches(part, size=1)["latencies_s"])) * 1e3)
                load = generators.run(
                    address=server.address, method=COMPLETE, requests=requests, start=start, count=CALLS, callers=1
                )
                if load.count("semantic_hit") < 0.95 * CALLS:
                    raise RuntimeError(f"too few hits: {dict(load.outcomes)}")
                whole.append(float(np.median(load.latencies_s)) * 1e3)
                whole_p99.append(float(np.quantile(load.latencies_s, 0.99)) * 1e3)
            generators.close()
            stages = _stages(server, [text for _, text in rewordings(texts, STAGED, seed=8)])
    alone, whole, whole_p99 = alone[1:], whole[1:], whole_p99[1:]  # the first round warms up
    report(
        "latency",
        [
            Measurement("p50 of a hit - p50 of the embedding", "ms", differences(whole, alone), at_most=1.5),
            Measurement("p50 of a semantic hit", "ms", tuple(whole)),
            Measurement("p99 of a semantic hit", "ms", tuple(whole_p99)),
            Measurement("p50 of the embedding alone", "ms", tuple(alone)),
            *(Measurement(f"server's stage: {stage}", "ms", tuple(values)) for stage, values in stages.items()),
        ],
        notes=[f"{ENTRIES:,} entries, one caller, {CALLS} distinct prompts a round; the client's side included."],
        details={"embedder": embedding.ready},
    )


def _stages(server: ServerProcess, texts: list[str]) -> dict[str, list[float]]:
    """Return the time of each stage as the server reports it, in milliseconds."""
    found: dict[str, list[float]] = {}
    for text in texts:
        response = server.stub.Complete(pb.CompleteRequest.FromString(complete_request(text)))
        for timing in response.outcome.stage_timings:
            found.setdefault(timing.stage, []).append(timing.duration_ns / 1e6)
    return found


if __name__ == "__main__":
    main()
