"""Errors as HTTP answers: their status and headers. `vendors` writes their bodies."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from http import HTTPStatus

from semcache.errors import SERVERS_KEY_STATUSES, InvalidRequestError, SemcacheError, UpstreamError
from semcache.wire.errors_table import row_of

Headers = list[tuple[bytes, bytes]]
"""Pairs of name, in lower case, and value."""

JSON_TYPE = b"application/json"
_WAITING_HELPS = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_SHORTEST_WAIT_S = 1.0
_LONGEST_RETRY_S = 60.0
"""OpenAI's clients wait no longer than this before they try again by themselves."""
_PLAIN = re.compile(r"[\x20-\x7e]{1,200}")


class RefusedCallError(InvalidRequestError):
    """A call that can't be a request of any protocol: its path, method, type or encoding is wrong.

    Attributes:
        status: the HTTP status.
        headers: headers of the answer that say what is allowed.
    """

    def __init__(
        self,
        status: HTTPStatus,
        message: str,
        *,
        reason: str,
        hint: str = "",
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(message, reason=reason, hint=hint)
        self.status = status
        self.headers = headers


def status_of(error: SemcacheError) -> int:
    """Return the HTTP status of an error."""
    if isinstance(error, RefusedCallError):
        return error.status
    if error.reason == "CACHE_ONLY_MISS":
        return HTTPStatus.GATEWAY_TIMEOUT  # RFC 9111, section 5.2.1.7
    passed = passed_on(error)
    return passed.http_status or HTTPStatus.BAD_GATEWAY if passed is not None else row_of(error).http_status


def failure_headers(error: SemcacheError, status: int) -> Headers:
    """Return the headers of an error's answer: what its body is, when to try again, and whether to."""
    headers: Headers = [(b"content-type", _content_type(error))]
    if isinstance(error, RefusedCallError):
        headers += error.headers
    wait_s = error.retry_after_s
    if wait_s is None and status in _WAITING_HELPS:
        wait_s = _SHORTEST_WAIT_S
    if wait_s is not None:
        headers.append((b"retry-after", b"%d" % math.ceil(wait_s)))
    if error.reason == "CACHE_ONLY_MISS" or (wait_s is not None and wait_s > _LONGEST_RETRY_S):
        headers.append((b"x-should-retry", b"false"))
    return headers


def passed_on(error: SemcacheError) -> UpstreamError | None:
    """Return the error if an upstream's own status and body reach the caller."""
    if not isinstance(error, UpstreamError) or error.http_status is None:
        return None
    refused = error.http_status >= HTTPStatus.BAD_REQUEST and error.http_status not in SERVERS_KEY_STATUSES
    return error if refused else None


def _content_type(error: SemcacheError) -> bytes:
    passed = passed_on(error)
    if passed is None or not passed.body or not _PLAIN.fullmatch(passed.content_type):
        return JSON_TYPE
    return passed.content_type.encode()
