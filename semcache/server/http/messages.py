"""Anthropic's messages over HTTP: named events, Anthropic's errors, and the headers that belong to the protocol."""

from __future__ import annotations

import json
import re
from typing import NoReturn

from semcache.errors import InvalidRequestError, SemcacheError
from semcache.model import ApiProtocol, ProtocolHeaders
from semcache.protocols.messages import VERSION, VERSIONS
from semcache.server.http.call import HttpCall
from semcache.server.http.protocols import HttpProtocol, data_event, named_event, type_of
from semcache.wire.http_failures import passed_on
from semcache.wire.http_vendors import VERSION_HEADER, anthropic_error

_BETA_HEADER = b"anthropic-beta"
_PROFILE_HEADER = b"anthropic-user-profile-id"
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
"""What a header may hold that is sent on: visible ASCII, with blanks within."""


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
    version, *others = sorted(set(_values(call, VERSION_HEADER))) or [VERSION]
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
    lambda error, call: anthropic_event(error, call.request_id.decode()),
    named_event,
    b"",
    protocol_headers,
    lambda event: type_of(event) == b"message_stop",
)
