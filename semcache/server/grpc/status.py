"""The one table from semcache's errors to gRPC statuses, with a machine-readable reason on each."""

from __future__ import annotations

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from semcache import errors

DOMAIN = "semcache"
DETAILS_KEY = "grpc-status-details-bin"
_TOO_MANY_REQUESTS = 429

# The first class that an error is an instance of decides; so the more special come first.
_CODES: tuple[tuple[type[errors.SemcacheError], grpc.StatusCode], ...] = (
    (errors.InvalidRequestError, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.UnknownModelError, grpc.StatusCode.NOT_FOUND),
    (errors.NotFoundError, grpc.StatusCode.NOT_FOUND),
    (errors.UnauthenticatedError, grpc.StatusCode.UNAUTHENTICATED),
    (errors.PermissionDeniedError, grpc.StatusCode.PERMISSION_DENIED),
    (errors.OverLimitError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.BudgetExceededError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.OverloadedError, grpc.StatusCode.UNAVAILABLE),
    (errors.ShuttingDownError, grpc.StatusCode.UNAVAILABLE),
    (errors.DeadlineExceededError, grpc.StatusCode.DEADLINE_EXCEEDED),
    (errors.PreconditionFailedError, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.UpstreamTimedOutError, grpc.StatusCode.DEADLINE_EXCEEDED),
    (errors.UpstreamError, grpc.StatusCode.UNAVAILABLE),
    (errors.EmbeddingFailedError, grpc.StatusCode.INTERNAL),
    (errors.StoreFullError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.StoreError, grpc.StatusCode.INTERNAL),
)

_SAY_WHEN = (errors.BudgetExceededError, errors.OverloadedError, errors.UpstreamError)

# What an upstream's refusal means to the caller. 401 and 403 are about the server's key, not the caller's.
_REFUSALS = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.FAILED_PRECONDITION,
    403: grpc.StatusCode.FAILED_PRECONDITION,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    409: grpc.StatusCode.ABORTED,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    _TOO_MANY_REQUESTS: grpc.StatusCode.RESOURCE_EXHAUSTED,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


def code_of(error: errors.SemcacheError) -> grpc.StatusCode:
    """The gRPC code of an error."""
    if isinstance(error, errors.UpstreamError) and error.http_status in _REFUSALS:
        return _REFUSALS[error.http_status]
    if isinstance(error, errors.UpstreamRefusedError):
        return grpc.StatusCode.FAILED_PRECONDITION
    return next((code for kind, code in _CODES if isinstance(error, kind)), grpc.StatusCode.INTERNAL)


def status_of(error: errors.SemcacheError) -> Status:
    """The rich status of an error: its sentence, `ErrorInfo` with the reason, `RetryInfo` where waiting helps."""
    status = Status(code=code_of(error).value[0], message=str(error))
    status.details.add().Pack(ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=dict(error.metadata)))
    retry_after_s = error.retry_after_s if isinstance(error, _SAY_WHEN) else None
    if retry_after_s is not None:
        delay = Duration()
        delay.FromNanoseconds(int(retry_after_s * 1e9))
        status.details.add().Pack(RetryInfo(retry_delay=delay))
    return status


def internal_error() -> errors.SemcacheError:
    """What a caller learns of a defect: that it is one; the log has the rest."""
    return errors.SemcacheError("The server failed in a way it doesn't know.", hint="The server's log has the details.")
