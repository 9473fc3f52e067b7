"""Requests as the integration tests send them."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status

from semcache.testing.serving import Served
from semcache.v1 import semcache_pb2 as pb


def body(text: str, *, model: str = "gpt-4o-mini", history: tuple[str, ...] = (), **fields: Any) -> bytes:
    turns = [{"role": ("user", "assistant")[n % 2], "content": turn} for n, turn in enumerate(history)]
    return json.dumps({"model": model, "messages": [*turns, {"role": "user", "content": text}], **fields}).encode()


def prompt(text: str, *, namespace: str = "", task_type: str = "", **fields: Any) -> pb.Prompt:
    return pb.Prompt(openai_json=body(text, **fields), namespace=namespace, task_type=task_type)


def control(mode: pb.CacheMode.ValueType = pb.CACHE_MODE_DEFAULT, **fields: Any) -> pb.CacheControl:
    return pb.CacheControl(mode=mode, **fields)


async def complete(served: Served, text: str, **fields: Any) -> pb.CompleteResponse:
    request = {name: fields.pop(name) for name in ("control", "tags", "sources") if name in fields}
    return await served.stub.Complete(pb.CompleteRequest(prompt=prompt(text, **fields), **request))


async def stream(served: Served, text: str, **fields: Any) -> list[pb.CompleteStreamResponse]:
    request = {name: fields.pop(name) for name in ("control",) if name in fields}
    call = served.stub.CompleteStream(pb.CompleteStreamRequest(prompt=prompt(text, **fields), **request))
    return [frame async for frame in call]


def streamed_text(frames: list[pb.CompleteStreamResponse]) -> str:
    chunks = [json.loads(frame.chunk.openai_json) for frame in frames if frame.HasField("chunk")]
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


async def counts(served: Served) -> pb.RequestCounts:
    return (await served.stub.GetStats(pb.GetStatsRequest())).requests


async def in_flight(served: Served, count: int) -> None:
    """Wait until so many calls are in the server, the asking one left out."""
    for _ in range(10_000):  # Bounded, so that a test that waits for the wrong number fails instead of hanging.
        stats = await served.stub.GetStats(pb.GetStatsRequest())
        depth = next(queue.depth for queue in stats.queues if queue.name == "calls") - 1
        if depth == count:
            return
    pytest.fail(f"{depth} calls are in flight, not {count}")


def reason_of(error: grpc.RpcError) -> str:
    """The ErrorInfo's reason behind a failed call."""
    status = rpc_status.from_call(error)
    assert status is not None, error
    info = ErrorInfo()
    details: list[AnyMessage] = list(status.details)
    assert details[0].Unpack(info)
    return str(info.reason)
