"""What each protocol says of its HTTP answers: events, their end, errors and usages."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from semcache.errors import SemcacheError
from semcache.model import ApiProtocol, ProtocolHeaders
from semcache.server.http.call import ErrorEvent, HttpCall
from semcache.wire.http_vendors import openai_error

_LEADING_TYPE = re.compile(rb'\s*\{\s*"type"\s*:\s*"([\w.-]+)"')
_EVENT_NAME = re.compile(r"[\w.-]+", re.ASCII)


@dataclass(frozen=True, slots=True, eq=False)
class HttpProtocol:
    """How one protocol is spoken over HTTP; there is one object of each.

    Attributes:
        api: the protocol.
        error_event: returns the bytes that end a stream which has begun, of the error and its call.
        event: returns the JSON of one event as a server-sent event.
        end: what follows the last event of a whole stream.
        headers: returns the call's headers that belong to the protocol; raises InvalidRequestError for an unknown
            version.
        closes: returns whether an event is the last one of a whole stream. It is sent with the stream's end, when the
            answer is booked and stored: a client may leave as soon as it has it.
    """

    api: ApiProtocol
    error_event: ErrorEvent
    event: Callable[[bytes], bytes]
    end: bytes
    headers: Callable[[HttpCall], ProtocolHeaders]
    closes: Callable[[bytes], bool] = lambda _: False


def data_event(data: bytes) -> bytes:
    """Return JSON as a server-sent event; a line break in it begins another line of the same event."""
    if b"\n" in data or b"\r" in data:
        return b"".join(b"data: %b\n" % line for line in data.splitlines()) + b"\n"
    return b"data: %b\n\n" % data


def named_event(data: bytes) -> bytes:
    """Return the JSON of an event as a server-sent event that has the name of its type."""
    kind = type_of(data)
    return b"event: %b\n%b" % (kind, data_event(data)) if kind else data_event(data)


def type_of(data: bytes) -> bytes:
    """Return the type that an event's JSON names; empty where it names none that a line can hold."""
    leading = _LEADING_TYPE.match(data)
    if leading is not None:
        return leading[1]
    kind = json.loads(data.decode("utf-8-sig")).get("type")
    return kind.encode() if isinstance(kind, str) and _EVENT_NAME.fullmatch(kind) else b""


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


def no_headers(call: HttpCall) -> ProtocolHeaders:
    """Return no headers: the protocol has none of its own."""
    del call
    return ()


def _chat_error_event(error: SemcacheError, call: HttpCall) -> bytes:
    """Return an error that ends a stream which has begun; no `[DONE]` follows it."""
    return data_event(openai_error(error, call.request_id.decode()))


CHAT = HttpProtocol(ApiProtocol.CHAT, _chat_error_event, data_event, b"data: [DONE]\n\n", no_headers)
