"""Measure the rate of hits on prompts of mixed length, as a share of the bare embedding of the same texts, sorted.

`python -m benchmarks.mixed_lengths`. Unsorted, the batches would be padded to their longest text.
"""

from __future__ import annotations

from benchmarks.bare_embedding import BareEmbedding
from benchmarks.load import COMPLETE, Generators, write_requests
from benchmarks.measurements import Measurement, ratios, report
from benchmarks.prompts import mixed_prompts, rewordings
from benchmarks.server_process import ServerProcess, answer_mark, complete_request, scratch

ENTRIES = 1_000
ROUNDS = 5
HITS = 500
CALLERS = 64
ANSWER_CHARS = 720


def main() -> None:
    texts = mixed_prompts(ENTRIES)
    asked = rewordings(texts, ROUNDS * HITS, seed=5)
    with scratch() as folder:
        requests = write_requests(
            folder / "requests", [(complete_request(text), [answer_mark(number)]) for number, text in asked]
        )
        with BareEmbedding(folder / "embedding.log") as embedding, ServerProcess(folder) as server:
            server.fill(texts, embedding.vectors(sorted(texts, key=len))[_ranks(texts)], ANSWER_CHARS)
            generators = Generators(folder / "load.log")
            generators.run(
                address=server.address, method=COMPLETE, requests=requests, start=0, count=64, callers=CALLERS
            )
            ordered, served, right = [], [], []
            for number in range(ROUNDS):
                start = number * HITS
                part = [text for _, text in asked[start : start + HITS]]
                ordered.append(HITS / embedding.batches(sorted(part, key=len))["wall_s"])
                before = 64 if number == 0 else 0  # these were sent already, to warm up
                load = generators.run(
                    address=server.address,
                    method=COMPLETE,
                    requests=requests,
                    start=start + before,
                    count=HITS - before,
                    callers=CALLERS,
                )
                hits = load.count("semantic_hit")
                served.append(hits / load.wall_s)
                right.append(hits / load.total)
            generators.close()
    report(
        "mixed_lengths",
        [
            Measurement("hits a second / sorted embedding rate", "×", ratios(served, ordered), at_least=0.8),
            Measurement("semantic hits a second", "/s", tuple(served)),
            Measurement("sorted embedding, batches of 32", "/s", tuple(ordered)),
            Measurement("share of right hits", "", tuple(right), at_least=0.95),
        ],
        notes=[f"{ENTRIES:,} entries of 12 to 234 tokens, {CALLERS} callers, {HITS} distinct prompts a round."],
        details={"embedder": embedding.ready},
    )


def _ranks(texts: list[str]) -> list[int]:
    """Return each text's position among all texts sorted by length."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    ranks = [0] * len(texts)
    for rank, i in enumerate(order):
        ranks[i] = rank
    return ranks


if __name__ == "__main__":
    main()
