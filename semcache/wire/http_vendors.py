"""Whose API a client speaks, OpenAI's or Anthropic's, and how each writes an error. Every error body is made here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from semcache.errors import SemcacheError
from semcache.model import ApiProtocol
from semcache.protocols import FORMS
from semcache.wire.errors_table import row_of
from semcache.wire.http_failures import passed_on, status_of
from semcache.wire.texts import utf8

VERSION_HEADER = b"anthropic-version"
"""Anthropic's clients send it with every call, and no others do."""
_OVERLOADED = 529
"""Anthropic's own status of an overload. semcache's is 503, which proxies know, too."""
_ANTHROPIC_TYPES: Mapping[int, str] = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.PAYMENT_REQUIRED: "billing_error",
    HTTPStatus.FORBIDDEN: "permission_error",
    HTTPStatus.NOT_FOUND: "not_found_error",
    HTTPStatus.CONFLICT: "conflict_error",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "request_too_large",
    HTTPStatus.FAILED_DEPENDENCY: "api_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "request_too_large",
    HTTPStatus.SERVICE_UNAVAILABLE: "overloaded_error",
    HTTPStatus.GATEWAY_TIMEOUT: "timeout_error",
    _OVERLOADED: "overloaded_error",
}
"""The type of an error by its status, where it isn't `invalid_request_error` below 500 and `api_error` from there."""


@dataclass(frozen=True, slots=True, eq=False)
class Vendor:
    """Whose API a client speaks; there is one object of each.

    Attributes:
        own_error: makes the body of one of semcache's own errors, of the error and the call's id.
        id_header: another name of `x-request-id`, under which the vendor's clients look for it; empty for none.
    """

    own_error: Callable[[SemcacheError, str], bytes]
    id_header: bytes

    def error_body(self, error: SemcacheError, request_id: str) -> bytes:
        """Return the body of an error's answer: the upstream's own where it has sent one, else semcache's."""
        passed = passed_on(error)
        return passed.body if passed is not None and passed.body else self.own_error(error, request_id)


def openai_fields(error: SemcacheError) -> dict[str, Any]:
    """Return what an error of OpenAI's shape says: `message`, `type`, `code` and `param`; code is semcache's reason."""
    return {
        "message": utf8(str(error)),
        "type": row_of(error).openai_type,
        "code": error.reason,
        "param": error.metadata.get("field"),
    }


def openai_error(error: SemcacheError, request_id: str) -> bytes:
    """Return an error as `{"error": {"message", "type", "code", "param"}}`; the call's id has no place in it."""
    del request_id
    return _dump({"error": openai_fields(error)})


def anthropic_error(error: SemcacheError, request_id: str) -> bytes:
    """Return an error as `{"type": "error", "error": {"type", "message", "code"}, "request_id"}`.

    The code, which Anthropic's API doesn't have, is semcache's reason.
    """
    status = status_of(error)
    usual = "invalid_request_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "api_error"
    fields = {"type": _ANTHROPIC_TYPES.get(status, usual), "message": utf8(str(error)), "code": error.reason}
    return _dump({"type": "error", "error": fields, "request_id": request_id})


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


OPENAI = Vendor(openai_error, b"")
ANTHROPIC = Vendor(anthropic_error, b"request-id")

_OF_PROTOCOLS: Mapping[str, Vendor] = {
    "/v1" + form.path: ANTHROPIC if protocol is ApiProtocol.MESSAGES else OPENAI for protocol, form in FORMS.items()
}
_OF_MANAGEMENT = "/semcache/"


def vendor_of(path: str, headers: Mapping[bytes, bytes]) -> Vendor:
    """Return whose API a call speaks.

    At and below a protocol's path the path says it, and management is written as OpenAI's API is. Elsewhere, such as
    for the list of models and for unknown paths, Anthropic's clients show themselves by `anthropic-version`.

    Args:
        path: the decoded path, without its query. Of a request that was refused in the middle of its head it is what
            has come.
        headers: by lower-case name, as far as they have come.
    """
    known = _OF_PROTOCOLS.get(path)
    if known is not None:
        return known
    for protocol_path, vendor in _OF_PROTOCOLS.items():
        if path.startswith(protocol_path + "/"):
            return vendor
    if path.startswith(_OF_MANAGEMENT):
        return OPENAI
    return ANTHROPIC if VERSION_HEADER in headers else OPENAI
