"""Measure the server's processor time of an exact hit, as a multiple of a bare grpc.aio echo of the same sizes.

`python -m benchmarks.exact_hit`. Both servers run on core 0, the generator on the others; the passes alternate.
"""

from __future__ import annotations

from benchmarks.load import COMPLETE, ECHO, Generators, Load, write_requests
from benchmarks.measurements import Measurement, ratios, report
from benchmarks.prompts import short_prompts
from benchmarks.server_process import ServerProcess, answer_mark, complete_request, scratch
from benchmarks.worker import Worker, cores
from semcache.v1 import semcache_pb2 as pb

ROUNDS = 9
ENTRIES = 2_500
CALLERS = 64
ANSWER_CHARS = 720


def main() -> None:
    texts = short_prompts(ENTRIES)
    first, *others = cores()
    with scratch() as folder, ServerProcess(folder, cores=[first], embedding={"threads": 1}) as server:
        server.fill(texts, None, ANSWER_CHARS)
        requests = [complete_request(text) for text in texts]
        sample = server.stub.Complete(pb.CompleteRequest.FromString(requests[0]))
        size = sample.ByteSize()
        exact = write_requests(folder / "exact", [(r, [answer_mark(n)]) for n, r in enumerate(requests)])
        echo = write_requests(folder / "echo", [(request, [str(size)]) for request in requests])
        generators = Generators(folder / "load.log", cores=others or [first])
        with Worker(
            "benchmarks.echo_server", "--bytes", str(size), log=folder / "echo.log", cores=[first]
        ) as echo_server:

            def one(kind: str) -> tuple[float, float, Load]:
                worker, address, method, path = (
                    (server, server.address, COMPLETE, exact)
                    if kind == "exact"
                    else (echo_server, echo_server.ready["address"], ECHO, echo)
                )
                before = worker.cpu_s()
                load = generators.run(
                    address=address, method=method, requests=path, start=0, count=ENTRIES, callers=CALLERS
                )
                good = load.count("exact_hit", "echo")
                if good != ENTRIES:
                    raise RuntimeError(f"only exact hits count: {dict(load.outcomes)}")
                return (worker.cpu_s() - before) / good * 1e6, good / load.wall_s, load

            for kind in ("echo", "exact", "echo", "exact"):
                one(kind)  # warms connections and caches
            rounds_by_kind = {"echo": [], "exact": []}
            for _ in range(ROUNDS):
                for kind, rounds in rounds_by_kind.items():
                    rounds.append(one(kind))
        generators.close()
    hit, bare = ([cpu for cpu, _, _ in rounds_by_kind[kind]] for kind in ("exact", "echo"))
    busy = [kind for kind, rounds in rounds_by_kind.items() if any(load.bottleneck for _, _, load in rounds)]
    report(
        "exact_hit",
        [
            Measurement("CPU per exact hit / CPU per echo", "×", ratios(hit, bare), at_most=1.5),
            Measurement("server CPU per exact hit", "µs", tuple(hit)),
            Measurement("server CPU per echo", "µs", tuple(bare)),
            Measurement("exact hits a second, one core", "/s", tuple(rate for _, rate, _ in rounds_by_kind["exact"])),
            Measurement("echoes a second, one core", "/s", tuple(rate for _, rate, _ in rounds_by_kind["echo"])),
        ],
        notes=[
            (
                f"{sum(map(len, requests)) // len(requests)} bytes in, {size} bytes out, {CALLERS} callers, "
                f"{ENTRIES} distinct prompts a round, {'core ' + str(first) + ' for the servers'}."
            ),
            f"The generator was the bottleneck of the rates: {', '.join(busy) or 'never'}; CPU per call stands anyhow.",
        ],
    )


if __name__ == "__main__":
    main()
