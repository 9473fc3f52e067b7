"""Failed calls → one error that says what happened, in the server's words where it had any."""

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
    """A call that failed; its cause is the `grpc.RpcError`.

    Attributes:
        code: the gRPC status.
        retry_after_s: when to try again, in seconds; None when the server didn't say.
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


class _Failed(Protocol):
    """What a failed call of either kind can tell."""

    def code(self) -> grpc.StatusCode: ...

    def details(self) -> str | None: ...


@contextmanager
def translated(address: str) -> Iterator[None]:
    """Turns what gRPC raises within the block into `ClientError`, with the cause kept."""
    try:
        yield
    except grpc.RpcError as error:
        raise from_call(error, address) from error


def from_call(error: grpc.RpcError, address: str) -> ClientError:
    """What a failed call means; `address` is whom it called."""
    failed = cast("_Failed", error)
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
    """The failure of one item of a batch."""
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    return ClientError(status.message, code=code, reason=status.reason)


def broken_stream(address: str) -> ClientError:
    """A stream that ended as if all were well, and wasn't whole."""
    return ClientError(
        f"The stream from {address} ended before its answer was whole.",
        code=grpc.StatusCode.DATA_LOSS,
        reason="STREAM_BROKEN",
        hint="Ask again.",
    )


def _details(error: grpc.RpcError) -> tuple[ErrorInfo | None, float | None]:
    try:
        status: Any = rpc_status.from_call(cast("grpc.Call", error))  # All that is read is the trailing metadata.
    except ValueError:  # Something between here and the server changed the code and not the details.
        return None, None
    info: ErrorInfo | None = None
    retry_after_s: float | None = None
    for detail in status.details if status is not None else ():
        found, retry = ErrorInfo(), RetryInfo()
        if detail.Unpack(found):
            info = found
        elif detail.Unpack(retry):
            retry_after_s = retry.retry_delay.ToNanoseconds() / 1e9
    return info, retry_after_s
