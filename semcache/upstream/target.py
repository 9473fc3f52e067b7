"""One target: its connections, its key, its time limits, and its failures as semcache's errors."""

from __future__ import annotations

import asyncio
import http
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, nullcontext
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx2

from semcache.errors import (
    SERVERS_KEY_STATUSES,
    SettingsError,
    UpstreamError,
    UpstreamRefusedError,
    UpstreamTimedOutError,
    exhaustion_behind,
)
from semcache.model import ApiProtocol, PassedCall, ProtocolHeaders, UpstreamCall
from semcache.ports import Clock
from semcache.protocols import FORMS, AnswerForm
from semcache.protocols.lost import ReceivedBody
from semcache.settings import Target
from semcache.upstream.addresses import endpoint, form_of, passed_url
from semcache.upstream.credentials import ApiKeySource
from semcache.upstream.retries import BROKE_OFF, TOO_LARGE, UNREACHABLE, asked_wait_s

_EVENT_STREAM = "text/event-stream"
_WHOLE = frozenset({http.HTTPStatus.OK, http.HTTPStatus.CREATED, http.HTTPStatus.NON_AUTHORITATIVE_INFORMATION})
"""Statuses of a whole answer: some frameworks create what a POST asks for, and some proxies change it on its way. Of
the other successes 206 is a part, 202 comes before the answer, and 204 and 205 have none."""
_ERROR_BYTES = 64 * 1024
"""Bytes read of an error's body: providers' errors have a few hundred."""
_KEEPALIVE_S = 30.0
"""Below the idle limit of common load balancers (60 s), so that the other side seldom closes a kept connection."""


