"""A call that is passed through to a target as it came, and what the target answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PassedCall:
    """A call of a path that semcache doesn't know.

    Attributes:
        method: the HTTP method, in upper case.
        path: the path below `/v1/`, percent-encoded, without dot segments.
        query: the query without its question mark, percent-encoded; empty for none.
        content_type: what the caller says that the body is; empty for none.
        accept: what the caller takes; empty where it doesn't say.
        body: the body; empty for none.
        alias: the model that the body names as JSON; empty where it names none.
        deadline_s: when to give up, monotonic seconds.
        request_id: names the call at the target.
        tenant: who asks; tenants share the places at a target.
    """

    method: str
    path: str
    query: str
    content_type: bytes
    accept: bytes
    body: bytes
    alias: str
    deadline_s: float
    request_id: str
    tenant: str


@dataclass(frozen=True, slots=True)
class PassedReply:
    """A target's answer to such a call: its head has come, its body is still coming.

    Attributes:
        target: the target's name.
        status: the HTTP status.
        headers: those of its headers that a caller gets, by lower-case name.
        pieces: yields the body as it comes. It raises UpstreamError where the body breaks off.
    """

    target: str
    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    pieces: AsyncGenerator[bytes, None]
