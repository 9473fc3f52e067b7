"""What every HTTP call goes through: its head, its body, credentials, admission, and the answer of what fails."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Literal

from starlette.types import ASGIApp, Receive, Scope, Send

from semcache.errors import PermissionDeniedError, SemcacheError
from semcache.server.admission import HARD_LIMIT_FACTOR, Admission, Admitted
from semcache.server.auth import NO_CREDENTIALS, Caller, Credentials
from semcache.server.call_counts import CallCounts
from semcache.server.certificates import common_names
from semcache.server.http.bodies import decoded_json, read_body
from semcache.server.http.call import ErrorEvent, HttpCall, no_error_event
from semcache.server.http.origins import Origins, is_preflight
from semcache.server.shedding import Shedding
from semcache.settings import Role
from semcache.wire.errors_table import row_of
from semcache.wire.http_failures import RefusedCallError, failure_headers, status_of

LOOPBACK = re.compile(rb"(localhost|[^/]+\.localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?", re.IGNORECASE)
"""A name of this machine, with or without a port."""
_NO_SNIFFING = (b"x-content-type-options", b"nosniff")
_CLOSE = (b"connection", b"close")


Handler = Callable[[HttpCall, Caller], Awaitable[None]]
Decode = Callable[[HttpCall, bytes, int], bytes]
"""Returns the body of a call from the bytes that were sent, of at most so many bytes."""
Refused = Literal["any call", "no exact hit", "none"]
"""Which calls of an endpoint are refused for load. Where exact hits aren't, the handler heeds `HttpCall.refusal`."""


def _json_of_a_post(call: HttpCall, raw: bytes, max_bytes: int) -> bytes:
    return decoded_json(raw, call.headers, max_bytes) if call.scope["method"] == "POST" else b""


class HttpCalls:
    """Wraps handlers into endpoints.

    Args:
        admission: lets calls in.
        counts: counts each call by its method and its end.
        shedding: refuses calls while the server can't keep up.
        max_bytes: of one body.
        new_id: makes the id of a call that brings none.
        origins: the web pages that may call.
    """

    def __init__(
        self,
        admission: Admission,
        counts: CallCounts,
        shedding: Shedding,
        *,
        max_bytes: int,
        new_id: Callable[[], str],
        origins: Origins,
    ) -> None:
        self._admission = admission
        self._counts = counts
        self._shedding = shedding
        self._max_bytes = max_bytes
        self._new_id = new_id
        self._origins = origins

    def open(self, scope: Scope, send: Send) -> HttpCall:
        """Return a call that has come, before its body is read."""
        return HttpCall(scope, send, self._new_id, self._origins)

    def endpoint(
        self,
        handle: Handler,
        *,
        method: str,
        needs: Role,
        error_event: ErrorEvent = no_error_event,
        refused: Refused = "any call",
        decode: Decode = _json_of_a_post,
    ) -> ASGIApp:
        """Return an endpoint of a protocol.

        Args:
            handle: answers a call.
            method: the name under which its calls are counted.
            needs: the role that a call needs.
            error_event: writes an error that ends an answer which has begun.
            refused: which calls are refused for load.
            decode: reads the body.
        """
        counts = self._counts.of(method)

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            call, code = self.open(scope, send), "CANCELLED"
            counts.start()
            try:
                with self._enter(call, needs) as caller:
                    if self._shedding.alert and refused != "none":
                        call.refusal = self._shedding.refusal(None)
                        if call.refusal is not None and refused == "any call":
                            raise call.refusal
                    raw, size = await read_body(receive, call.headers, self._max_bytes)
                    self._admission.check_size(size)
                    call.body = decode(call, raw, self._max_bytes)
                    await handle(call, caller)
                code = "OK"
            except SemcacheError as error:
                code = row_of(error).grpc_code
                await _fail(call, error, error_event, unread=_is_unread(call, self._max_bytes))
            except asyncio.CancelledError:
                # The client has left, and the connection has cancelled this task, which ends here.
                return
            finally:
                counts.end(code)

        return answer

    def refusal(self, error: SemcacheError) -> ASGIApp:
        """Return an endpoint that refuses every call. A browser's preflight, which no path takes, is answered."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            del receive
            call, cause = self.open(scope, send), error
            if is_preflight(scope["method"], call.headers):
                try:
                    headers = self._origins.preflight_headers(call.headers)
                except PermissionDeniedError as denied:
                    cause = denied
                else:
                    await call.begin_stream(headers, HTTPStatus.NO_CONTENT)
                    await call.end_stream()
                    return
            self._admission.raise_for_caller(cause)
            await _fail(call, cause, no_error_event, unread=True)

        return answer

    def _enter(self, call: HttpCall, needs: Role) -> Admitted:
        admission = self._admission
        try:
            if admission.reads_headers:
                credentials = _credentials(call, admission)
            else:
                credentials = NO_CREDENTIALS
                _check_host(call.headers.get(b"host", b""))
        except SemcacheError as error:
            admission.raise_for_caller(error)
            raise
        return admission.enter(credentials, needs=needs)


async def _fail(call: HttpCall, error: SemcacheError, error_event: ErrorEvent, *, unread: bool) -> None:
    """Answer with an error; it ends a stream that has begun. After an unread body the connection is closed."""
    call.settle_id()
    if call.started:
        event = error_event(error, call)
        if event is not None:
            await call.end_stream(event)
        return
    status = status_of(error)
    headers = [*failure_headers(error, status), _NO_SNIFFING]
    if unread:
        headers.append(_CLOSE)
    await call.reply(status, headers, call.vendor.error_body(error, call.request_id.decode()))


def _is_unread(call: HttpCall, max_bytes: int) -> bool:
    """Return whether a body is so large that it wasn't read to its end; no other request can follow it."""
    declared = call.headers.get(b"content-length", b"")
    if declared.isdigit():
        return int(declared[:20]) > max_bytes * HARD_LIMIT_FACTOR
    return b"transfer-encoding" in call.headers


