"""What an answer's headers say of the cache. In a stream, a last comment says it again, with what was known last."""

from __future__ import annotations

import json
import re

from semcache.model import HIT_STATUSES, NANOUSD_PER_USD, Cost, Response, Status, format_entry_id
from semcache.wire.http_failures import Headers

_CACHE_STATUS = {
    Status.EXACT_HIT: b"HIT",
    Status.SEMANTIC_HIT: b"HIT",
    Status.COALESCED: b"HIT",
    Status.MISS: b"MISS",
    Status.BYPASS: b"BYPASS",
    Status.REFRESH: b"BYPASS",
    Status.STALE: b"STALE",
}
_RFC9211 = {
    Status.EXACT_HIT: "hit",
    Status.SEMANTIC_HIT: "hit",
    Status.COALESCED: "fwd=miss; collapsed",
    Status.MISS: "fwd=miss",
    Status.BYPASS: "fwd=bypass",
    Status.REFRESH: "fwd=request",
    Status.STALE: "fwd=stale",
}
"""Parameters of the `Cache-Status` header by RFC 9211."""
FROM_ENTRIES = frozenset({Status.EXACT_HIT, Status.SEMANTIC_HIT, Status.STALE})
"""Statuses of answers that an earlier request paid for."""
_TOKEN = re.compile(r"[a-z][a-z0-9_]*")
_IN_FLIGHT = "in_flight"
_NOT_ASKED = "upstream_unavailable"
"""The reason of a stale answer for which no target was asked, so that it wasn't forwarded."""


def told_headers(response: Response) -> Headers:
    """Return the headers that say how a request was answered, as far as that is known."""
    status = response.status
    headers: Headers = [
        (b"x-cache-status", _CACHE_STATUS[status]),
        (b"cache-status", _cache_status(response)),
        (b"x-semcache-request-id", response.request_id.encode()),
    ]
    if status in HIT_STATUSES:
        headers.append((b"x-cache-match", _match(response)))
    if response.similarity is not None:
        headers.append((b"x-cache-similarity", b"%.4f" % response.similarity))
    if response.age_s is not None:
        headers.append((b"age", b"%d" % response.age_s))
    if response.hit_id:
        headers.append((b"x-semcache-hit-id", response.hit_id.encode()))
    if response.answer is not None:
        if response.cost.priced:
            headers.append((b"x-semcache-cost-usd", _usd(response.cost)))
        if response.saved.priced:
            headers.append((b"x-semcache-saved-usd", _usd(response.saved)))
        if response.entry_id:
            headers.append((b"x-semcache-entry-id", format_entry_id(response.entry_id).encode()))
        if response.answer.degraded:
            headers.append((b"x-semcache-degraded", b"true"))
    return headers


def told_comment(response: Response) -> bytes:
    """Return the headers of a stream's end as a comment of server-sent events; readers of events skip it."""
    told = {name.decode(): value.decode() for name, value in told_headers(response)}
    return b": semcache %b\n\n" % json.dumps(told, separators=(",", ":")).encode()


def _cache_status(response: Response) -> bytes:
    parts = ["semcache", _RFC9211[response.status]]
    if response.stale_s is not None:
        parts = ["semcache", "hit"] if response.reason == _NOT_ASKED else parts
        parts.append(f"ttl=-{response.stale_s:.0f}")
    if response.stored:
        parts.append("stored")
    if _TOKEN.fullmatch(response.reason):
        parts.append(f"detail={response.reason}")
    return "; ".join(parts).encode()


def _match(response: Response) -> bytes:
    """Return which tier served the answer; a request that joined another's call is like the tier that joined them."""
    exact = response.status is Status.EXACT_HIT or response.reason == _IN_FLIGHT
    return b"exact" if exact else b"semantic"


def _usd(cost: Cost) -> bytes:
    """Return an amount in dollars, to the nanodollar, without needless zeros."""
    total_nanousd = cost.total_nanousd
    if not total_nanousd:
        return b"0"  # What every hit costs.
    dollars, nanousd = divmod(total_nanousd, NANOUSD_PER_USD)
    return (f"{dollars}.{nanousd:09d}".rstrip("0").rstrip(".")).encode()
