"""Each kind of error, from the connection to the route, in the shape of the API that the client speaks."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from semcache.testing.serving import Served, serving
from tests.integration.http.calling import Wire, wire_to
from tests.integration.test_auth import AUTH

LIMIT = 2_000
VERSION = ("anthropic-version: 2023-06-01",)


@dataclass(frozen=True)
class Speaker:
    """A client: the path that it asks for, its headers, and whose shape it reads."""

    path: str
    headers: tuple[str, ...]
    reads: str
    method: str = "POST"

    def __str__(self) -> str:
        return f"{self.method} {self.path} {'with' if self.headers else 'without'} version"


POSTS = [
    Speaker("/v1/chat/completions", (), "openai"),
    Speaker("/v1/chat/completions", VERSION, "openai"),
    Speaker("/v1/responses", (), "openai"),
    Speaker("/v1/embeddings", (), "openai"),
    Speaker("/v1/messages", (), "anthropic"),
    Speaker("/v1/messages?beta=true", VERSION, "anthropic"),
    Speaker("/semcache/v1/explain", VERSION, "openai"),
]
SPEAKERS = [
    *POSTS,
    Speaker("/v1/models", (), "openai", "GET"),
    Speaker("/v1/models", VERSION, "anthropic", "GET"),
    Speaker("/v1/files", (), "openai"),
    Speaker("/v1/files", VERSION, "anthropic"),
]


def sent(speaker: Speaker, body: bytes = b"{}", *headers: str, **changed: str) -> bytes:
    """A request; `changed` has another method, path, host or content type."""
    lines = [
        f"{changed.get('method', speaker.method)} {changed.get('path', speaker.path)} HTTP/1.1",
        f"host: {changed.get('host', 'localhost')}",
        *speaker.headers,
        f"content-type: {changed.get('kind', 'application/json')}",
        *headers,
    ]
    if not any(line.startswith(("content-length", "transfer-encoding")) for line in headers):
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass(frozen=True)
class Kind:
    """A kind of error: what leads to it, and how it is told."""

    request: Callable[[Speaker], bytes]
    status: int
    code: str
    anthropic_type: str
    settings: dict[str, Any] = field(default_factory=dict)


BELOW_THE_ROUTES = {
    "malformed chunk": Kind(
        lambda speaker: sent(speaker, b"zz\r\n", "transfer-encoding: chunked"),
        400,
        "INVALID_HTTP",
        "invalid_request_error",
    ),
    "malformed header": Kind(
        lambda speaker: sent(speaker, b"", "bad header: 1"), 400, "INVALID_HTTP", "invalid_request_error"
    ),
    "two lengths": Kind(
        lambda speaker: sent(speaker, b"{}", "content-length: 2", "content-length: 3"),
        400,
        "INVALID_HTTP",
        "invalid_request_error",
    ),
    "large head": Kind(
        lambda speaker: sent(speaker, b"", f"x-long: {'a' * 33_000}"), 431, "HEADERS_TOO_LARGE", "request_too_large"
    ),
    "late body": Kind(
        lambda speaker: sent(speaker, b"", "content-length: 9"),
        408,
        "REQUEST_TIMED_OUT",
        "invalid_request_error",
        {"server": {"port": 0, "http": {"port": 0, "stall_timeout_s": 0.05}}},
    ),
    "other host": Kind(lambda speaker: sent(speaker, host="evil.example"), 403, "HOST_NOT_LOCAL", "permission_error"),
    "no credentials": Kind(sent, 401, "UNAUTHENTICATED", "authentication_error", {"auth": AUTH}),
    "large body": Kind(
        lambda speaker: sent(speaker, b" " * (LIMIT + 1)), 413, "MESSAGE_TOO_LARGE", "request_too_large"
    ),
    "huge body": Kind(
        lambda speaker: sent(speaker, b"", f"content-length: {LIMIT * 9}"),
        413,
        "MESSAGE_TOO_LARGE",
        "request_too_large",
    ),
    "wrong method": Kind(
        lambda speaker: sent(speaker, method="PATCH"), 405, "METHOD_NOT_ALLOWED", "invalid_request_error"
    ),
    "path below": Kind(
        lambda speaker: sent(speaker, path=speaker.path.partition("?")[0] + "/a/b"),
        404,
        "UNKNOWN_PATH",
        "not_found_error",
    ),
}
OF_BODIES = {
    "malformed JSON": Kind(lambda speaker: sent(speaker, b"{"), 400, "INVALID_JSON", "invalid_request_error"),
    "twice the same key": Kind(
        lambda speaker: sent(speaker, b'{"a":1,"a":1}'), 400, "DUPLICATE_KEY", "invalid_request_error"
    ),
    "other content type": Kind(
        lambda speaker: sent(speaker, kind="text/plain"), 415, "UNSUPPORTED_CONTENT_TYPE", "invalid_request_error"
    ),
    "other encoding": Kind(
        lambda speaker: sent(speaker, b"{}", "content-encoding: br"),
        415,
        "UNSUPPORTED_ENCODING",
        "invalid_request_error",
    ),
    "gzip bomb": Kind(
        lambda speaker: sent(speaker, gzip.compress(b" " * 99_999, mtime=0), "content-encoding: gzip"),
        413,
        "MESSAGE_TOO_LARGE",
        "request_too_large",
    ),
}


@asynccontextmanager
async def serving_with(settings: dict[str, Any]) -> AsyncIterator[Served]:
    async with serving({"server": {"port": 0, "max_message_bytes": LIMIT, "http": {"port": 0}}, **settings}) as served:
        yield served


async def check(wire: Wire, speaker: Speaker, kind: Kind) -> None:
    status, headers, body = await wire.answer()
    value = json.loads(body)
    assert (status, value["error"]["code"]) == (kind.status, kind.code)
    assert headers["content-type"] == "application/json"
    if speaker.reads == "anthropic":
        assert value.keys() == {"type", "error", "request_id"}
        assert value["error"].keys() == {"type", "message", "code"}
        assert (value["type"], value["error"]["type"]) == ("error", kind.anthropic_type)
        assert headers["request-id"] == headers["x-request-id"] == value["request_id"]
    else:
        assert value.keys() == {"error"}
        assert value["error"].keys() == {"message", "type", "code", "param"}
        assert "request-id" not in headers
        assert headers["x-request-id"]


@pytest.mark.parametrize("name", BELOW_THE_ROUTES)
async def test_errors_below_the_routes_have_the_clients_shape(name: str) -> None:
    kind = BELOW_THE_ROUTES[name]
    async with serving_with(kind.settings) as served:
        for speaker in SPEAKERS:
            if speaker.path in _unfit(name):
                continue
            async with wire_to(served) as wire:
                await wire.send(kind.request(speaker))
                await check(wire, speaker, kind)
        assert served.upstream.calls == []


def _unfit(name: str) -> set[str]:
    """Paths that a kind of error doesn't meet."""
    if name == "path below":
        return {"/v1/models"}  # What stands below it is a model.
    of_routes = {"other host", "no credentials", "large body", "huge body", "late body", "wrong method"}
    return {"/v1/files"} if name in of_routes else set()  # No route takes it: it is refused with 404 before all else.


