"""Measure semantic hits a second and CPU per hit at 10,000 entries and 64 callers, against GPTCache's in-process hits.

`python -m benchmarks.semantic_hit`. All short prompts, none sent twice, each a near rewording of a stored one. The
passes of the two alternate; nothing is pinned, since both may use the whole machine. Only right hits count: a hit
with another entry's answer doesn't.
"""

from __future__ import annotations

import json

import numpy as np

from benchmarks.bare_embedding import BareEmbedding
from benchmarks.gptcache import GptCache
from benchmarks.load import COMPLETE, Generators, write_requests
from benchmarks.measurements import Measurement, ratios, report
from benchmarks.prompts import rewordings, short_prompts
from benchmarks.server_process import ServerProcess, answer_mark, answer_text, complete_request, scratch

ENTRIES = 10_000
ROUNDS = 7
HITS = 2_560
GPTCACHE_HITS = 80
WARM = 320
CALLERS = 64
ANSWER_CHARS = 720
LEAST_HITS = 0.95


def main() -> None:
    texts = short_prompts(ENTRIES)
    asked = rewordings(texts, WARM + ROUNDS * HITS, seed=1)
    others = rewordings(texts, ROUNDS * GPTCACHE_HITS, seed=2)
    with scratch() as folder:
        with BareEmbedding(folder / "embedding.log") as embedding:
            vectors = embedding.vectors(texts)
        np.save(folder / "vectors.npy", vectors)
        answers = [(text, answer_text(number, ANSWER_CHARS)) for number, text in enumerate(texts)]
        (folder / "texts.json").write_text(json.dumps(answers))
        requests = write_requests(
            folder / "requests", [(complete_request(text), [answer_mark(number)]) for number, text in asked]
        )
        with (
            ServerProcess(folder) as server,
            GptCache(folder / "gptcache.log", folder / "texts.json", folder / "vectors.npy") as gptcache,
        ):
            server.fill(texts, vectors, ANSWER_CHARS)
            generators = Generators(folder / "load.log")
            loads, cpus, theirs, their_rates = [], [], [], []
            position = 0
            for count in [WARM] + [HITS] * ROUNDS:
                before = server.cpu_s()
                load = generators.run(
                    address=server.address,
                    method=COMPLETE,
                    requests=requests,
                    start=position,
                    count=count,
                    callers=CALLERS,
                )
                position += count
                if count == WARM:
                    continue
                loads.append(load)
                cpus.append(server.cpu_s() - before)
                done = len(theirs) * GPTCACHE_HITS
                pairs = [(text, answer_mark(number)) for number, text in others[done : done + GPTCACHE_HITS]]
                theirs.append(gptcache.ask({"pairs": pairs}))
            generators.close()
    hits = [load.count("semantic_hit") for load in loads]
    share = sum(hits) / sum(load.total for load in loads)
    rates = [hit / load.wall_s for hit, load in zip(hits, loads, strict=True)]
    their_hits = [answer["outcomes"]["hit"] for answer in theirs]
    their_rates = [hit / answer["wall_s"] for hit, answer in zip(their_hits, theirs, strict=True)]
    cpu_us = [cpu / hit * 1e6 for cpu, hit in zip(cpus, hits, strict=True)]
    their_cpu_us = [answer["cpu_s"] / hit * 1e6 for hit, answer in zip(their_hits, theirs, strict=True)]
    p50, p99 = zip(*(np.quantile(load.latencies_s, [0.5, 0.99]) * 1e3 for load in loads), strict=True)
    outcomes = sum((load.outcomes for load in loads[1:]), loads[0].outcomes)
    report(
        "semantic_hit",
        [
            Measurement("throughput / GPTCache's", "×", ratios(rates, their_rates), at_least=18),
            Measurement("semantic hits a second", "/s", tuple(rates)),
            Measurement("GPTCache's hits a second", "/s", tuple(their_rates)),
            Measurement("server CPU per semantic hit", "µs", tuple(cpu_us)),
            Measurement("GPTCache's CPU per hit", "µs", tuple(their_cpu_us)),
            Measurement("GPTCache's CPU per hit / semcache's", "×", ratios(their_cpu_us, cpu_us)),
            Measurement("generator's CPU per call", "µs", tuple(load.cpu_s / load.total * 1e6 for load in loads)),
            Measurement(
                "share of right hits",
                "",
                tuple(h / load.total for h, load in zip(hits, loads, strict=True)),
                at_least=LEAST_HITS,
            ),
            Measurement("latency p50", "ms", p50),
            Measurement("latency p99", "ms", p99),
            Measurement("GPTCache's embedding alone", "ms", tuple(answer["embedding_s"] * 1e3 for answer in theirs)),
        ],
        notes=[
            (
                f"{ENTRIES:,} entries in one partition, {CALLERS} callers, {HITS:,} distinct prompts a round; "
                f"outcomes: {dict(outcomes)}, {share:.1%} right hits at the shipped threshold."
            ),
            (
                f"GPTCache: one caller in its own process, one torch thread, float32, report row off; {GPTCACHE_HITS} "
                f"prompts a round, {sum(their_hits) / ROUNDS / GPTCACHE_HITS:.1%} right hits at the same cosine."
            ),
            (
                f"The generator {'WAS' if any(load.bottleneck for load in loads) else 'was not'} the bottleneck; it "
                "shares the machine's cores with the server."
            ),
        ],
        details={"embedder": embedding.ready, "server_start_s": server.ready_s},
    )


if __name__ == "__main__":
    main()
