"""Measure the processor time of a semantic hit, single and by LookupBatch, as a multiple of the bare embedding's.

`python -m benchmarks.batch`. The bare embedding is the same backend in a process of its own, in batches of 32, with
prompts of the same kind. The three are measured in turn.
"""

from __future__ import annotations

from benchmarks.bare_embedding import BATCH, BareEmbedding
from benchmarks.load import COMPLETE, LOOKUP_BATCH, Generators, write_requests
from benchmarks.measurements import Measurement, ratios, report
from benchmarks.prompts import rewordings, short_prompts
from benchmarks.server_process import ServerProcess, answer_mark, batch_request, complete_request, scratch

ENTRIES = 10_000
ROUNDS = 7
HITS = 960
CALLERS = 64
BATCH_CALLERS = 2
ANSWER_CHARS = 720


def main() -> None:
    texts = short_prompts(ENTRIES)
    asked = rewordings(texts, (ROUNDS + 1) * HITS * 2, seed=3)
    singles, batched = asked[::2], asked[1::2]
    groups = [batched[start : start + BATCH] for start in range(0, len(batched), BATCH)]
    with scratch() as folder:
        one_by_one = write_requests(
            folder / "singles", [(complete_request(text), [answer_mark(number)]) for number, text in singles]
        )
        in_batches = write_requests(
            folder / "batches",
            [(batch_request(text for _, text in group), [answer_mark(n) for n, _ in group]) for group in groups],
        )
        with BareEmbedding(folder / "embedding.log") as embedding, ServerProcess(folder) as server:
            server.fill(texts, embedding.vectors(texts), ANSWER_CHARS)
            generators = Generators(folder / "load.log")

            def serve(method: str, round_number: int) -> float:
                single = method == COMPLETE
                count = HITS if single else HITS // BATCH
                before = server.cpu_s()
                load = generators.run(
                    address=server.address,
                    method=method,
                    requests=one_by_one if single else in_batches,
                    start=round_number * count,
                    count=count,
                    callers=CALLERS if single else BATCH_CALLERS,
                )
                hits = load.count("semantic_hit")
                if hits < 0.95 * HITS:
                    raise RuntimeError(f"too few hits: {dict(load.outcomes)}")
                return (server.cpu_s() - before) / hits * 1e6

            found: dict[str, list[float]] = {"bare": [], "single": [], "batch": []}
            for number in range(ROUNDS + 1):
                part = [text for _, text in singles[number * HITS : (number + 1) * HITS]]
                found["bare"].append(embedding.batches(part)["cpu_s"] / HITS * 1e6)
                found["single"].append(serve(COMPLETE, number))
                found["batch"].append(serve(LOOKUP_BATCH, number))
            generators.close()
    bare, single, batch = (found[kind][1:] for kind in ("bare", "single", "batch"))  # the first round warms up
    report(
        "batch",
        [
            Measurement("CPU per hit / bare embedding", "×", ratios(single, bare), at_most=1.8),
            Measurement("the same by LookupBatch", "×", ratios(batch, bare), at_most=1.3),
            Measurement("server CPU per semantic hit", "µs", tuple(single)),
            Measurement("server CPU per hit by LookupBatch", "µs", tuple(batch)),
            Measurement("CPU per bare embedding", "µs", tuple(bare)),
        ],
        notes=[
            f"{ENTRIES:,} entries, {CALLERS} callers; LookupBatch: {BATCH} items a call, {BATCH_CALLERS} callers.",
            (
                f"Bare: {embedding.ready['backend']} {embedding.ready['precision']}, batches of {BATCH}, "
                "tokenising included."
            ),
        ],
        details={"embedder": embedding.ready},
    )


if __name__ == "__main__":
    main()
