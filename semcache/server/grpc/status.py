"""From semcache's errors to gRPC statuses, with a machine-readable reason on each."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, NoReturn

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from semcache.errors import OverLimitError, OverloadedError, SemcacheError
from semcache.wire.errors_table import row_of
from semcache.wire.texts import utf8

DOMAIN = "semcache"
_SPREAD = 0.5
"""How much longer the delay of a refusal may be: callers that were refused together shall not come back together."""
DETAILS_KEY = "grpc-status-details-bin"


def code_of(error: SemcacheError) -> grpc.StatusCode:
    """Return the gRPC code of an error."""
    return grpc.StatusCode[row_of(error).grpc_code]


def sentence_of(error: SemcacheError) -> str:
    """Return the error's sentence as a message carries it: it may quote what an upstream said."""
    return utf8(str(error))


def status_of(error: SemcacheError) -> Status:
    """Return the rich status of an error.

    It has the error's sentence, `ErrorInfo` with its reason, and `RetryInfo` where waiting helps. The delay of a
    refusal is spread at random, up to half as long again.
    """
    status = Status(code=code_of(error).value[0], message=sentence_of(error))
    status.details.add().Pack(ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=_told(error.metadata)))
    if error.retry_after_s is not None:
        delay = Duration()
        spread = random.uniform(1.0, 1.0 + _SPREAD) if isinstance(error, OverloadedError | OverLimitError) else 1.0  # noqa: S311
        delay.FromNanoseconds(int(error.retry_after_s * spread * 1e9))
        status.details.add().Pack(RetryInfo(retry_delay=delay))
    return status


async def abort(context: grpc.aio.ServicerContext[Any, Any], failure: SemcacheError) -> NoReturn:
    """End a call with an error's status.

    Raises:
        grpc.aio.AbortError: always; gRPC expects it.
    """
    details = status_of(failure).SerializeToString()
    await context.abort(code_of(failure), sentence_of(failure), ((DETAILS_KEY, details),))


def left(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    """Return the code of a call whose caller isn't there any more: its deadline has passed, or it has left."""
    remaining_s: float | None = context.time_remaining()  # The stubs leave out that it may be None.
    return "CANCELLED" if remaining_s is None or remaining_s > 0 else "DEADLINE_EXCEEDED"


def _told(metadata: Mapping[str, str]) -> dict[str, str]:
    return {utf8(name): utf8(value) for name, value in metadata.items()}