@pytest.mark.parametrize("name", OF_BODIES)
async def test_errors_of_bodies_have_the_clients_shape(name: str) -> None:
    kind = OF_BODIES[name]
    async with serving_with(kind.settings) as served:
        for speaker in POSTS:
            async with wire_to(served) as wire:
                await wire.send(kind.request(speaker))
                await check(wire, speaker, kind)


async def test_an_overload_has_the_clients_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = Kind(sent, 503, "OVERLOADED", "overloaded_error")
    body = {
        "/v1/chat/completions": b'{"model":"m","messages":[{"role":"user","content":"a"}]}',
        "/v1/messages": b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"a"}]}',
        "/v1/responses": b'{"model":"m","input":"a"}',
        "/v1/embeddings": b'{"model":"m","input":"a"}',
    }
    async with serving() as served:
        shedding = served.application.composition.front.shedding
        monkeypatch.setattr(shedding, "report", lambda *_: None)  # The next beat would see that nothing waits.
        shedding.alert, shedding.share = True, 1.0
        for speaker in SPEAKERS:
            if speaker.path != "/v1/files":
                async with wire_to(served) as wire:
                    await wire.send(sent(speaker, body.get(speaker.path.partition("?")[0], b"{}")))
                    await check(wire, speaker, kind)


@pytest.mark.parametrize("whole_head", [True, False], ids=["whole head", "half a head"])
async def test_one_connection_too_many_is_refused_in_the_clients_shape(whole_head: bool) -> None:
    kind = Kind(sent, 503, "TOO_MANY_CONNECTIONS", "overloaded_error")
    bounded = {"server": {"port": 0, "http": {"port": 0, "max_connections": 1}}}
    async with serving(bounded) as served, wire_to(served) as busy:
        await busy.send(sent(SPEAKERS[0], b"", "content-length: 9", "expect: 100-continue"))
        assert (await busy.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        for speaker in SPEAKERS:
            async with wire_to(served) as wire:
                request = sent(speaker)
                await wire.send(request if whole_head else request.partition(b"application")[0])
                await check(wire, speaker, kind)
                assert await wire.ended()


async def test_a_silent_connection_too_many_is_refused_as_well() -> None:
    bounded = {"server": {"port": 0, "http": {"port": 0, "max_connections": 1}}}
    async with serving(bounded) as served, wire_to(served) as busy:
        await busy.send(sent(SPEAKERS[0], b"", "content-length: 9", "expect: 100-continue"))
        assert (await busy.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        async with wire_to(served) as silent:
            assert await silent.error() == (503, "TOO_MANY_CONNECTIONS")
            assert await silent.ended()


async def test_a_broken_request_behind_a_good_one_has_an_id_of_its_own() -> None:
    speaker = Speaker("/v1/models", ("x-request-id: first",), "openai", "GET")
    async with serving() as served, wire_to(served) as wire:
        await wire.send(sent(speaker))
        assert (await wire.answer())[1]["x-request-id"] == "first"
        await wire.send(b"no http\r\n\r\n")
        status, headers, _ = await wire.answer()
        assert status == 400
        assert headers["x-request-id"] != "first"
