"""One HTTP/1.1 connection: uvicorn's protocol with limits on the head, on slow clients and on age.

uvicorn parses with httptools, whose parser (llhttp) refuses what could be read in two ways: a body with both a
`Content-Length` and a `Transfer-Encoding`, two different lengths, or a malformed chunk.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from semcache.errors import OverloadedError, SemcacheError
from semcache.server.http.open_connections import OpenConnections
from semcache.server.http.refusals import Refusals
from semcache.settings import ServerSettings
from semcache.wire.http_failures import RefusedCallError

_SILENT = logging.Logger("semcache.server.http", level=logging.CRITICAL)  # noqa: LOG001 - outside the tree, so that nothing of it is written
"""Takes what uvicorn would log. A client's broken request is told to the client; `calls` logs the server's defects."""

_REFUSED_S = 0.1
"""How long a connection without a place stays open. The head of its request says in which shape it is refused. What
the client has sent is read meanwhile: closing with unread bytes would reset the connection, and the client would never
see why."""


class HttpConnection(HttpToolsProtocol):
    """One client's connection.

    - One too many is refused with 503, unless an idle one can be closed (`OpenConnections`).

    - A head beyond `server.http.max_header_bytes` is refused with 431, and a request that isn't whole after
      `stall_timeout_s` with 408.
    - A client that reads nothing for `stall_timeout_s` while a response waits for it is disconnected: while the call
      goes on if more than the transport's limit (64 KiB) is unread, and after it down to the last byte.
    - A client that leaves ends its call: the task of the call is cancelled, as gRPC does it.
    - After the first unreadable byte nothing more is read: what follows could be another request in disguise.
    """

    def __init__(
        self,
        settings: ServerSettings,
        config: Config,
        state: ServerState,
        open_connections: OpenConnections,
        refusals: Refusals,
    ) -> None:
        super().__init__(config, state, {})
        self._open_connections = open_connections
        self._refusals = refusals
        self.url = b""
        """The target of the request that comes, as far as it has come. uvicorn adds to it."""
        self.headers: list[tuple[bytes, bytes]] = []
        """The headers of the request that comes, as far as they have come. uvicorn adds to them."""
        self.address = ""
        """The peer's address, without its port."""
        self.logger = _SILENT
        self._settings = settings
        self._stall_s = settings.http.stall_timeout_s
        self._renew_s = self.loop.time() + settings.max_connections_age_s
        self._arrival: asyncio.TimerHandle | None = None
        self._reading: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._running: RequestResponseCycle | None = None
        self._incomplete = True
        self._begun = False
        self._in_head = True
        self._head_bytes = self._arrived_bytes = 0
        self._body_left = 0
        self._deaf = self._has_place = False
        self._lost = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a place, note the verified client certificate, and wait for the first request."""
        super().connection_made(transport)
        self.address = self.client[0] if self.client else ""
        self._has_place = self._open_connections.enter(self)
        if not self._has_place:
            self.loop.call_later(_REFUSED_S, self._end_without_place)
            return
        tls = transport.get_extra_info("ssl_object")
        der = tls.getpeercert(binary_form=True) if tls is not None else None
        if der is not None:
            self.app_state["certificate"] = ssl.DER_cert_to_PEM_cert(der).encode()
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back, and cancel the call that has nobody left to answer."""
        self._lost = True
        self._open_connections.leave(self)
        for timer in (self._arrival, self._reading):
            if timer is not None:
                timer.cancel()
        self._unset_keepalive_if_required()
        self.pipeline.clear()
        running = self._running
        super().connection_lost(exc)
        if running is not None and not running.response_complete:
            running.disconnected = True
            if self._task is not None:
                self._task.cancel()

    def eof_received(self) -> None:
        """Watch that the client reads what is left: it sends no more, and the transport closes by itself."""
        self._await_reading()

    def data_received(self, data: bytes) -> None:
        """Parse what came, and watch that the rest of the request follows."""
        if self._deaf or self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        if self._body_left:
            self._take_body(data)
        else:
            self._parse(data)
        if self._in_head and self._incomplete and not self._deaf:
            # Only whole headers are counted as they are parsed. This bounds one that never ends.
            self._arrived_bytes += len(data)
            if self._arrived_bytes > self._settings.http.max_header_bytes:
                self._refuse(self._too_large())
        if not self._has_place:
            return
        if not self._incomplete:
            if self._arrival is not None:
                self._arrival.cancel()
                self._arrival = None
        elif self._arrival is None:
            self._await_request()

    def on_message_begin(self) -> None:
        """Begin a request; httptools calls it."""
        self._begun = True
        self._open_connections.work(self)
        self._incomplete = self._in_head = True
        self._head_bytes = self._arrived_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the first line; httptools calls it."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; httptools calls it. A trailer, behind a body in chunks, is dropped.

        A proxy that takes a header away may let a trailer of the same name through.
        """
        self._count(len(name) + len(value))
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Take the end of a head; httptools calls it."""
        self._in_head = False
        if not self._has_place:
            raise ValueError("no place")  # httptools turns it into a parser error, which ends the request.
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Take the end of a request; httptools calls it."""
        if not self.parser.should_upgrade():
            self._complete()

    def on_response_complete(self) -> None:
        """Go on with the next request, or rest until it comes; the response calls it."""
        super().on_response_complete()
        self._rest_if_idle()
        self._watch_reading()

    @property
    def has_unread(self) -> bool:
        """Whether the client hasn't read all of the last response yet."""
        return self.transport.get_write_buffer_size() > 0

    def make_room(self) -> None:
        """Close, with no request under way."""
        self._deaf = True
        self._close()

    def shutdown(self) -> None:
        """Close, after the answer if a request is under way; the listener calls it at its end."""
        super().shutdown()
        self._watch_reading()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that has been idle for `idle_timeout_s`."""
        super().timeout_keep_alive_handler()
        self._watch_reading()

    def pause_writing(self) -> None:
        """Watch a client that reads more slowly than it is answered."""
        super().pause_writing()
        self._await_reading()

    def _close(self) -> None:
        self.transport.close()
        self._watch_reading()

    def _watch_reading(self) -> None:
        """Watch that the client reads what is left, if anything is.

        A closed transport is watched in any case: it waits until its bytes are read, and under TLS
        `get_write_buffer_size` doesn't count the bytes that are encrypted already.
        """
        if not self._lost and (self.has_unread or self.transport.is_closing()):
            self._await_reading()

    def _await_reading(self) -> None:
        """Begin to wait for the client's next reading, from what is unread now."""
        if self._reading is not None:
            self._reading.cancel()
        unread = self.transport.get_write_buffer_size()
        self._reading = self.loop.call_later(self._stall_s, self._read_late, unread)

    def _read_late(self, unread_before: int) -> None:
        """Disconnect a client that has read nothing since `unread_before` bytes were unread."""
        self._reading = None
        unread, closing = self.transport.get_write_buffer_size(), self.transport.is_closing()
        if not unread and not closing:
            return
        # An answer under way adds bytes, so that the size doesn't show what was read. The transport's limit bounds it.
        growing = not closing and not self.flow.write_paused and self._is_answering
        if growing or unread < unread_before:  # It may read slowly, but it reads.
            self._await_reading()
        else:
            self.transport.abort()

    @property
    def _is_answering(self) -> bool:
        return self._running is not None and not self._running.response_complete

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if self.loop.time() > self._renew_s:
            cycle.keep_alive = False
        self._running = cycle
        self._task = task = self.loop.create_task(cycle.run_asgi(app))
        task.add_done_callback(self.tasks.discard)
        task.add_done_callback(lambda _: self._watch_reading())  # A call that failed midway has closed the transport.
        self.tasks.add(task)

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            if self._in_head and self._head_bytes > self._settings.http.max_header_bytes:
                self._refuse(self._too_large())
            else:
                self._refuse(_invalid("The bytes are no HTTP/1.1 request."))

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Read the body of a request that offers another protocol, as Java's client does with HTTP/2 by default.

        httptools ends such a request with its head. It is answered over HTTP/1.1, and no other request can follow.
        """
        headers = dict(self.headers)
        if b"transfer-encoding" in headers:
            self._refuse(_invalid("A request that offers another protocol needs a Content-Length."))
            return
        self.cycle.keep_alive = False
        self._body_left = int(headers.get(b"content-length", b"0"))
        self._take_body(rest)

    def _take_body(self, data: bytes) -> None:
        piece = data[: self._body_left]
        self._body_left -= len(piece)
        if piece:
            self.on_body(piece)
        if not self._body_left:
            self._complete()
            self._deaf = True

    def _complete(self) -> None:
        self._incomplete = self._begun = False
        self.url, self.headers = b"", []
        super().on_message_complete()
        self._rest_if_idle()

    def _rest_if_idle(self) -> None:
        if not self._begun and not self.pipeline and not self._is_answering:
            self._open_connections.rest(self)

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._settings.http.max_header_bytes:
            raise ValueError("head too large")  # httptools turns it into a parser error, which ends the request.

    def _await_request(self) -> None:
        self._arrival = self.loop.call_later(self._stall_s, self._arrived_late)

    def _arrived_late(self) -> None:
        self._arrival = None
        if self.flow.read_paused:  # The server itself reads no further for now.
            self._await_request()
        else:
            message = f"The request wasn't whole after {self._stall_s:g} s."
            self._refuse(RefusedCallError(HTTPStatus.REQUEST_TIMEOUT, message, reason="REQUEST_TIMED_OUT"))

    def _too_large(self) -> RefusedCallError:
        return RefusedCallError(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"The request's head is larger than {self._settings.http.max_header_bytes} bytes.",
            reason="HEADERS_TOO_LARGE",
        )

    def _refuse(self, error: SemcacheError) -> None:
        """Answer with an error and close; where an earlier request is being answered, close after its answer."""
        self._deaf = True
        if not self._has_place:
            self._write_error(_too_many())
            return
        running = self._running
        if running is not None and not running.response_complete:
            broken_itself = running is self.cycle and running.more_body
            if not broken_itself:
                self.pipeline.clear()
                running.keep_alive = False
                return
            if running.response_started:
                self.transport.abort()
                return
        self._write_error(error)
        self._close()

    def _end_without_place(self) -> None:
        """Close a connection without a place; a client that hasn't sent a whole head is refused now."""
        if self._lost:
            return
        if not self._deaf:
            self._deaf = True
            self._write_error(_too_many())
        self._close()

    def _write_error(self, error: SemcacheError) -> None:
        self.transport.write(self._refusals.answer(error, self.url, self.headers))


def _invalid(message: str) -> RefusedCallError:
    return RefusedCallError(HTTPStatus.BAD_REQUEST, message, reason="INVALID_HTTP")


def _too_many() -> OverloadedError:
    return OverloadedError(
        "The server, or this address, has as many connections open as it may.",
        reason="TOO_MANY_CONNECTIONS",
        hint="Close some, or try again later.",
    )
