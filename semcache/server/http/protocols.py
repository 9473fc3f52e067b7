"""What each protocol says of its HTTP answers: events, their end, errors and usages."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from semcache.model import ApiProtocol
from semcache.server.http.calls import OPENAI_ERRORS, ErrorShape, HttpCall

ProtocolHeaders = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, eq=False)
class HttpProtocol:
    """How one protocol is spoken over HTTP; there is one object of each.

    Attributes:
        api: the protocol.
        errors: how it writes an error.
        event: returns the JSON of one event as a server-sent event.
        end: what follows the last event of a whole stream.
        headers: returns the call's headers that belong to the protocol; raises InvalidRequestError for an unknown
            version.
    """

    api: ApiProtocol
    errors: ErrorShape
    event: Callable[[bytes], bytes]
    end: bytes
    headers: Callable[[HttpCall], ProtocolHeaders]


def data_event(data: bytes) -> bytes:
    """Return JSON as a server-sent event; a line break in it begins another line of the same event."""
    if b"\n" in data or b"\r" in data:
        return b"".join(b"data: %b\n" % line for line in data.splitlines()) + b"\n"
    return b"data: %b\n\n" % data


def without_usage(body: bytes) -> bytes:
    """Return an answer or an event whose usage has every count at 0.

    The usage stands in the object itself or, in an event that begins or ends an answer, in its message or response.
    """
    value = json.loads(body.decode("utf-8-sig"))
    for holder in (value, value.get("message"), value.get("response")):
        if isinstance(holder, dict) and holder.get("usage") is not None:
            holder["usage"] = _zeroed(holder["usage"])
    return json.dumps(value, separators=(",", ":")).encode()


def _zeroed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _zeroed(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_zeroed(item) for item in value]
    return 0 if isinstance(value, int | float) and not isinstance(value, bool) else value


def _no_headers(call: HttpCall) -> ProtocolHeaders:
    del call
    return ()


CHAT = HttpProtocol(ApiProtocol.CHAT, OPENAI_ERRORS, data_event, b"data: [DONE]\n\n", _no_headers)