_OF_RESPONSES = "/v1/responses/"


def not_found(path: str) -> RefusedCallError:
    """Return the error of a path that isn't served."""
    if path.startswith(_OF_RESPONSES):
        return RefusedCallError(
            HTTPStatus.NOT_FOUND,
            f"The path {path[:200]!r} isn't served: responses are kept at the provider.",
            reason="UNKNOWN_PATH",
            hint="Ask the provider for them; semcache answers POST /v1/responses.",
        )
    return RefusedCallError(
        HTTPStatus.NOT_FOUND,
        f"The path {path[:200]!r} isn't served.",
        reason="UNKNOWN_PATH",
        hint="docs/http.md lists the paths.",
    )


def wrong_method(allowed: str) -> RefusedCallError:
    """Return the error of a method that a path doesn't take."""
    return RefusedCallError(
        HTTPStatus.METHOD_NOT_ALLOWED,
        f"The path takes {allowed} alone.",
        reason="METHOD_NOT_ALLOWED",
        headers=[(b"allow", allowed.encode())],
    )


def _credentials(call: HttpCall, admission: Admission) -> Credentials:
    """Return what the caller shows of itself.

    Raises:
        UnauthenticatedError: DUPLICATE_CREDENTIALS, INVALID_CERTIFICATE_NAME.
    """
    shown = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in call.pairs)
    certificate: Any = call.scope["state"].get("certificate") if admission.reads_certificates else None
    return Credentials.from_headers(shown, common_names(certificate) if certificate else ())


def _check_host(host: bytes) -> None:
    """Return if a server without authentication was asked for by a name of this machine.

    A web page can give its own name the address 127.0.0.1 (DNS rebinding), and would read what the cache holds.

    Raises:
        PermissionDeniedError: HOST_NOT_LOCAL.
    """
    if host and not LOOPBACK.fullmatch(host):
        raise PermissionDeniedError(
            "The server has no authentication, and the host that was asked for isn't this machine.",
            reason="HOST_NOT_LOCAL",
            hint="Ask for localhost or 127.0.0.1, or turn authentication on.",
        )
