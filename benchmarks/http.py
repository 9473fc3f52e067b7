"""Measure the server's processor time of an exact hit over HTTP/1.1, beside gRPC's and a bare Starlette echo's.

`python -m benchmarks.http`. The servers run on the first core, the generators on the others; the passes alternate. The
generator of HTTP is `wrk` (Debian's package), which is no Python; gRPC's is that of `benchmarks.exact_hit`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.load import COMPLETE, Generators, write_requests
from benchmarks.measurements import Measurement, ratios, report
from benchmarks.prompts import short_prompts
from benchmarks.server_process import ServerProcess, answer_mark, complete_request, prompt, scratch
from benchmarks.worker import Worker, cores

ROUNDS = 7
ENTRIES = 2_500
CALLERS = 64
ANSWER_CHARS = 720
PASS_S = 2
PATH = "/v1/chat/completions"
_SCRIPT = """
local bodies = {}
for line in io.lines("BODIES") do
  bodies[#bodies + 1] = wrk.format("POST", nil, {["Content-Type"] = "application/json"}, line)
end
local position = 0
request = function()
  position = position % #bodies + 1
  return bodies[position]
end
"""


def wrk(address: str, script: Path, others: list[int], first: int) -> tuple[int, float]:
    """Return the good answers of one pass, and its seconds.

    Raises:
        RuntimeError: an answer was no success.
    """
    command = ["wrk", "-t1", f"-c{CALLERS}", f"-d{PASS_S}s", "-s", str(script), f"http://{address}{PATH}"]
    said = subprocess.run(
        ["taskset", "-c", ",".join(map(str, others or [first])), *command], capture_output=True, text=True, check=True
    ).stdout
    counts = re.search(r"(\d+) requests in ([\d.]+)s", said)
    if counts is None or "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(f"wrk had answers that don't count:\n{said}")
    return int(counts[1]), float(counts[2])


def main() -> None:
    if shutil.which("wrk") is None:
        sys.exit("benchmarks.http needs the program wrk: apt-get install wrk")
    texts = short_prompts(ENTRIES)
    first, *others = cores()
    os.sched_setaffinity(0, others or [first])
    with scratch() as folder, ServerProcess(folder, cores=[first], embedding={"threads": 1}) as server:
        server.fill(texts, None, ANSWER_CHARS)
        grpc_requests = [complete_request(text) for text in texts]
        exact = write_requests(folder / "exact", [(r, [answer_mark(n)]) for n, r in enumerate(grpc_requests)])
        bodies, script = folder / "bodies", folder / "requests.lua"
        sent = [prompt(text).openai_json for text in texts]
        bodies.write_bytes(b"\n".join(sent) + b"\n")
        script.write_text(_SCRIPT.replace("BODIES", str(bodies)))
        generators = Generators(folder / "load.log", cores=others or [first])
        size = _answer_bytes(server.ready["http_address"], sent[0])
        with Worker(
            "benchmarks.http_echo_server", "--bytes", str(size), log=folder / "echo.log", cores=[first]
        ) as echo_server:

            def one(kind: str) -> tuple[float, float]:
                """Return microseconds of processor a call, and calls a second."""
                worker = echo_server if kind == "echo" else server
                before = worker.cpu_s()
                if kind == "grpc":
                    load = generators.run(
                        address=server.address, method=COMPLETE, requests=exact, start=0, count=ENTRIES, callers=CALLERS
                    )
                    good, wall_s = load.count("exact_hit"), load.wall_s
                    if good != ENTRIES:
                        raise RuntimeError(f"only exact hits count: {dict(load.outcomes)}")
                else:
                    address = worker.ready["address" if kind == "echo" else "http_address"]
                    good, wall_s = wrk(address, script, others, first)
                return (worker.cpu_s() - before) / good * 1e6, good / wall_s

            rounds: dict[str, list[tuple[float, float]]] = {"echo": [], "grpc": [], "http": []}
            for kind in rounds:
                one(kind)  # warms connections and caches
            for _ in range(ROUNDS):
                for kind, measured in rounds.items():
                    measured.append(one(kind))
        generators.close()
    cpu = {kind: [each for each, _ in measured] for kind, measured in rounds.items()}
    report(
        "http",
        [
            Measurement("CPU per exact hit, HTTP / gRPC", "×", ratios(cpu["http"], cpu["grpc"]), at_most=0.8),
            Measurement(
                "CPU per exact hit / CPU per Starlette echo", "×", ratios(cpu["http"], cpu["echo"]), at_most=2.5
            ),
            Measurement("server CPU per exact hit over HTTP", "µs", tuple(cpu["http"])),
            Measurement("server CPU per exact hit over gRPC", "µs", tuple(cpu["grpc"])),
            Measurement("server CPU per Starlette echo", "µs", tuple(cpu["echo"])),
            Measurement("exact hits a second over HTTP", "/s", tuple(rate for _, rate in rounds["http"])),
        ],
        notes=[f"{size} bytes of answer, {CALLERS} callers, {ENTRIES} distinct prompts, wrk on core {others}."],
    )


def _answer_bytes(address: str, sent: bytes) -> int:
    """Return the size of an answer's body, and check that it is a hit."""
    import httpx2

    answer = httpx2.post(
        f"http://{address}{PATH}", content=sent, headers={"content-type": "application/json"}, trust_env=False
    )
    if answer.headers.get("x-cache-match") != "exact":
        raise RuntimeError(f"no exact hit: {answer.status_code} {dict(answer.headers)}")
    return len(answer.content)


if __name__ == "__main__":
    main()
