"""Generate load in a process of its own, in an open loop: calls begin at their times, whatever others take."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import grpc
import uvloop
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from benchmarks.load import COMPLETE
from benchmarks.server_process import prompt
from benchmarks.worker import reply
from semcache.v1 import semcache_pb2 as pb

CHANNELS = 8
TIMEOUT_S = 30.0


def hit_request(number: int) -> bytes:
    """Return the request of one of the stored entries."""
    return pb.CompleteRequest(prompt=prompt(f"stored question {number}")).SerializeToString()


def new_request(number: int) -> bytes:
    """Return a request that was never asked. Its answer isn't stored, so that the store doesn't grow with the load."""
    control = pb.CacheControl(no_store=True)
    return pb.CompleteRequest(prompt=prompt(f"new question {number}"), control=control).SerializeToString()


def _names_a_delay(error: grpc.aio.AioRpcError) -> bool:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            return any(detail.Is(RetryInfo.DESCRIPTOR) for detail in Status.FromString(value).details)
    return False


class _Generator:
    def __init__(self) -> None:
        self._channels: list[grpc.aio.Channel] = []
        self._chance = random.Random(1)
        self._new = 0

    async def run(self, job: dict[str, Any]) -> dict[str, Any]:
        """Send calls for `seconds`: `rate` a second at random times, or by `callers` that each wait for its answer."""
        if not self._channels:
            options = [("grpc.use_local_subchannel_pool", 1)]
            self._channels = [grpc.aio.insecure_channel(job["address"], options) for _ in range(CHANNELS)]
        stubs = [channel.unary_unary(COMPLETE) for channel in self._channels]
        start, cpu_s = time.perf_counter(), time.process_time()
        ended: list[tuple[float, float, str, str]] = []

        async def call() -> None:
            self._new += 1
            is_hit = self._chance.random() < job["hits"]
            request = hit_request(self._chance.randrange(job["entries"])) if is_hit else new_request(self._new)
            sent = time.perf_counter()
            try:
                await stubs[self._new % CHANNELS](request, timeout=TIMEOUT_S)
                end = "ok"
            except grpc.aio.AioRpcError as error:
                end = error.code().name + ("" if _names_a_delay(error) else " without a delay")
            now = time.perf_counter()
            ended.append((sent - start, now - sent, "hit" if is_hit else "new", end))

        async def caller() -> None:
            while time.perf_counter() - start < job["seconds"]:
                await call()

        if job.get("callers"):
            await asyncio.gather(*(caller() for _ in range(job["callers"])))
        else:
            tasks: set[asyncio.Task[None]] = set()
            due = start
            while (due := due + self._chance.expovariate(job["rate"])) < start + job["seconds"]:
                wait = due - time.perf_counter()
                if wait > 0:
                    await asyncio.sleep(wait)
                task = asyncio.ensure_future(call())
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.gather(*tasks)
        wall_s = time.perf_counter() - start
        return {"wall_s": wall_s, "cpu_s": time.process_time() - cpu_s, "calls": ended}


if __name__ == "__main__":
    uvloop.run(reply(_Generator().run))
