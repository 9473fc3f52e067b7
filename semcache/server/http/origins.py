"""Which web pages may call from a browser: cross-origin resource sharing (CORS), by the WHATWG's Fetch standard.

A browser lets a page of another origin read an answer only where the answer names the page's origin, and asks first
(a preflight) for every call that a plain form couldn't make. Cookies are no credential here, so that
`access-control-allow-credentials` is never sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from semcache.errors import PermissionDeniedError
from semcache.wire.http_failures import Headers

_PREFLIGHT = b"access-control-request-method"
_REQUESTED_HEADERS = b"access-control-request-headers"
_NAMES = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*,[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+)*")
"""A list of header names."""
_METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE"
"""Whether a path takes a method is said by the call itself."""
_MAX_AGE_S = 600
"""How long a browser may remember a preflight: an origin that is taken from the list keeps its consent so long."""
EXPOSED = (
    "age",
    "cache-status",
    "request-id",
    "retry-after",
    "x-cache-match",
    "x-cache-similarity",
    "x-cache-status",
    "x-request-id",
    "x-semcache-cost-usd",
    "x-semcache-degraded",
    "x-semcache-entry-id",
    "x-semcache-hit-id",
    "x-semcache-item-hits",
    "x-semcache-items",
    "x-semcache-request-id",
    "x-semcache-saved-usd",
    "x-should-retry",
)
"""Headers of answers that a page may read."""
_EXPOSED = (b"access-control-expose-headers", ", ".join(EXPOSED).encode())
_VARIES = (b"vary", b"origin")


class Origins:
    """The origins whose pages may call.

    Args:
        allowed: as browsers write them, such as `https://chat.example`.
    """

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = frozenset(origin.encode() for origin in allowed)

    def allows(self, origin: bytes) -> bool:
        """Return whether a page of this origin may call."""
        return origin in self._allowed

    def answer_headers(self, sent: Mapping[bytes, bytes]) -> Headers:
        """Return what an answer says to a browser, of the call's headers by lower-case name."""
        if not self._allowed:
            return []
        origin = sent.get(b"origin", b"")
        if origin not in self._allowed:
            return [_VARIES]
        return [_VARIES, (b"access-control-allow-origin", origin), _EXPOSED]

    def preflight_headers(self, sent: Mapping[bytes, bytes]) -> Headers:
        """Return the answer to a preflight, beside `answer_headers`.

        Raises:
            PermissionDeniedError: ORIGIN_NOT_ALLOWED.
        """
        origin = sent.get(b"origin", b"")
        if origin not in self._allowed:
            raise PermissionDeniedError(
                f"Web pages of {origin[:200].decode('latin-1')!r} may not call this server.",
                reason="ORIGIN_NOT_ALLOWED",
                hint="Add the origin to server.http.allowed_origins.",
            )
        headers: Headers = [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-max-age", b"%d" % _MAX_AGE_S),
        ]
        names = sent.get(_REQUESTED_HEADERS, b"")
        if _NAMES.fullmatch(names):
            headers.append((b"access-control-allow-headers", names))
        if sent.get(b"access-control-request-private-network") == b"true":
            headers.append((b"access-control-allow-private-network", b"true"))
        return headers


def is_preflight(method: str, sent: Mapping[bytes, bytes]) -> bool:
    """Return whether a browser asks if it may make a call of a page."""
    return method == "OPTIONS" and b"origin" in sent and _PREFLIGHT in sent
