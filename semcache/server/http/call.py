"""One HTTP call: what was sent, and the means to answer it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus

from starlette.types import Scope, Send

from semcache.errors import OverloadedError, SemcacheError
from semcache.server.http.origins import Origins
from semcache.wire.http_failures import Headers
from semcache.wire.http_vendors import vendor_of

REQUEST_ID = b"x-request-id"
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")


class HttpCall:
    """One call: what was sent, and the means to answer.

    Attributes:
        headers: by lower-case name. Of a header that was sent twice it has the last one; `pairs` has all.
        body: what was sent, decompressed; empty for a GET of a known path.
        refusal: why the call is refused for load unless it is an exact hit; None for a call that isn't refused.
        request_id: the `x-request-id` of the answer: the client's own, else one that a handler sets, else a new one.
        started: whether the answer's status has been sent.
        events: how many events of a stream have been sent.
        vendor: whose API the call speaks, which says how its errors are written.
    """

    __slots__ = (
        "_new_id",
        "_origins",
        "_send",
        "body",
        "events",
        "headers",
        "pairs",
        "refusal",
        "request_id",
        "scope",
        "started",
        "vendor",
    )

    def __init__(self, scope: Scope, send: Send, new_id: Callable[[], str], origins: Origins) -> None:
        self.scope = scope
        self._new_id = new_id
        self._origins = origins
        self.pairs: list[tuple[bytes, bytes]] = scope["headers"]
        self.headers: Mapping[bytes, bytes] = dict(self.pairs)
        self.body = b""
        self.refusal: OverloadedError | None = None
        self.started = False
        self.events = 0
        self.request_id = sent_request_id(self.headers)
        self.vendor = vendor_of(scope["path"], self.headers)
        self._send = send

    def name(self, request_id: str) -> None:
        """Give the answer the request's own id where the client has sent none."""
        if not self.request_id:
            self.request_id = request_id.encode()

    async def reply(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer."""
        await self._start(status, [*headers, (b"content-length", b"%d" % len(body))])
        await self._send({"type": "http.response.body", "body": body})

    async def begin_stream(self, headers: Headers, status: int = HTTPStatus.OK) -> None:
        """Send the head of an answer that comes in pieces."""
        await self._start(status, headers)

    async def write(self, data: bytes) -> None:
        """Send a piece; it waits while the client reads more slowly than it is answered."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end_stream(self, data: bytes = b"") -> None:
        """Send the last piece."""
        await self._send({"type": "http.response.body", "body": data})

    def settle_id(self) -> bytes:
        """Return the `x-request-id` of the answer, which doesn't change from here on."""
        if not self.request_id:
            self.request_id = self._new_id().encode()
        return self.request_id

    async def _start(self, status: int, headers: Headers) -> None:
        self.started = True
        headers.append((REQUEST_ID, self.settle_id()))
        if self.vendor.id_header:
            headers.append((self.vendor.id_header, self.request_id))
        headers += self._origins.answer_headers(self.headers)
        await self._send({"type": "http.response.start", "status": status, "headers": headers})


ErrorEvent = Callable[[SemcacheError, HttpCall], bytes | None]
"""Makes the bytes that end an answer which has begun, of the error and its call. None: there are none, and the
connection is closed before the answer's end."""


def no_error_event(error: SemcacheError, call: HttpCall) -> None:
    """Return no bytes: an answer that has begun has no place for an error."""
    del error, call


def sent_request_id(headers: Mapping[bytes, bytes]) -> bytes:
    """Return the id that a client has given its request; empty where there is none, or none that can be told again."""
    own = headers.get(REQUEST_ID, b"")
    return own if own and _REQUEST_ID.fullmatch(own) else b""
