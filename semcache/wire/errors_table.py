"""One table from every error to its gRPC code, its HTTP status and its OpenAI error type.

Every front reads it: the gRPC front takes the code, an HTTP front takes the status and the type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from semcache import errors

GrpcCode = Literal[
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "UNAVAILABLE",
    "DEADLINE_EXCEEDED",
    "INTERNAL",
]
"""Names of `google.rpc.Code`, as grpc.StatusCode has them: a front without gRPC reads this table, too."""

OpenAiType = Literal[
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "rate_limit_error",
    "insufficient_quota",
    "server_error",
]
"""Values of `error.type` in an OpenAI error body."""


class ErrorRow(NamedTuple):
    """How a front reports one kind of error."""

    grpc_code: GrpcCode
    http_status: int
    openai_type: OpenAiType


ERRORS: Mapping[type[errors.SemcacheError], ErrorRow] = {
    errors.SemcacheError: ErrorRow("INTERNAL", 500, "server_error"),
    errors.InvalidRequestError: ErrorRow("INVALID_ARGUMENT", 400, "invalid_request_error"),
    errors.UnknownModelError: ErrorRow("NOT_FOUND", 404, "invalid_request_error"),
    errors.NotFoundError: ErrorRow("NOT_FOUND", 404, "invalid_request_error"),
    errors.UnauthenticatedError: ErrorRow("UNAUTHENTICATED", 401, "authentication_error"),
    errors.PermissionDeniedError: ErrorRow("PERMISSION_DENIED", 403, "permission_error"),
    errors.OverLimitError: ErrorRow("RESOURCE_EXHAUSTED", 429, "rate_limit_error"),
    errors.MessageTooLargeError: ErrorRow("RESOURCE_EXHAUSTED", 413, "invalid_request_error"),
    errors.BudgetExceededError: ErrorRow("RESOURCE_EXHAUSTED", 429, "insufficient_quota"),
    errors.OverloadedError: ErrorRow("UNAVAILABLE", 503, "server_error"),
    errors.ServerExhaustedError: ErrorRow("UNAVAILABLE", 503, "server_error"),
    errors.ShuttingDownError: ErrorRow("UNAVAILABLE", 503, "server_error"),
    errors.DeadlineExceededError: ErrorRow("DEADLINE_EXCEEDED", 504, "server_error"),
    errors.PreconditionFailedError: ErrorRow("FAILED_PRECONDITION", 412, "invalid_request_error"),
    errors.UpstreamError: ErrorRow("UNAVAILABLE", 502, "server_error"),
    errors.UpstreamRefusedError: ErrorRow("FAILED_PRECONDITION", 424, "server_error"),
    errors.UpstreamTimedOutError: ErrorRow("DEADLINE_EXCEEDED", 504, "server_error"),
    errors.EmbeddingFailedError: ErrorRow("INTERNAL", 500, "server_error"),
    errors.ModelMissingError: ErrorRow("INTERNAL", 500, "server_error"),
    errors.StoreError: ErrorRow("INTERNAL", 500, "server_error"),
    errors.StoreFullError: ErrorRow("RESOURCE_EXHAUSTED", 507, "server_error"),
    errors.StoreUnusableError: ErrorRow("INTERNAL", 500, "server_error"),
    errors.SettingsError: ErrorRow("INTERNAL", 500, "server_error"),
    errors.StartError: ErrorRow("INTERNAL", 500, "server_error"),
}
"""The row of every class in `errors`. A class that is added there needs its own row, and a test asks for it."""

UPSTREAM_STATUSES: Mapping[int, ErrorRow] = {
    400: ErrorRow("INVALID_ARGUMENT", 400, "invalid_request_error"),
    # The caller can't mend this server's key, and 424 keeps it from trying again.
    **dict.fromkeys(errors.SERVERS_KEY_STATUSES, ErrorRow("FAILED_PRECONDITION", 424, "server_error")),
    404: ErrorRow("NOT_FOUND", 404, "invalid_request_error"),
    408: ErrorRow("DEADLINE_EXCEEDED", 504, "server_error"),
    409: ErrorRow("ABORTED", 409, "invalid_request_error"),
    413: ErrorRow("INVALID_ARGUMENT", 413, "invalid_request_error"),
    422: ErrorRow("INVALID_ARGUMENT", 422, "invalid_request_error"),
    429: ErrorRow("RESOURCE_EXHAUSTED", 429, "rate_limit_error"),
    504: ErrorRow("DEADLINE_EXCEEDED", 504, "server_error"),
}
"""The row of an upstream's error by its HTTP status. Other statuses have the row of the error's class."""


def row_of(error: errors.SemcacheError) -> ErrorRow:
    """Return how a front reports `error`: by the upstream's HTTP status, else by the nearest class with a row."""
    if isinstance(error, errors.UpstreamError) and error.http_status is not None:
        row = UPSTREAM_STATUSES.get(error.http_status)
        if row is not None:
            return row
    return next(ERRORS[kind] for kind in type(error).__mro__ if kind in ERRORS)


def internal_error() -> errors.SemcacheError:
    """Return the error that a caller gets for a defect. The log has the details, the caller has none of them."""
    return errors.SemcacheError("The server failed in a way it doesn't know.", hint="The server's log has the details.")
