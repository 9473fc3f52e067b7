"""Translates a failed call into one error that says what happened, in the server's words if it sent any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, cast

import grpc
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_status import rpc_status

from semcache.errors import SemcacheError
from semcache.v1 import semcache_pb2 as pb

_CODES = {code.value[0]: code for code in grpc.StatusCode}


class ClientError(SemcacheError):
    """A call that failed; its `__cause__` is the `grpc.RpcError`.

    Attributes:
        code: the gRPC status.
        retry_after_s: seconds after which the server accepts another try; None if it named no time.
    """

    default_reason = "CALL_FAILED"

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode,
        reason: str = "",
        hint: str = "",
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint, reason=reason, metadata=metadata)
        self.code = code
        self.retry_after_s = retry_after_s


class _FailedCall(Protocol):
    """The methods that a failed call has on an asyncio channel and on a blocking one; `grpc.RpcError` declares none."""

    def code(self) -> grpc.StatusCode: ...

    def details(self) -> str | None: ...


@contextmanager
def translated(address: str) -> Iterator[None]:
    """Translate the errors that gRPC raises within the block into `ClientError`, and keep the cause."""
    try:
        yield
    except grpc.RpcError as error:
        raise from_call(error, address) from error


def from_call(error: grpc.RpcError, address: str) -> ClientError:
    """Return the error that describes a failed call to the server at `address`."""
    failed = cast("_FailedCall", error)
    code, details = failed.code(), (failed.details() or "").strip()
    info, retry_after_s = _details(error)
    if info is not None:
        return ClientError(
            details, code=code, reason=info.reason, metadata=dict(info.metadata), retry_after_s=retry_after_s
        )
    if code is grpc.StatusCode.UNAVAILABLE:
        return ClientError(
            f"No semcache server answers at {address}: {details}.".replace("..", "."),
            code=code,
            reason="UNREACHABLE",
            hint="Start one with `semcache serve`, or name another address; TLS must be on at both ends or at neither.",
        )
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return ClientError(f"{address} gave no answer in time.", code=code, reason=code.name, hint="Wait longer.")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return ClientError(
            f"What answers at {address} is no semcache server of this version: {details}",
            code=code,
            reason=code.name,
            hint="Check the address.",
        )
    return ClientError(details or code.name, code=code, reason=code.name)


def from_item(status: pb.ItemStatus) -> ClientError:
    """Return the error of one item of a batch."""
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    return ClientError(status.message, code=code, reason=status.reason)


def broken_stream(address: str) -> ClientError:
    """Return the error of a stream that ended without an error and without its last frame."""
    return ClientError(
        f"The stream from {address} ended before its answer was whole.",
        code=grpc.StatusCode.DATA_LOSS,
        reason="STREAM_BROKEN",
        hint="Ask again.",
    )


def _details(error: grpc.RpcError) -> tuple[ErrorInfo | None, float | None]:
    try:
        status: Any = rpc_status.from_call(cast("grpc.Call", error))  # It reads only the trailing metadata.
    except ValueError:  # A proxy changed the code but not the details.
        return None, None
    info: ErrorInfo | None = None
    retry_after_s: float | None = None
    for detail in status.details if status is not None else ():
        error_info, retry = ErrorInfo(), RetryInfo()
        if detail.Unpack(error_info):
            info = error_info
        elif detail.Unpack(retry):
            retry_after_s = retry.retry_delay.ToNanoseconds() / 1e9
    return info, retry_after_s
