"""Generate load in a process of its own: N callers in a closed loop; every status and every answer is checked.

The requests are bytes that were made before; each is sent once per pass. The generator measures its own processor time,
and says so if it limited the rate instead of the server.
"""

from __future__ import annotations

import asyncio
import json
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import uvloop

from benchmarks.worker import Worker, reply
from semcache.v1 import semcache_pb2 as pb

COMPLETE = "/semcache.v1.SemanticCacheService/Complete"
LOOKUP_BATCH = "/semcache.v1.SemanticCacheService/LookupBatch"
ECHO = "/benchmarks.Echo/Echo"
BUSY = 0.9
"""Above this share of a core the generator itself is taken for the bottleneck."""
_HEAD = struct.Struct("<II")
Check = Callable[[bytes, list[str], Counter[str]], None]


@dataclass(frozen=True, slots=True)
class Load:
    """The results of one pass.

    Attributes:
        outcomes: counts of calls (for a batch: of items) by their end: "exact_hit", "semantic_hit", "miss", …, the gRPC
            code of an error, or "other_answer" for a hit with the answer of another entry.
        latencies_s: seconds of every call.
        cpu_s: processor seconds of the generators.
    """

    wall_s: float
    cpu_s: float
    outcomes: Counter[str]
    latencies_s: list[float]
    bottleneck: bool

    def count(self, *names: str) -> int:
        return sum(self.outcomes[name] for name in names)

    @property
    def total(self) -> int:
        return self.outcomes.total()


class Generators:
    """One or more generator processes that share a pass."""

    def __init__(self, log: Path, *, processes: int = 1, cores: Iterable[int] | None = None) -> None:
        self._workers = [Worker("benchmarks.load", log=log, cores=cores) for _ in range(processes)]

    def run(
        self, *, address: str, method: str, requests: Path, start: int, count: int, callers: int, wait: float = 60.0
    ) -> Load:
        """Send requests `start` to `start + count` of the file, `callers` at a time.

        Raises:
            RuntimeError: a generator ended.
        """
        share = len(self._workers)
        edges = [start + count * i // share for i in range(share + 1)]
        jobs = [
            {
                "address": address,
                "method": method,
                "requests": str(requests),
                "start": low,
                "count": high - low,
                "callers": max(1, callers // share),
                "timeout_s": wait,
            }
            for low, high in pairwise(edges)
        ]
        with ThreadPoolExecutor(share) as pool:
            answers = list(pool.map(lambda pair: pair[0].ask(pair[1]), zip(self._workers, jobs, strict=True)))
        return Load(
            wall_s=max(answer["wall_s"] for answer in answers),
            cpu_s=sum(answer["cpu_s"] for answer in answers),
            outcomes=sum((Counter(answer["outcomes"]) for answer in answers), Counter()),
            latencies_s=[latency for answer in answers for latency in answer["latencies_s"]],
            bottleneck=any(answer["cpu_s"] > BUSY * answer["wall_s"] for answer in answers),
        )

    def close(self) -> None:
        for worker in self._workers:
            worker.close()


def write_requests(path: Path, requests: Sequence[tuple[bytes, list[str]]]) -> Path:
    """Write serialised requests, each with the beginnings of its right answers (none: any answer is right)."""
    with path.open("wb") as file:
        for request, expected in requests:
            text = json.dumps(expected).encode()
            file.write(_HEAD.pack(len(request), len(text)) + request + text)
    return path


def _read_requests(path: Path) -> list[tuple[bytes, list[str]]]:
    raw, position, calls = path.read_bytes(), 0, []
    while position < len(raw):
        size, text_size = _HEAD.unpack_from(raw, position)
        position += _HEAD.size
        request = raw[position : position + size]
        calls.append((request, json.loads(raw[position + size : position + size + text_size])))
        position += size + text_size
    return calls


def _status(outcome: pb.Outcome, text: str, expected: str) -> str:
    name = pb.Status.Name(outcome.status).removeprefix("STATUS_").lower()
    return "other_answer" if name.endswith("_hit") and not text.startswith(expected) else name


def _check_complete(raw: bytes, expected: list[str], outcomes: Counter[str]) -> None:
    response = pb.CompleteResponse.FromString(raw)
    outcomes[_status(response.outcome, response.text, expected[0])] += 1


def _check_batch(raw: bytes, expected: list[str], outcomes: Counter[str]) -> None:
    results = pb.LookupBatchResponse.FromString(raw).results
    outcomes["missing"] += len(expected) - len(results)
    for result, text in zip(results, expected, strict=False):
        if result.HasField("error"):
            outcomes[f"error {result.error.reason}"] += 1
        else:
            outcomes[_status(result.response.outcome, result.response.text, text)] += 1


def _check_echo(raw: bytes, expected: list[str], outcomes: Counter[str]) -> None:
    outcomes["echo" if len(raw) == int(expected[0]) else "wrong size"] += 1


CHECKS: dict[str, Check] = {COMPLETE: _check_complete, LOOKUP_BATCH: _check_batch, ECHO: _check_echo}


class _Generator:
    def __init__(self) -> None:
        self._files: dict[str, list[tuple[bytes, list[str]]]] = {}
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def run(self, job: dict[str, Any]) -> dict[str, Any]:
        path = job["requests"]
        if path not in self._files:
            self._files[path] = _read_requests(Path(path))
        work = iter(self._files[path][job["start"] : job["start"] + job["count"]])
        channel = self._channels.setdefault(job["address"], grpc.aio.insecure_channel(job["address"]))
        # No serialiser: bytes in, bytes out.
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(job["method"])
        check = CHECKS[job["method"]]
        outcomes: Counter[str] = Counter()
        latencies: list[float] = []

        async def caller() -> None:
            for request, expected in work:
                sent = time.perf_counter()
                try:
                    raw = await call(request, timeout=job["timeout_s"])
                except grpc.aio.AioRpcError as error:
                    outcomes[f"{error.code().name}: {error.details()}"[:120]] += 1
                    continue
                latencies.append(time.perf_counter() - sent)
                check(raw, expected, outcomes)

        cpu_s, start = time.process_time(), time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(job["callers"])))
        return {
            "wall_s": time.perf_counter() - start,
            "cpu_s": time.process_time() - cpu_s,
            "outcomes": outcomes,
            "latencies_s": latencies,
        }


if __name__ == "__main__":
    uvloop.run(reply(_Generator().run))
