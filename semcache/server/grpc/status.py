"""From semcache's errors to gRPC statuses, with a machine-readable reason on each."""

from __future__ import annotations

from collections.abc import Mapping

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from semcache.errors import SemcacheError
from semcache.server.errors_table import row_of
from semcache.wire.texts import utf8

DOMAIN = "semcache"
DETAILS_KEY = "grpc-status-details-bin"


def code_of(error: SemcacheError) -> grpc.StatusCode:
    """Return the gRPC code of an error."""
    return grpc.StatusCode[row_of(error).grpc_code]


def sentence_of(error: SemcacheError) -> str:
    """Return the error's sentence as a message carries it: it may quote what an upstream said."""
    return utf8(str(error))


def status_of(error: SemcacheError) -> Status:
    """Return the rich status of an error.

    It has the error's sentence, `ErrorInfo` with its reason, and `RetryInfo` where waiting helps.
    """
    status = Status(code=code_of(error).value[0], message=sentence_of(error))
    status.details.add().Pack(ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=_told(error.metadata)))
    if error.retry_after_s is not None:
        delay = Duration()
        delay.FromNanoseconds(int(error.retry_after_s * 1e9))
        status.details.add().Pack(RetryInfo(retry_delay=delay))
    return status


def _told(metadata: Mapping[str, str]) -> dict[str, str]:
    return {utf8(name): utf8(value) for name, value in metadata.items()}
