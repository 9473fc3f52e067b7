"""Answers to requests that no call answers: what is no HTTP, too large, too slow, or one connection too many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus
from urllib.parse import unquote

import httptools

from semcache.errors import SemcacheError
from semcache.server.http.call import REQUEST_ID, sent_request_id
from semcache.server.http.origins import Origins
from semcache.wire.http_failures import failure_headers, status_of
from semcache.wire.http_vendors import vendor_of


class Refusals:
    """Writes answers that end a connection.

    Args:
        new_id: makes the id of a request that brings none.
        origins: the web pages that may read them.
    """

    def __init__(self, new_id: Callable[[], str], origins: Origins) -> None:
        self._new_id = new_id
        self._origins = origins

    def answer(self, error: SemcacheError, url: bytes, pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
        """Return the bytes of an answer in the shape of the client's API, as far as its head shows that.

        Args:
            error: why the request is refused.
            url: the target of the first line, as far as it has come.
            pairs: the headers that have come; names in lower case.
        """
        sent = dict(pairs)
        vendor = vendor_of(_path_of(url), sent)
        request_id = sent_request_id(sent) or self._new_id().encode()
        status = HTTPStatus(status_of(error))
        body = vendor.error_body(error, request_id.decode())
        headers = [
            *failure_headers(error, status),
            *self._origins.answer_headers(sent),
            (REQUEST_ID, request_id),
            *([(vendor.id_header, request_id)] if vendor.id_header else []),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        first = f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode()
        return first + b"".join([b"%b: %b\r\n" % header for header in headers]) + b"\r\n" + body


def _path_of(url: bytes) -> str:
    """Return the path of a request's target; empty where it has none that can be read."""
    try:
        path = httptools.parse_url(url).path if url else None
    except httptools.HttpParserInvalidURLError:
        return ""
    return unquote((path or b"").decode("latin-1"))
