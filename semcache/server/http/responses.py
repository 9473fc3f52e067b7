"""OpenAI's responses over HTTP: typed events, the last of which is held back until the answer is booked and stored."""

from __future__ import annotations

import json

from semcache.errors import SemcacheError
from semcache.model import ApiProtocol
from semcache.server.http.protocols import HttpProtocol, named_event, no_headers, type_of
from semcache.wire.http_vendors import openai_fields

_LAST = frozenset({b"response.completed", b"response.incomplete"})


def error_event(error: SemcacheError, number: int) -> bytes:
    """Return an error that ends a stream which has begun, as an event of the type `error`.

    Args:
        error: the error.
        number: the event's sequence number: how many events came before.
    """
    told = openai_fields(error)
    event = {"type": "error", "code": told["code"], "message": told["message"], "param": told["param"]}
    return named_event(json.dumps({**event, "sequence_number": number}, separators=(",", ":")).encode())


def _closes(data: bytes) -> bool:
    return type_of(data) in _LAST


RESPONSES = HttpProtocol(
    ApiProtocol.RESPONSES,
    lambda error, call: error_event(error, call.events),
    named_event,
    b"",
    no_headers,
    _closes,
)
