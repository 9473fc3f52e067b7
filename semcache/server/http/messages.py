"""Anthropic's messages over HTTP: named events, Anthropic's errors, and the headers that belong to the protocol."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import NoReturn

from semcache.errors import InvalidRequestError, SemcacheError
from semcache.model import ApiProtocol, ProtocolHeaders
from semcache.protocols.messages import VERSION, VERSIONS
from semcache.server.http.calls import ErrorShape, HttpCall
from semcache.server.http.failures import passed_on, status_of
from semcache.server.http.protocols import HttpProtocol, data_event, named_event, type_of
from semcache.wire.texts import utf8

_VERSION_HEADER = b"anthropic-version"
_BETA_HEADER = b"anthropic-beta"
_PROFILE_HEADER = b"anthropic-user-profile-id"
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
"""What a header may hold that is sent on: visible ASCII, with blanks within."""
_OVERLOADED = 529
"""Anthropic's own status of an overload. semcache's is 503, which proxies know, too."""
_TYPES: Mapping[int, str] = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.PAYMENT_REQUIRED: "billing_error",
    HTTPStatus.FORBIDDEN: "permission_error",
    HTTPStatus.NOT_FOUND: "not_found_error",
    HTTPStatus.CONFLICT: "conflict_error",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "request_too_large",
    HTTPStatus.FAILED_DEPENDENCY: "api_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
    HTTPStatus.SERVICE_UNAVAILABLE: "overloaded_error",
    HTTPStatus.GATEWAY_TIMEOUT: "timeout_error",
    _OVERLOADED: "overloaded_error",
}
"""The type of an error by its status, where it isn't `invalid_request_error` below 500 and `api_error` from there."""


def anthropic_body(error: SemcacheError, request_id: str) -> bytes:
    """Return an error's body in Anthropic's shape, or the upstream's own body."""
    passed = passed_on(error)
    return passed.body if passed is not None and passed.body else anthropic_error(error, request_id)


def anthropic_error(error: SemcacheError, request_id: str) -> bytes:
    """Return an error as `{"type": "error", "error": {"type", "message", "code"}, "request_id"}`.

    The code, which Anthropic's API doesn't have, is semcache's reason.
    """
    status = status_of(error)
    usual = "invalid_request_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "api_error"
    told = {"type": _TYPES.get(status, usual), "message": utf8(str(error)), "code": error.reason}
    return json.dumps({"type": "error", "error": told, "request_id": request_id}, separators=(",", ":")).encode()


def anthropic_event(error: SemcacheError, request_id: str) -> bytes:
    """Return an error that ends a stream which has begun: the upstream's own where it is of Anthropic's shape."""
    passed = passed_on(error)
    own = passed is not None and _is_error(passed.body)
    body = passed.body if passed is not None and own else anthropic_error(error, request_id)
    return b"event: error\n" + data_event(body)


def _is_error(body: bytes) -> bool:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and value.get("type") == "error" and isinstance(value.get("error"), dict)


def protocol_headers(call: HttpCall) -> ProtocolHeaders:
    """Return what a call's headers say of the protocol: its version, its betas in order, and its end user.

    A call that names no version is taken for one of `VERSION`.

    Raises:
        InvalidRequestError: UNKNOWN_VERSION, INVALID_HEADER, DUPLICATE_HEADER.
    """
    version, *others = sorted(set(_values(call, _VERSION_HEADER))) or [VERSION]
    if version not in VERSIONS or others:
        named = ", ".join([version, *others])[:80]
        _refuse(
            f"The header anthropic-version names {named}, which isn't one version that is spoken.",
            "UNKNOWN_VERSION",
            hint=f"Send one of {', '.join(VERSIONS)}.",
        )
    betas = {beta.strip() for value in _values(call, _BETA_HEADER) for beta in value.split(",")} - {""}
    profiles = set(_values(call, _PROFILE_HEADER))
    if len(profiles) > 1:
        _refuse("The header anthropic-user-profile-id was sent twice.", "DUPLICATE_HEADER", hint="Send it once.")
    headers = [("anthropic-version", version)]
    if betas:
        headers.append(("anthropic-beta", ",".join(sorted(betas))))
    return (*headers, *(("anthropic-user-profile-id", profile) for profile in profiles))


def _values(call: HttpCall, name: bytes) -> list[str]:
    """Return the values of a header that isn't empty, each time that it was sent."""
    values = [value.decode("latin-1").strip() for sent, value in call.pairs if sent == name]
    if any(value and not _VALUE.fullmatch(value) for value in values):
        _refuse(f"The header {name.decode()} has other characters than ASCII's.", "INVALID_HEADER")
    return [value for value in values if value]


def _refuse(message: str, reason: str, *, hint: str = "") -> NoReturn:
    raise InvalidRequestError(message, reason=reason, hint=hint)


MESSAGES = HttpProtocol(
    ApiProtocol.MESSAGES,
    ErrorShape(
        lambda error, call: anthropic_body(error, call.request_id.decode()),
        lambda error, call: anthropic_event(error, call.request_id.decode()),
        b"request-id",
    ),
    named_event,
    b"",
    protocol_headers,
    lambda event: type_of(event) == b"message_stop",
)
