"""Reads a request's body: within the size limit, and decompressed where it came by gzip."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping
from http import HTTPStatus

from starlette.types import Receive

from semcache.errors import InvalidRequestError, MessageTooLargeError
from semcache.server.admission import HARD_LIMIT_FACTOR
from semcache.wire.http_failures import RefusedCallError

_GZIP_WINDOW = 16 + zlib.MAX_WBITS
_CHARSETS = frozenset({"", "utf-8", "utf8", "us-ascii"})


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], max_bytes: int) -> tuple[bytes, int]:
    """Return a request's body as it was sent, and its size.

    A body that is larger than `max_bytes` is dropped, and its size alone returned: as far as it was read.

    Raises:
        asyncio.CancelledError: the client has left.
    """
    declared = headers.get(b"content-length", b"")
    hard_limit = max_bytes * HARD_LIMIT_FACTOR
    if declared.isdigit() and int(declared[:20]) > hard_limit:
        return b"", int(declared[:20])
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise asyncio.CancelledError
        piece = message.get("body", b"")
        size += len(piece)
        if not message.get("more_body", False) and not pieces:
            return (piece if size <= max_bytes else b""), size
        if size <= max_bytes:
            pieces.append(piece)
        else:
            pieces.clear()
        if not message.get("more_body", False) or size > hard_limit:
            return b"".join(pieces), size


def decoded_json(body: bytes, headers: Mapping[bytes, bytes], max_bytes: int) -> bytes:
    """Return the JSON text of a body.

    Raises:
        RefusedCallError: 415: it is of another type, or compressed by something other than gzip.
        MessageTooLargeError: it is larger than `max_bytes` when it is decompressed.
        InvalidRequestError: INVALID_GZIP.
    """
    check_json(headers)
    return decoded(body, headers, max_bytes)


def decoded(body: bytes, headers: Mapping[bytes, bytes], max_bytes: int) -> bytes:
    """Return a body of any type without its compression.

    Raises:
        RefusedCallError: 415: it is compressed by something other than gzip.
        MessageTooLargeError: it is larger than `max_bytes` when it is decompressed.
        InvalidRequestError: INVALID_GZIP.
    """
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding in {b"identity", b""}:
        return body
    if encoding not in {b"gzip", b"x-gzip"}:
        raise RefusedCallError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "The body's content-encoding isn't supported.",
            reason="UNSUPPORTED_ENCODING",
            hint="Send it plain, or by gzip.",
            headers=[(b"accept-encoding", b"gzip")],
        )
    return _gunzip(body, max_bytes)


def is_json(content_type: bytes) -> bool:
    """Return whether a body is declared as JSON in UTF-8."""
    if content_type == b"application/json":
        return True
    kind, *parameters = (part.strip().lower() for part in content_type.decode("latin-1").split(";"))
    charset = next((part.partition("=")[2].strip(' "') for part in parameters if part.startswith("charset")), "")
    is_named = kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
    return is_named and charset in _CHARSETS


def check_json(headers: Mapping[bytes, bytes]) -> None:
    """Return for JSON in UTF-8.

    A browser sends other types to any address without asking first. Refusing them keeps a web page from calling a
    server on the reader's own machine.

    Raises:
        RefusedCallError: 415: UNSUPPORTED_CONTENT_TYPE.
    """
    if not is_json(headers.get(b"content-type", b"")):
        raise RefusedCallError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "The body isn't declared as JSON in UTF-8.",
            reason="UNSUPPORTED_CONTENT_TYPE",
            hint="Send the header 'content-type: application/json'.",
            headers=[(b"accept-post", b"application/json")],
        )


def _gunzip(body: bytes, max_bytes: int) -> bytes:
    """Return the members of a gzip body, decompressed one after the other."""
    pieces: list[bytes] = []
    size, rest = 0, body
    while rest:
        member = zlib.decompressobj(_GZIP_WINDOW)
        try:
            # One byte more than allowed tells a body of the limit's size from a larger one.
            piece = member.decompress(rest, max_bytes - size + 1)
        except zlib.error as error:
            raise InvalidRequestError("The body is no gzip data.", reason="INVALID_GZIP") from error
        size += len(piece)
        if size > max_bytes:
            raise MessageTooLargeError(
                f"The message has more than {max_bytes} bytes when it is decompressed; the limit is {max_bytes}.",
                hint="Send less, or raise server.max_message_bytes.",
            )
        if not member.eof:
            raise InvalidRequestError("The body's gzip data end too early.", reason="INVALID_GZIP")
        pieces.append(piece)
        rest = member.unused_data
    return b"".join(pieces)
