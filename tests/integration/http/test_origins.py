"""Calls that a browser makes for a web page of another origin: preflights, answers, streams and errors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from semcache.testing.serving import Served, serving
from semcache.testing.upstream import Scripted, ScriptedUpstream
from tests.integration.http.calling import CHAT, asking, client_of, error_of, request_bytes, wire_to
from tests.integration.test_auth import AUTH, KEYS

PAGE = "https://chat.example"
ALLOWED = "access-control-allow-origin"
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}


def allowing(*origins: str, **http: Any) -> dict[str, Any]:
    return {"server": {"port": 0, "http": {"port": 0, "allowed_origins": origins, **http}}}


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    upstream = ScriptedUpstream({"break off": Scripted("A long answer.", break_after=2)})
    async with serving({**allowing(PAGE), "auth": AUTH}, upstream=upstream) as running:
        yield running


async def test_a_preflight_needs_no_key(served: Served, client: httpx2.AsyncClient) -> None:
    for path in (CHAT, "/v1/messages", "/v1/models", "/v1/unknown", "/semcache/v1/explain", "/healthz"):
        answer = await client.options(path, headers={"origin": PAGE, **PREFLIGHT})
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers[ALLOWED] == PAGE
        assert answer.headers["access-control-allow-headers"] == "authorization,content-type"
        assert "content-length" not in answer.headers
    assert served.upstream.calls == []


async def test_a_preflight_of_another_origin_is_refused_and_says_what_to_set(client: httpx2.AsyncClient) -> None:
    for origin in ("https://evil.example", "null"):
        answer = await client.options(CHAT, headers={"origin": origin, **PREFLIGHT})
        assert (answer.status_code, error_of(answer)["code"]) == (403, "ORIGIN_NOT_ALLOWED")
        assert "server.http.allowed_origins" in error_of(answer)["message"]
        assert ALLOWED not in answer.headers


async def test_without_the_setting_no_page_may_call() -> None:
    async with serving() as served, client_of(served) as client:
        refused = await client.options(CHAT, headers={"origin": PAGE, **PREFLIGHT})
        assert (refused.status_code, error_of(refused)["code"]) == (403, "ORIGIN_NOT_ALLOWED")
        answer = await client.post(CHAT, json=asking("a"), headers={"origin": PAGE})
        assert answer.status_code == 200
        assert not [name for name in answer.headers if name.startswith("access-control-") or name == "vary"]
        plain = await client.options(CHAT)
        assert (plain.status_code, error_of(plain)["code"]) == (405, "METHOD_NOT_ALLOWED")


async def test_answers_and_errors_name_the_allowed_origin(served: Served, client: httpx2.AsyncClient) -> None:
    headers = {"origin": PAGE, "x-api-key": KEYS["acme"]}
    answers = [
        await client.post(CHAT, json=asking("a"), headers=headers),
        await client.post(CHAT, json=asking("a", stream=True), headers=headers),
        await client.post(CHAT, json=asking("break off", stream=True), headers=headers),
        await client.post(CHAT, json=asking("a"), headers={"origin": PAGE}),
        await client.post(CHAT, content=b"{", headers={**headers, "content-type": "application/json"}),
        await client.get(CHAT, headers=headers),
        await client.get("/v1/unknown", headers=headers),
        await client.get("/v1/models", headers=headers),
        await client.get("/semcache/v1/entries", headers=headers),
        await client.get("/healthz", headers=headers),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 401, 400, 405, 404, 200, 200, 200]
    for answer in answers:
        assert (answer.headers[ALLOWED], answer.headers["vary"]) == (PAGE, "origin")
        assert "x-cache-status" in answer.headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in answer.headers
        shown = set(answer.headers["access-control-expose-headers"].split(", "))
        own = {name for name in answer.headers if name.startswith("x-") and name != "x-content-type-options"}
        assert own - {"x-accel-buffering"} <= shown


async def test_another_origin_isnt_named(served: Served, client: httpx2.AsyncClient) -> None:
    for headers in ({"origin": "https://evil.example"}, {}):
        answer = await client.post(CHAT, json=asking("a"), headers={**headers, "x-api-key": KEYS["acme"]})
        assert (answer.status_code, answer.headers["vary"]) == (200, "origin")
        assert ALLOWED not in answer.headers


async def test_a_refusal_of_the_connection_names_the_origin_too(served: Served) -> None:
    async with wire_to(served) as wire:
        await wire.send(request_bytes(b"", f"Origin: {PAGE}", "X-Long: " + "a" * 33_000))
        status, headers, _ = await wire.answer()
        assert (status, headers[ALLOWED]) == (431, PAGE)


async def test_a_passed_path_may_be_called_by_an_allowed_page_alone() -> None:
    async with serving(allowing(PAGE, unknown_paths="pass")) as served, client_of(served) as client:
        preflight = await client.options("/v1/files", headers={"origin": PAGE, **PREFLIGHT})
        assert preflight.status_code == 204
        headers = {"origin": PAGE, "sec-fetch-site": "cross-site"}
        passed = await client.post("/v1/files", json={}, headers=headers)
        assert (passed.status_code, passed.headers[ALLOWED]) == (200, PAGE)
        other = await client.post("/v1/files", json={}, headers={**headers, "origin": "https://evil.example"})
        assert (other.status_code, error_of(other)["code"]) == (403, "CROSS_SITE")


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("text/plain", "UNSUPPORTED_CONTENT_TYPE"),
        ("application/x-www-form-urlencoded", "UNSUPPORTED_CONTENT_TYPE"),
        ("multipart/form-data; boundary=x", "UNSUPPORTED_CONTENT_TYPE"),
        ("", "UNSUPPORTED_CONTENT_TYPE"),
    ],
)
@pytest.mark.parametrize("path", [CHAT, "/v1/messages", "/v1/embeddings", "/semcache/v1/invalidate"])
async def test_a_call_that_a_browser_sends_unasked_does_nothing(kind: str, code: str, path: str) -> None:
    async with serving() as served, client_of(served) as client:
        headers = {"origin": "https://evil.example", **({"content-type": kind} if kind else {})}
        answer = await client.post(path, content=b'{"model":"m","apply":true}', headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (415, code)
        assert served.upstream.calls == []
