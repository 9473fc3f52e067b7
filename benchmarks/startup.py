"""Measure the start with 100,000 stored entries beyond loading the model, and the memory per loaded entry.

`python -m benchmarks.startup [--entries N]`. The entries come in through StoreBatch with random unit vectors,
the server is stopped and started again on that store; the time runs from the process's start to its readiness.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from benchmarks.measurements import Measurement, report
from benchmarks.server_process import ServerProcess, complete_request, scratch
from semcache.v1 import semcache_pb2 as pb

ENTRIES = 100_000
ROUNDS = 5
DIMENSION = 384
ANSWER_CHARS = 200
SETTLED_S = 60.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=ENTRIES)
    count = parser.parse_args().entries
    vectors = np.random.default_rng(6).standard_normal((count, DIMENSION), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = [f"stored question number {number}" for number in range(count)]
    with scratch() as folder:
        started = time.monotonic()
        with ServerProcess(folder) as server:
            server.fill(texts, vectors, ANSWER_CHARS, batch=256)
        filled_s = time.monotonic() - started
        beyond, total, own, resident, first_ms = [], [], [], [], []
        kinds = ""
        for _ in range(ROUNDS):
            seen = len(server.events("embedding.opened"))
            with ServerProcess(folder) as server:
                model_s = float(str(server.events("embedding.opened")[seen]["seconds"]))
                total.append(server.ready_s)
                beyond.append(server.ready_s - model_s)
                request = pb.CompleteRequest.FromString(complete_request("something that nobody has stored"))
                request.control.mode = pb.CACHE_MODE_CACHE_ONLY
                request.prompt.namespace = "empty"
                _miss(server, request)  # loads what a first request needs, except the partition
                before = server.memory()
                request.prompt.namespace = ""
                asked = time.perf_counter()
                _miss(server, request)
                first_ms.append((time.perf_counter() - asked) * 1e3)
                kinds = _settle(server)
                after = server.memory()
                own.append((after.anonymous - before.anonymous) / count)
                resident.append((after.resident - before.resident) / count)
    report(
        "startup",
        [
            Measurement("start-up beyond loading the model", "s", tuple(beyond), at_most=5),
            Measurement("start-up in all", "s", tuple(total)),
            Measurement("memory per loaded entry", "B", tuple(own), at_most=2500),
            Measurement("the same with file pages", "B", tuple(resident)),
            Measurement("first search, partition not loaded", "ms", tuple(first_ms)),
        ],
        notes=[
            (
                f"{count:,} entries of {DIMENSION} dimensions in one partition, indexed as {kinds}; "
                f"stored in {filled_s:.0f} s."
            ),
            (
                "Memory: anonymous bytes after the first search and after training, less those before it; file pages "
                "are the store's, which the kernel takes back when it needs them."
            ),
        ],
    )


def _miss(server: ServerProcess, request: pb.CompleteRequest) -> None:
    import grpc

    try:
        server.stub.Complete(request, timeout=120)
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        return
    raise RuntimeError("nothing should have been found")


def _settle(server: ServerProcess) -> str:
    """Wait until the processor is idle (the index has been trained), and return the kinds of index."""
    deadline, last = time.monotonic() + SETTLED_S, server.cpu_s()
    while time.monotonic() < deadline:
        time.sleep(1.0)
        now = server.cpu_s()
        if now - last < 0.1:
            break
        last = now
    stats = server.stub.GetStats(pb.GetStatsRequest()).indexes
    return ", ".join(f"{kind.kind}: {kind.vectors:,}" for kind in stats if kind.vectors)


if __name__ == "__main__":
    main()
