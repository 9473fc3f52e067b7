"""The callers of the demo: several at once, each sends its next request over gRPC when its last one is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from semcache.demo.correctness import ERROR, PlayedRequest
from semcache.demo.prompts import DemoRequest
from semcache.errors import SemcacheError
from semcache.ports import Clock
from semcache.v1 import semcache_pb2 as pb
from semcache.v1 import semcache_pb2_grpc as pb_grpc

_STATUS_NAMES = {value: name.removeprefix("STATUS_").lower() for name, value in pb.Status.items()}


class BrokenAnswerError(SemcacheError):
    """The server reported success, but its answer is empty or not whole."""

    default_reason = "BROKEN_ANSWER"


async def play(
    stub: pb_grpc.SemanticCacheServiceAsyncStub,
    requests: Sequence[DemoRequest],
    *,
    callers: int,
    clock: Clock,
    on_played: Callable[[PlayedRequest], None],
) -> tuple[PlayedRequest, ...]:
    """Send all requests, in order, and return the results in the order of `requests`.

    Args:
        stub: of the server.
        requests: the requests to send.
        callers: the number of requests under way at once.
        clock: gives monotonic seconds.
        on_played: called with each result. A failed call is a result with the status `error`.
    """
    results: dict[int, PlayedRequest] = {}
    waiting = iter(enumerate(requests))
    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(_call_in_turn(stub, waiting, results, clock, on_played))
    return tuple(results[position] for position in range(len(requests)))


async def _call_in_turn(
    stub: pb_grpc.SemanticCacheServiceAsyncStub,
    waiting: Iterator[tuple[int, DemoRequest]],
    results: dict[int, PlayedRequest],
    clock: Clock,
    on_played: Callable[[PlayedRequest], None],
) -> None:
    for position, request in waiting:
        results[position] = await _call(stub, request, clock)
        on_played(results[position])


async def _call(stub: pb_grpc.SemanticCacheServiceAsyncStub, request: DemoRequest, clock: Clock) -> PlayedRequest:
    started_s = clock.monotonic()
    try:
        outcome = await (_streamed(stub, request) if request.stream else _whole(stub, request))
    except grpc.aio.AioRpcError as error:
        return PlayedRequest(request, ERROR, clock.monotonic() - started_s, reason=_reason(error))
    except BrokenAnswerError as error:
        return PlayedRequest(request, ERROR, clock.monotonic() - started_s, reason=error.reason)
    return PlayedRequest(
        request=request,
        status=_STATUS_NAMES[outcome.status],
        latency_s=clock.monotonic() - started_s,
        entry_id=outcome.entry_id,
        stored=outcome.stored,
        similarity=outcome.similarity if outcome.HasField("similarity") else None,
        reason=outcome.reason,
        vetoes=tuple(v.guard for v in outcome.guard_verdicts if v.action == pb.GUARD_ACTION_VETO),
        spent_nanousd=outcome.cost.total_nanousd,
        saved_nanousd=outcome.saved.total_nanousd,
        priced=outcome.cost.priced if outcome.HasField("cost") and not outcome.hit_id else outcome.saved.priced,
    )


async def _whole(stub: pb_grpc.SemanticCacheServiceAsyncStub, request: DemoRequest) -> pb.Outcome:
    response = await stub.Complete(pb.CompleteRequest(prompt=pb.Prompt(openai_json=request.body)))
    if not response.text:
        raise BrokenAnswerError(f"The answer to {request.request_id} is empty.")
    return response.outcome


async def _streamed(stub: pb_grpc.SemanticCacheServiceAsyncStub, request: DemoRequest) -> pb.Outcome:
    chunks = 0
    outcome: pb.Outcome | None = None
    async for frame in stub.CompleteStream(pb.CompleteStreamRequest(prompt=pb.Prompt(openai_json=request.body))):
        if frame.HasField("chunk"):
            chunks += 1
        elif frame.HasField("finished"):
            outcome = frame.finished.outcome
    if outcome is None or not chunks:
        raise BrokenAnswerError(f"The stream for {request.request_id} ended without its answer.")
    return outcome


def _reason(error: grpc.aio.AioRpcError) -> str:
    """Return the server's stable reason, or else the name of the gRPC status."""
    status = rpc_status.from_call(cast("grpc.Call", error))  # It reads only the trailing metadata.
    for detail in status.details if status is not None else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return str(info.reason)
    return error.code().name
