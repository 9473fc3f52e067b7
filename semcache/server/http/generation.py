"""Calls for an answer, such as `POST /v1/chat/completions`: plain and streamed, of any protocol, over the one cache."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import cast

from semcache.errors import InvalidRequestError
from semcache.long_work import LongWork
from semcache.model import Finished, ProtocolHeaders, Request, Response, Started
from semcache.protocols import without_field
from semcache.request import RequestMemo, is_long, parse_body
from semcache.server import audit
from semcache.server.auth import Caller
from semcache.server.http.call import HttpCall
from semcache.server.http.protocols import HttpProtocol, without_usage
from semcache.settings import HttpSettings, LimitSettings
from semcache.story import SemanticCache
from semcache.wire.http_failures import JSON_TYPE, Headers
from semcache.wire.http_telling import FROM_ENTRIES, told_comment, told_headers
from semcache.wire.http_wishes import WishHeaders, read_request, wish_headers

_JSON = (b"content-type", JSON_TYPE)
_EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")
_UNCACHED = (b"cache-control", b"no-cache")
_UNBUFFERED = (b"x-accel-buffering", b"no")
"""nginx holds a stream back without it."""
_PIECE_BYTES = 64 * 1024
"""Chunks of a replayed stream are sent together, in pieces of about this size."""


@dataclass(frozen=True, slots=True)
class GenerationCall:
    """A call as it was asked."""

    request: Request
    streams: bool


class Generation:
    """Answers the calls of one protocol.

    Args:
        protocol: how it is spoken.
        cache: what answers.
        memo: remembers what was read of requests that come again.
        settings: how answers of the cache are told.
        limits: of names and of the body.
        long_work: reads long bodies.
    """

    def __init__(
        self,
        protocol: HttpProtocol,
        *,
        cache: SemanticCache,
        memo: RequestMemo,
        settings: HttpSettings,
        limits: LimitSettings,
        long_work: LongWork,
    ) -> None:
        self._protocol = protocol
        self._long_work = long_work
        self._cache = cache
        self._memo = memo
        self._settings = settings
        self._limits = limits

    async def answer(self, call: HttpCall, caller: Caller) -> None:
        """Answer one call.

        Raises:
            OverloadedError: the call is refused for load, and no exact hit would answer it.
        """
        asked = await self._asked(call, caller.tenant)
        if call.refusal is not None and not await self._cache.holds(asked.request):
            raise call.refusal
        if asked.streams:
            async with aclosing(self._cache.stream(asked.request)) as frames:
                await self._stream(call, caller, frames)
        else:
            response = await self._cache.complete(asked.request)
            audit.filled(caller, response)
            call.name(response.request_id)
            assert response.answer is not None
            body = response.answer.body
            if self._zeroes(response):
                body = without_usage(body)
            await call.reply(HTTPStatus.OK, [_JSON, *told_headers(response)], body)

    async def _asked(self, call: HttpCall, tenant: str) -> GenerationCall:
        """Return what a call asks for, from the memo if it has the body."""
        wishes = wish_headers(call.pairs)
        headers = self._protocol.headers(call)
        # What is read depends on the headers too. A header has no line break, so the first empty line ends them.
        named = b"".join([b"%b:%b\n" % wish for wish in wishes]) if wishes else b""
        if headers:
            named += "".join([f"{name}:{value}\n" for name, value in headers]).encode()
        key = (tenant, self, named + b"\n" + call.body)
        known = self._memo.find(key)
        if known is not None:
            return cast("GenerationCall", known)  # The key names this object, so it was made here.
        read = partial(self._read, call.body, wishes, headers, tenant)
        asked = await self._long_work.run(tenant, read) if is_long(call.body) else read()
        self._memo.remember(key, asked)
        return asked

    def _read(self, body: bytes, wishes: WishHeaders, headers: ProtocolHeaders, tenant: str) -> GenerationCall:
        fields = parse_body(body, self._limits, self._protocol.api).fields
        streams = fields.get("stream", False)
        if not isinstance(streams, bool):
            raise InvalidRequestError(
                "stream must be true or false.", reason="INVALID_PARAMETER", metadata={"field": "stream"}
            )
        if "cache" in fields:
            body = without_field(body, "cache")
        request = read_request(wishes, fields.get("cache"), tenant=tenant, body=body, limits=self._limits)
        return GenerationCall(replace(request, protocol=self._protocol.api, headers=headers), streams)

    async def _stream(
        self, call: HttpCall, caller: Caller, frames: AsyncGenerator[Started | bytes | Finished, None]
    ) -> None:
        """Send a stream's frames as server-sent events.

        The head is sent with the first chunk, so that what fails before it is an error with a status of its own.
        """
        event, head = self._protocol.event, Headers()
        replayed = zeroes = False
        pause_s = 0.0
        pieces: list[bytes] = []
        size, last = 0, b""
        async for frame in frames:
            if isinstance(frame, Started):
                response = frame.response
                call.name(response.request_id)
                replayed, zeroes = response.answer is not None, self._zeroes(response)
                pause_s = self._settings.replay_pause_s if replayed else 0.0
                head = [_EVENTS, _UNCACHED, _UNBUFFERED, *told_headers(response)]
                continue
            if not call.started:
                await call.begin_stream(head)
            if isinstance(frame, bytes):
                sent = event(without_usage(frame) if zeroes and b'"usage"' in frame else frame)
                if self._protocol.closes(frame):
                    last = sent
                    continue
                pieces.append(sent)
                size += len(frame)
                call.events += 1
                if not replayed or pause_s or size >= _PIECE_BYTES:
                    await call.write(b"".join(pieces))
                    pieces, size = [], 0
                if pause_s:
                    await asyncio.sleep(pause_s)
            else:
                audit.filled(caller, frame.response)
                pieces += [told_comment(frame.response), last, self._protocol.end]
                await call.end_stream(b"".join(pieces))

    def _zeroes(self, response: Response) -> bool:
        return self._settings.hit_usage == "zero" and response.status in FROM_ENTRIES
