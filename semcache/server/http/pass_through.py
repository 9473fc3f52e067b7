"""Calls of paths under `/v1/` that semcache doesn't know: passed through to a target, and never cached.

What reaches the target is the method, the path, the query, the content type, the accepted type and the body. Of the
answer the caller gets the status, the body and what is needed to read it. Every other header, credentials and cookies
above all, stays here.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from semcache.errors import DeadlineExceededError, InvalidRequestError, PermissionDeniedError
from semcache.long_work import LongWork
from semcache.model import PassedCall
from semcache.ports import Clock
from semcache.request import MAX_MODEL_CHARS, decode_json, is_long
from semcache.server import audit
from semcache.server.auth import Caller
from semcache.server.http.bodies import check_json, decoded, is_json
from semcache.server.http.call import HttpCall
from semcache.server.http.calls import LOOPBACK
from semcache.server.http.origins import Origins
from semcache.settings import LimitSettings
from semcache.story import SemanticCache
from semcache.wire.http_failures import RefusedCallError

PREFIX = "/v1/"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_SEGMENT = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+")
_UNSAFE = re.compile(rb"[\x00-\x1f\x7f/\\%]")
_QUERY_CHARACTERS = "!$&'()*+,;=:@/?%-._~[]"
_TOLD = (
    (b"x-cache-status", b"BYPASS"),
    (b"cache-status", b"semcache; fwd=bypass; detail=passed"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)


class PassThrough:
    """Passes calls through.

    Args:
        cache: the one object behind every front.
        clock: calls end by its monotonic time.
        limits: of JSON bodies.
        long_work: reads long bodies.
        deadline_s: the longest that a call may take, seconds.
        authenticated: whether callers show credentials. Otherwise only a web page of an allowed origin may call.
        origins: the web pages that may call.
    """

    def __init__(
        self,
        cache: SemanticCache,
        clock: Clock,
        limits: LimitSettings,
        long_work: LongWork,
        *,
        deadline_s: float,
        authenticated: bool,
        origins: Origins,
    ) -> None:
        self._cache = cache
        self._clock = clock
        self._limits = limits
        self._long_work = long_work
        self._deadline_s = deadline_s
        self._authenticated = authenticated
        self._origins = origins

    def decode(self, call: HttpCall, raw: bytes, max_bytes: int) -> bytes:
        """Return the body of a call, decompressed.

        Raises:
            RefusedCallError: 415: without authentication, a body that isn't declared as JSON; an unknown encoding.
            PermissionDeniedError: CROSS_SITE: without authentication, a call that a web page makes.
            MessageTooLargeError, InvalidRequestError: as of every body.
        """
        if not self._authenticated:
            _check_origin(call, self._origins)
            if raw:
                check_json(call.headers)
        return decoded(raw, call.headers, max_bytes)

    async def answer(self, call: HttpCall, caller: Caller) -> None:
        """Answer one call.

        Raises:
            RefusedCallError: INVALID_PATH.
            The errors of `Upstream.pass_on`.
        """
        passed = await self._read(call, caller.tenant)
        if not call.request_id:
            call.request_id = passed.request_id.encode()
        async with self._cache.pass_on(passed) as reply:
            audit.passed(caller, passed, reply)
            await call.begin_stream([*reply.headers, *_TOLD], reply.status)
            try:
                # The call's time covers a slow reader too: it holds a place at the target.
                async with (
                    asyncio.timeout(max(0.0, passed.deadline_s - self._clock.monotonic())),
                    aclosing(reply.pieces) as pieces,
                ):
                    async for piece in pieces:
                        await call.write(piece)
                    await call.end_stream()
            except TimeoutError as error:
                raise DeadlineExceededError("The answer wasn't read within upstream.deadline_s.") from error

    async def _read(self, call: HttpCall, tenant: str) -> PassedCall:
        scope: Any = call.scope
        content_type = call.headers.get(b"content-type", b"") if call.body else b""
        return PassedCall(
            method=scope["method"],
            path=path_below(scope["raw_path"]),
            query=quote(scope["query_string"], safe=_QUERY_CHARACTERS),
            content_type=content_type,
            accept=call.headers.get(b"accept", b""),
            body=call.body,
            alias=await self._alias(call.body, content_type, tenant),
            deadline_s=self._clock.monotonic() + self._deadline_s,
            request_id=self._cache.new_id(),
            tenant=tenant,
        )

    async def _alias(self, body: bytes, content_type: bytes, tenant: str) -> str:
        """Return the model that a body names; empty for a body that isn't JSON, or names none.

        Raises:
            InvalidRequestError: the body is declared as JSON and isn't an object with one meaning, or names no usable
                model.
            RefusedCallError: 415: JSON in another charset than UTF-8.
        """
        if not body or not is_json(content_type):
            if b"json" in content_type.lower():  # Another charset would hide the model from the routes.
                check_json({b"content-type": content_type})
            return ""
        read = partial(decode_json, body, self._limits, "The request")
        fields = await self._long_work.run(tenant, read) if is_long(body) else read()
        model = fields.get("model")
        if model is not None and not (isinstance(model, str) and len(model) <= MAX_MODEL_CHARS):
            raise InvalidRequestError(
                f"model must be a string of at most {MAX_MODEL_CHARS} characters.",
                reason="INVALID_PARAMETER",
                metadata={"field": "model"},
            )
        return model or ""


def path_below(raw_path: bytes) -> str:
    """Return the part of a raw path below `/v1/`, which leads nowhere else at any target.

    A target, or a proxy before it, may decode the path twice, take a backslash for a slash, or drop what follows a
    semicolon. So a part that would then climb up, or be two parts, is refused.

    Raises:
        RefusedCallError: INVALID_PATH.
    """
    head, prefix, below = raw_path.partition(PREFIX.encode())
    *parts, last = below.split(b"/")
    if head or not prefix or not below or not all(map(_is_safe, (*parts, *([last] if last else [])))):
        raise RefusedCallError(
            HTTPStatus.BAD_REQUEST,
            "The path can't be passed through.",
            reason="INVALID_PATH",
            hint="Its parts below /v1/ must be plain: none empty or of dots, no encoded slash, backslash or percent.",
        )
    return below.decode("ascii")


def _is_safe(part: bytes) -> bool:
    if not _SEGMENT.fullmatch(part):
        return False
    plain = unquote_to_bytes(part)
    return not _UNSAFE.search(plain) and plain.partition(b";")[0] not in {b"", b".", b".."}


def _check_origin(call: HttpCall, origins: Origins) -> None:
    """Return unless a browser says that a page of another site makes the call, and that site isn't allowed to.

    A page may send a GET, and a POST without a body, to any address without asking first.

    Raises:
        PermissionDeniedError: CROSS_SITE.
    """
    if origins.allows(call.headers.get(b"origin", b"")):
        return
    origin = call.headers.get(b"origin", b"").partition(b"://")[2]
    is_foreign = b"origin" in call.headers and not LOOPBACK.fullmatch(origin)
    if is_foreign or call.headers.get(b"sec-fetch-site", b"none") not in {b"none", b"same-origin", b"same-site"}:
        raise PermissionDeniedError(
            "The server has no authentication, and a web page of another site makes the call.",
            reason="CROSS_SITE",
            hint="Call it from a program, or add the page's origin to server.http.allowed_origins.",
        )