class StreamedReply:
    """The successful reply to a streamed call: its head has come, its body is still coming."""

    def __init__(
        self, target: HttpTarget, response: httpx2.Response, call: UpstreamCall, received: ReceivedBody
    ) -> None:
        self._target = target
        self._response = response
        self._call = call
        self._received = received

    @property
    def is_event_stream(self) -> bool:
        """Whether the body is an event stream, as was asked for. A reply without a content type counts as one."""
        kind = self._response.headers.get("content-type", _EVENT_STREAM)
        return kind.split(";")[0].strip().lower() == _EVENT_STREAM

    async def read(self) -> bytes:
        """Return the whole body, within the target's timeout.

        Raises:
            UpstreamTimedOutError, UpstreamError: ANSWER_TOO_LARGE, or the connection broke off.
        """
        async with self._target.time_limit(self._target.settings.timeout_s, self._call):
            return await self._target.read(self._response, self._received)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it arrives: its first piece within the target's timeout, others within its stall timeout.

        Raises:
            UpstreamTimedOutError: nothing came within the timeout, or the call's deadline passed.
            UpstreamError: the connection broke off.
        """
        limit_s = self._target.settings.timeout_s
        async with aclosing(self._response.aiter_bytes()) as body:
            while True:
                async with self._target.time_limit(limit_s, self._call):
                    piece = await anext(body, None)
                if piece is None:
                    self._received.ended = True
                    return
                limit_s = self._target.settings.stall_timeout_s
                if not self._received.chunks:
                    self._received.pieces.append(piece)
                yield piece


class HttpTarget:
    """A target over HTTP/1.1 with keep-alive.

    Raises:
        SettingsError: the base URL isn't one, or the key can't be used.
    """

    def __init__(self, settings: Target, clock: Clock, *, answer_bytes: int, environ: Mapping[str, str]) -> None:
        self.settings = settings
        self.answer_bytes = answer_bytes
        self._clock = clock
        self._key = ApiKeySource(settings, environ)
        try:
            self._urls = {
                protocol: httpx2.URL(endpoint(settings.base_url, form.path)) for protocol, form in FORMS.items()
            }
        except httpx2.InvalidURL as error:
            raise SettingsError([f"target {settings.name!r}: base_url is no URL: {error}"]) from error
        self._client = httpx2.AsyncClient(
            # A proxy or a .netrc of the environment would be a second, hidden configuration.
            trust_env=False,
            follow_redirects=False,
            # A plain target needs no certificates, and loading them takes longer than everything else here.
            verify=self._urls[ApiProtocol.CHAT].scheme == "https",
            # `time_limit` limits the calls: one limit covers all steps of a call.
            timeout=httpx2.Timeout(None, connect=settings.connect_timeout_s),
            limits=httpx2.Limits(
                max_connections=settings.max_connections,
                max_keepalive_connections=settings.max_connections,
                keepalive_expiry=_KEEPALIVE_S,
            ),
            # A jar would carry a cookie from one tenant's call into another tenant's.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        )

    async def fetch(self, body: bytes, call: UpstreamCall, limit_s: float, received: ReceivedBody) -> bytes:
        """Send a body and return the whole answer, within the target's timeout and `limit_s`.

        What comes is noted in `received`, however the exchange ends.

        Raises:
            UpstreamRefusedError: a 4xx.
            UpstreamTimedOutError: the target's timeout or the call's deadline passed.
            UpstreamError: anything else that is no success, no connection, or ANSWER_TOO_LARGE.
            ServerExhaustedError: this process has run out of something, which isn't the target's fault.
        """
        async with (
            self.time_limit(min(self.settings.timeout_s, limit_s), call),
            self._exchange(body, call, "application/json", nullcontext(), received) as response,
        ):
            return await self.read(response, received)

    @asynccontextmanager
    async def open(
        self, body: bytes, call: UpstreamCall, limit_s: float, received: ReceivedBody
    ) -> AsyncIterator[StreamedReply]:
        """Send a body and yield the streamed reply once its head says success, within the timeout and `limit_s`.

        What comes is noted in `received`, however the exchange ends.

        Raises:
            The errors of `fetch`, for the head.
        """
        head_limit = self.time_limit(min(self.settings.timeout_s, limit_s), call)
        async with self._exchange(body, call, _EVENT_STREAM, head_limit, received) as response:
            yield StreamedReply(self, response, call, received)

    @asynccontextmanager
    async def pass_on(self, call: PassedCall, body: bytes) -> AsyncIterator[tuple[httpx2.Response, bytes | None]]:
        """Send a call of any path; yield the response once its head has come, within the target's timeout.

        Of an error (4xx, 5xx) the body is yielded too, without the target's key; of any other response None. Errors
        become semcache's until the block ends.

        Raises:
            UpstreamRefusedError: 401 or 403: the target judged the server's own key.
            UpstreamTimedOutError: the target's timeout or the call's deadline passed.
            UpstreamError: a redirect, or no connection.
            ServerExhaustedError: this process has run out of something, which isn't the target's fault.
        """
        key = self._key.current()
        own = self._headers(key, form_of(call), call, "")
        own.pop("content-type")
        shown = {"accept": call.accept or b"*/*", **({"content-type": call.content_type} if call.content_type else {})}
        headers = [(name.encode(), value) for name, value in shown.items()]
        headers += [(name.encode(), value.encode()) for name, value in own.items() if name not in shown]
        request = self._client.build_request(
            call.method, passed_url(self.settings.base_url, call), content=body or None, headers=headers
        )
        response: httpx2.Response | None = None
        try:
            async with self.time_limit(self.settings.timeout_s, call):
                response = await self._client.send(request, stream=True)
                if response.is_redirect or response.status_code in SERVERS_KEY_STATUSES:
                    raise self._failure(response, b"", key)
                error = _without_key(await _read_error(response), key) if response.is_error else None
            yield response, error
        except httpx2.HTTPError as error:
            raise exhaustion_behind(error) or self._broken(error, begun=response is not None) from error
        finally:
            if response is not None:
                await response.aclose()

    async def read(self, response: httpx2.Response, received: ReceivedBody) -> bytes:
        """Return a response's body of at most `answer_bytes`, and note it in `received`.

        Raises:
            UpstreamError: ANSWER_TOO_LARGE.
        """
        if received.declared_bytes > self.answer_bytes:
            raise self.too_large()
        size = 0
        async with aclosing(response.aiter_bytes()) as body:
            async for piece in body:
                size += len(piece)
                if size > self.answer_bytes:
                    raise self.too_large()
                received.pieces.append(piece)
        received.ended = True
        return b"".join(received.pieces)

    @asynccontextmanager
    async def _exchange(
        self,
        body: bytes,
        call: UpstreamCall,
        accept: str,
        head_limit: AbstractAsyncContextManager[None],
        received: ReceivedBody,
    ) -> AsyncIterator[httpx2.Response]:
        """Send a body and yield the response whose head says success; errors become semcache's until the block ends."""
        key = self._key.current()
        url, headers = self._urls[call.protocol], self._headers(key, FORMS[call.protocol], call, accept, call.headers)
        request = self._client.build_request("POST", url, content=body, headers=headers)
        response: httpx2.Response | None = None
        try:
            async with head_limit:
                response = await self._client.send(request, stream=True)
                if response.status_code not in _WHOLE:
                    said = await _read_error(response)
                    if response.is_success:  # A part of an answer is charged as a lost one is.
                        received.begun = received.ended = True
                        received.pieces.append(said)
                    raise self._failure(response, said, key)
            declared = response.headers.get("content-length", "")
            received.declared_bytes = int(declared[:20]) if declared.isdecimal() else 0
            received.begun = True
            yield response
        except httpx2.HTTPError as error:
            raise exhaustion_behind(error) or self._broken(error, begun=response is not None) from error
        finally:
            if response is not None:
                await response.aclose()

    @asynccontextmanager
    async def time_limit(self, limit_s: float, call: UpstreamCall | PassedCall) -> AsyncIterator[None]:
        """End the block after `limit_s` seconds, or at the call's deadline.

        Raises:
            UpstreamTimedOutError: the limit or the deadline passed; the message says which.
        """
        remaining_s = call.deadline_s - self._clock.monotonic()
        try:
            async with asyncio.timeout(max(0.0, min(limit_s, remaining_s))):
                yield
        except TimeoutError as error:
            raise self.timed_out(limit_s if limit_s < remaining_s else None) from error

    def timed_out(self, limit_s: float | None) -> UpstreamTimedOutError:
        """Return the error of a call that took longer than `limit_s`; None: longer than its deadline allowed."""
        if limit_s is None:
            return UpstreamTimedOutError(
                f"The upstream {self.settings.name!r} didn't answer before the call's deadline."
            )
        return UpstreamTimedOutError(
            f"The upstream {self.settings.name!r} sent nothing more within {limit_s:g} s.",
            hint="The target's timeout_s and stall_timeout_s set how long semcache waits; where others could still "
            "answer, its share of the call's deadline does.",
        )

    def too_large(self) -> UpstreamError:
        """Return the error of an answer that is larger than `answer_bytes`."""
        return UpstreamError(
            f"The answer of the upstream {self.settings.name!r} is larger than {self.answer_bytes} bytes.",
            http_status=http.HTTPStatus.OK,
            reason=TOO_LARGE,
            hint="Ask for less with max_tokens, or raise limits.answer_bytes.",
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _headers(
        self, key: str, form: AnswerForm, call: UpstreamCall | PassedCall, accept: str, own: ProtocolHeaders = ()
    ) -> dict[str, str]:
        """Return the headers of a call; `own` are those that its caller has sent for its protocol."""
        headers = {
            "user-agent": "semcache",
            "content-type": "application/json",
            "accept": accept,
            # A compressed stream arrives in large pieces and late; answers are small.
            "accept-encoding": "identity",
            "x-request-id": call.request_id,
            **form.headers,
            **dict(own),
            **{name.lower(): value for name, value in self.settings.headers.items()},
        }
        if key:
            name = self.settings.key_header or form.key_header
            headers[name] = f"Bearer {key}" if name == "authorization" else key
        return headers

    def _failure(self, response: httpx2.Response, body: bytes, key: str) -> UpstreamError:
        status = response.status_code
        name = self.settings.name
        body = _without_key(body, key)
        retry_after_s = asked_wait_s(response.headers, self._clock.wall())
        content_type = response.headers.get("content-type", "")
        phrase = f"{status} {_phrase(status)}".strip()
        if response.is_client_error:
            hint = ""
            if status in SERVERS_KEY_STATUSES:
                hint = "It judged the server's own key for it: see api_key_env and api_key_file of the target."
            return UpstreamRefusedError(
                f"The upstream {name!r} refused with {phrase}.",
                http_status=status,
                body=body,
                content_type=content_type,
                retry_after_s=retry_after_s,
                hint=hint,
            )
        if response.is_server_error:
            return UpstreamError(
                f"The upstream {name!r} failed with {phrase}.",
                http_status=status,
                body=body,
                content_type=content_type,
                retry_after_s=retry_after_s,
            )
        return UpstreamError(
            f"The upstream {name!r} answered with {phrase}, which is no answer.",
            http_status=status,
            body=body,
            hint="A whole answer comes with the status 200."
            if response.is_success
            else "Redirects aren't followed: base_url must name the final address.",
        )

    def _broken(self, error: httpx2.HTTPError, *, begun: bool) -> UpstreamError:
        name = self.settings.name
        kind = type(error).__name__
        if isinstance(error, httpx2.ConnectTimeout):
            return UpstreamError(
                f"The upstream {name!r} took no connection within {self.settings.connect_timeout_s:g} s.",
                reason=UNREACHABLE,
            )
        if isinstance(error, httpx2.NetworkError | httpx2.RemoteProtocolError):
            if begun:
                return UpstreamError(
                    f"The connection to the upstream {name!r} broke off in the middle of its answer ({kind}).",
                    http_status=http.HTTPStatus.OK,
                    reason=BROKE_OFF,
                )
            return UpstreamError(
                f"The upstream {name!r} can't be reached ({kind}).",
                reason=UNREACHABLE,
                hint="Check the target's base_url and whether it runs.",
            )
        return UpstreamError(f"The exchange with the upstream {name!r} failed ({kind}).")


def _without_key(body: bytes, key: str) -> bytes:
    """Return an error's body without the target's key: some servers repeat a wrong one."""
    return body.replace(key.encode(), b"[key]") if key else body


async def _read_error(response: httpx2.Response) -> bytes:
    """Return the first bytes of an error's body, or those that came before the connection broke off."""
    body = bytearray()
    try:
        async with aclosing(response.aiter_bytes()) as pieces:
            async for piece in pieces:
                body += piece
                if len(body) >= _ERROR_BYTES:
                    break
    except httpx2.HTTPError:
        # The status says what happened, so an error's body may be incomplete.
        return bytes(body)
    return bytes(body[:_ERROR_BYTES])


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return ""
