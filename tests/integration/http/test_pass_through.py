"""Paths that semcache doesn't know, passed through to a real upstream server, or refused."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from semcache.server.app import Application
from semcache.server.temporary import temporary_server_with
from semcache.testing.embedder import HashingEmbedder
from semcache.testing.upstream_server import Ending, Received, Reply, ScriptedServer, failure, plain
from tests.integration.http.calling import CHAT, Wire, asking, error_of

KEY = "k" * 32
BEARER = {"authorization": f"Bearer {KEY}"}
PASSED = {"x-cache-status": "BYPASS", "cache-status": "semcache; fwd=bypass; detail=passed"}


@dataclass
class Run:
    """A server that passes unknown paths through, and the upstream that gets them."""

    application: Application
    upstream: ScriptedServer
    http: httpx2.AsyncClient
    reply: Callable[[Received], Reply] = field(default=lambda _: plain(b'{"ok":true}'))

    @property
    def last(self) -> Received:
        return self.upstream.requests[-1]

    def page(self) -> str:
        return generate_latest(self.application.composition.registry).decode()


@asynccontextmanager
async def running(
    *,
    authenticated: bool = False,
    roles: tuple[str, ...] = ("read", "write"),
    deadline_s: float = 300.0,
    **overrides: Any,
) -> AsyncIterator[Run]:
    runs: list[Run] = []
    async with ScriptedServer(lambda request: runs[0].reply(request)) as upstream:  # noqa: PLW0108 - made below
        sections: dict[str, Any] = {
            "server": {"port": 0, "http": {"port": 0, "unknown_paths": "pass"}},
            "upstream": {
                "targets": [{"name": "main", "base_url": upstream.base_url}],
                "retry": {"max_retries": 0},
                "deadline_s": deadline_s,
            },
            **overrides,
        }
        if authenticated:
            digest = hashlib.sha256(KEY.encode()).hexdigest()
            sections["auth"] = {"enabled": True, "keys": [{"tenant": "acme", "sha256": digest, "roles": roles}]}
        async with (
            temporary_server_with(sections, embedder=HashingEmbedder()) as application,
            httpx2.AsyncClient(base_url=f"http://{application.http_address}", trust_env=False) as http,
        ):
            runs.append(Run(application, upstream, http))
            yield runs[0]


@pytest.fixture
async def run() -> AsyncIterator[Run]:
    async with running() as made:
        yield made


@asynccontextmanager
async def wire(run: Run) -> AsyncIterator[Wire]:
    host, _, port = str(run.application.http_address).rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()


async def test_by_default_an_unknown_path_is_refused() -> None:
    async with running(server={"port": 0, "http": {"port": 0}}) as run:
        answer = await run.http.get("/v1/files")
        assert (answer.status_code, error_of(answer)["code"]) == (404, "UNKNOWN_PATH")
        assert run.upstream.requests == []


async def test_method_path_query_and_type_reach_the_target(run: Run) -> None:
    run.reply = lambda _: plain(b"[1]", content_type="text/x-list", status=201)
    answer = await run.http.get("/v1/files/file-1?limit=2&after=%C3%A4", headers={"accept": "text/x-list"})
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (201, b"[1]", "text/x-list")
    assert answer.headers.items() >= PASSED.items()
    assert (run.last.method, run.last.path) == ("GET", "/v1/files/file-1?limit=2&after=%C3%A4")
    assert (run.last.headers["accept"], run.last.body) == ("text/x-list", b"")
    assert "content-type" not in run.last.headers


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_each_method_is_passed_with_its_body(run: Run, method: str) -> None:
    await run.http.request(method, "/v1/things", content=b'{ "a" : 1 }', headers={"content-type": "application/json"})
    assert (run.last.method, run.last.body) == (method, b'{ "a" : 1 }')


async def test_credentials_cookies_and_hop_by_hop_headers_stay_here() -> None:
    async with running(authenticated=True) as run:
        headers = {
            **BEARER,
            "x-api-key": KEY,
            "cookie": "session=1",
            "te": "trailers",
            "keep-alive": "timeout=5",
            "proxy-authorization": "Basic eDp5",
            "x-forwarded-for": "10.0.0.1",
            "x-semcache-namespace": "other",
            "openai-organization": "org",
        }
        run.reply = lambda _: plain(
            b"{}",
            headers={
                "set-cookie": "upstream=1",
                "keep-alive": "timeout=5",
                "openai-organization": "the-operators",
                "access-control-allow-origin": "*",
                "retry-after": "7",
            },
        )
        answer = await run.http.get("/v1/files", headers=headers)
        sent = run.last.headers
        assert sent.keys() <= {"host", "accept", "accept-encoding", "user-agent", "x-request-id", "connection"}
        assert not any(KEY in value for value in sent.values())
        assert answer.headers["retry-after"] == "7"
        left_out = {"set-cookie", "keep-alive", "openai-organization", "access-control-allow-origin"}
        assert not left_out & answer.headers.keys()


async def test_the_targets_key_is_put_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPSTREAM_KEY", "upstream-secret")
    async with ScriptedServer([plain(b"{}")]) as upstream:
        target = {"name": "own", "base_url": f"{upstream.base_url}?api-version=7", "api_key_env": "UPSTREAM_KEY"}
        async with running(authenticated=True, upstream={"targets": [target]}) as run:
            await run.http.get("/v1/files?api-version=8&limit=1", headers=BEARER)
        assert upstream.requests[0].headers["authorization"] == "Bearer upstream-secret"
        assert upstream.requests[0].path == "/v1/files?api-version=7&limit=1"


async def test_the_model_of_a_json_body_chooses_the_target_and_is_renamed_there_alone() -> None:
    async with ScriptedServer(lambda _: plain(b"{}")) as first, ScriptedServer(lambda _: plain(b"{}")) as second:
        upstream = {
            "targets": [{"name": "a", "base_url": first.base_url}, {"name": "b", "base_url": second.base_url}],
            "routes": [{"alias": "draw", "target": "b", "model": "dall-e-3"}, {"alias": "*", "target": "a"}],
        }
        async with running(authenticated=True, upstream=upstream) as run:
            body = b'{"prompt": "a  cat", "model" :"draw", "n":1.0}'
            json_type = {"content-type": "application/json", **BEARER}
            await run.http.post("/v1/images/generations", content=body, headers=json_type)
            assert second.requests[0].body == b'{"prompt": "a  cat", "model" :"dall-e-3", "n":1.0}'
            await run.http.get("/v1/files", headers=BEARER)
            multipart = {"content-type": 'multipart/form-data; boundary="x"', **BEARER}
            form = b'--x\r\ncontent-disposition: form-data; name="model"\r\n\r\ndraw\r\n--x--\r\n'
            await run.http.post("/v1/audio/transcriptions", content=form, headers=multipart)
            assert [request.path for request in first.requests] == ["/v1/files", "/v1/audio/transcriptions"]
            assert first.requests[1].body == form
            assert first.requests[1].headers["content-type"] == multipart["content-type"]


async def test_without_a_route_the_error_says_what_to_set() -> None:
    targets = [{"name": name, "base_url": "http://127.0.0.1:9/v1"} for name in "ab"]
    async with running(upstream={"targets": targets, "routes": [{"alias": "x", "target": "a"}]}) as run:
        answer = await run.http.get("/v1/files")
        assert (answer.status_code, error_of(answer)["code"]) == (404, "UNKNOWN_MODEL")
        assert 'alias = "*"' in error_of(answer)["message"]
        named = await run.http.post("/v1/images", json={"model": "y"})
        assert "Known aliases: x" in error_of(named)["message"]
    async with running(upstream={"targets": []}) as run:
        assert "[[upstream.targets]]" in error_of(await run.http.get("/v1/files"))["message"]


async def test_a_single_target_takes_what_names_no_model() -> None:
    async with ScriptedServer([plain(b"{}")]) as upstream:
        settings = {
            "targets": [{"name": "a", "base_url": upstream.base_url}],
            "routes": [{"alias": "x", "target": "a"}],
        }
        async with running(upstream=settings) as run:
            assert (await run.http.get("/v1/files")).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/v1/../admin",
        "/v1/%2e%2e/admin",
        "/v1/files%2f..%2f..%2fadmin",
        "/v1/files/..;/admin",
        "/v1//admin",
        "/v1/%252e%252e/admin",
    ],
)
async def test_smuggled_paths_never_reach_a_target(run: Run, path: str) -> None:
    async with wire(run) as sent:
        await sent.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        status, code = await sent.error()
        assert (status, code) == (400, "INVALID_PATH")
    assert run.upstream.requests == []


async def test_paths_that_are_known_stay_semcaches_own(run: Run) -> None:
    for path in ("/v1/chat%2Fcompletions", "/v1/chat/completions"):
        assert (await run.http.get(path)).status_code == 405
    assert (await run.http.get("/v1/models")).status_code == 200
    assert (await run.http.get("/v2/files")).status_code == 404
    assert (await run.http.get("/semcache/v1/nothing")).status_code == 404
    assert run.upstream.requests == []


async def test_methods_that_no_api_needs_are_refused(run: Run) -> None:
    for method in ("OPTIONS", "TRACE"):
        assert (await run.http.request(method, "/v1/files")).status_code == 405
    assert run.upstream.requests == []


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"content-type": "multipart/form-data; boundary=x"}, 415, "UNSUPPORTED_CONTENT_TYPE"),
        ({"content-type": "text/plain"}, 415, "UNSUPPORTED_CONTENT_TYPE"),
        ({}, 415, "UNSUPPORTED_CONTENT_TYPE"),
        ({"content-type": "application/json", "origin": "https://evil.example"}, 403, "CROSS_SITE"),
        ({"content-type": "application/json", "content-encoding": "br"}, 415, "UNSUPPORTED_ENCODING"),
    ],
)
async def test_without_authentication_no_web_page_makes_a_call(
    run: Run, headers: dict[str, str], status: int, code: str
) -> None:
    answer = await run.http.post("/v1/files", content=b"{}", headers=headers)
    assert (answer.status_code, error_of(answer)["code"]) == (status, code)
    assert run.upstream.requests == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"host": "evil.example"}, 403),
        ({"origin": "http://localhost:3000", "sec-fetch-site": "same-site"}, 200),
        ({}, 200),
    ],
)
async def test_nor_one_without_a_body(run: Run, headers: dict[str, str], status: int) -> None:
    assert (await run.http.post("/v1/batches/b/cancel", headers=headers)).status_code == status
    assert len(run.upstream.requests) == (status == 200)


async def test_a_role_is_needed() -> None:
    async with running(authenticated=True, roles=("read",)) as run:
        assert (await run.http.get("/v1/files")).status_code == 401
        assert (await run.http.get("/v1/files", headers=BEARER)).status_code == 403
        assert run.upstream.requests == []


async def test_a_compressed_body_is_passed_decompressed() -> None:
    async with running(authenticated=True) as run:
        headers = {"content-encoding": "gzip", "content-type": "audio/wav", **BEARER}
        await run.http.post("/v1/audio", content=gzip.compress(b"RIFF" * 1000), headers=headers)
        assert run.last.body == b"RIFF" * 1000
        assert "content-encoding" not in run.last.headers


async def test_a_huge_body_is_refused() -> None:
    settings = {"port": 0, "max_message_bytes": 10_000, "http": {"port": 0, "unknown_paths": "pass"}}
    async with running(authenticated=True, server=settings) as run:
        headers = {"content-type": "application/octet-stream", **BEARER}
        for body in (b"x" * 10_001, gzip.compress(b"x" * 10_001)):
            encoding = {"content-encoding": "gzip"} if body[:2] == b"\x1f\x8b" else {}
            answer = await run.http.post("/v1/files", content=body, headers={**headers, **encoding})
            assert (answer.status_code, error_of(answer)["code"]) == (413, "MESSAGE_TOO_LARGE")
        assert (await run.http.post("/v1/files", content=b"x" * 10_000, headers=headers)).status_code == 200


@pytest.mark.parametrize("body", [b'{"model":"a","model":"b"}', b'{"model":', b"[1]"])
async def test_json_with_no_or_two_meanings_is_refused(run: Run, body: bytes) -> None:
    answer = await run.http.post("/v1/images", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert run.upstream.requests == []


async def test_a_stream_is_relayed_as_it_comes(run: Run) -> None:
    gate = asyncio.Event()
    kind = {"content-type": "text/event-stream"}
    run.reply = lambda _: Reply(headers=kind, pieces=(b"data: 1\n\n", b"data: 2\n\n"), chunked=True, piece_gate=gate)
    async with run.http.stream("POST", "/v1/responses2", json={"stream": True}) as answer:
        pieces = answer.aiter_bytes()
        assert await anext(pieces) == b"data: 1\n\n"
        gate.set()
        assert b"".join([piece async for piece in pieces]) == b"data: 2\n\n"


async def test_a_slow_reader_holds_the_target_back_and_not_the_memory(run: Run) -> None:
    piece = b"x" * 65_536
    sent = 0

    def pieces() -> Any:
        nonlocal sent
        for _ in range(2_000):
            sent += 1
            yield piece

    class Counted(tuple[bytes, ...]):
        __slots__ = ()

        def __iter__(self) -> Any:
            return pieces()

    run.reply = lambda _: Reply(headers={"content-type": "audio/wav"}, pieces=Counted(), chunked=True)
    async with wire(run) as client:
        await client.send(b"GET /v1/audio HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await client.reader.readuntil(b"\r\n\r\n")
        before = -1
        while sent != before:  # Until every buffer between the target and the client is full.
            before = sent
            await asyncio.sleep(0.3)
        assert 0 < sent < 1_000  # 131 MB would be all of it; sockets hold a few.


@pytest.mark.parametrize("ending", [Ending.CUT, Ending.RESET])
async def test_a_body_that_breaks_off_is_not_taken_for_a_whole_one(run: Run, ending: Ending) -> None:
    run.reply = lambda _: Reply(headers={"content-type": "audio/wav"}, pieces=(b"half",), chunked=True, ending=ending)
    with pytest.raises(httpx2.RemoteProtocolError):
        await run.http.get("/v1/audio")
    assert 'semcache_http_passed_total{outcome="broken",target="main"} 1.0' in run.page()


async def test_the_upstreams_own_errors_are_relayed(run: Run) -> None:
    for status in (400, 404, 429, 500, 503):
        run.reply = lambda _, status=status: failure(status, "no such file", headers={"retry-after": "3"})
        answer = await run.http.get("/v1/files/x")
        assert (answer.status_code, answer.headers["retry-after"]) == (status, "3")
        assert answer.json()["error"]["message"] == "no such file"


@pytest.mark.parametrize("status", [401, 403])
async def test_what_judges_the_servers_key_becomes_424(run: Run, status: int) -> None:
    run.reply = lambda _: failure(status, "Incorrect API key provided: sk-upst")
    answer = await run.http.get("/v1/files")
    assert (answer.status_code, error_of(answer)["code"]) == (424, "UPSTREAM_REFUSED")
    assert "sk-upst" not in answer.text


async def test_a_redirect_is_no_answer(run: Run) -> None:
    run.reply = lambda _: Reply(status=302, headers={"location": "http://10.0.0.1/"})
    answer = await run.http.get("/v1/files/x/content")
    assert (answer.status_code, "location" in answer.headers) == (502, False)


async def test_an_upstream_that_is_down_is_told_and_its_breaker_opens(run: Run) -> None:
    await run.upstream.close()
    codes = [error_of(await run.http.get("/v1/files"))["code"] for _ in range(30)]
    assert (codes[0], codes[-1]) == ("UPSTREAM_UNREACHABLE", "UPSTREAM_UNAVAILABLE")
    chat = await run.http.post(CHAT, json=asking("a"))
    assert error_of(chat)["code"] == "UPSTREAM_UNAVAILABLE"
    assert 'semcache_http_passed_total{outcome="unreachable",target="main"}' in run.page()


async def test_a_path_that_fails_opens_no_breaker(run: Run) -> None:
    run.reply = lambda _: failure(500)
    for _ in range(30):
        assert (await run.http.get("/v1/broken")).status_code == 500
    run.reply = lambda _: failure(404)
    for _ in range(30):
        assert (await run.http.post("/v1/none", json={"model": "gpt-4o-mini"})).status_code == 404
    assert 'semcache_upstream_breaker_state{target="main"} 0.0' in run.page()


async def test_it_is_counted_and_logged_and_in_no_ledger(run: Run) -> None:
    with capture_logs() as logs:
        await run.http.post("/v1/files?secret=1", json={"model": "gpt-4o-mini", "input": "private"})
    (line,) = [line for line in logs if line["event"] == "audit.passed"]
    assert (line["method"], line["path"], line["target"], line["status"]) == ("POST", "files", "main", 200)
    assert "private" not in json.dumps(line)
    assert "secret" not in json.dumps(line)
    page = run.page()
    assert 'semcache_http_passed_total{outcome="200",target="main"} 1.0' in page
    assert 'semcache_calls_total{code="OK",method="PassThrough"} 1.0' in page
    assert sum(run.application.composition.metrics.counts().values()) == 0


async def test_a_head_has_no_body(run: Run) -> None:
    answer = await run.http.head("/v1/files")
    assert (answer.status_code, answer.content, run.last.method) == (200, b"", "HEAD")


async def test_a_path_whose_connection_is_broken_off_opens_no_breaker(run: Run) -> None:
    run.reply = lambda _: Reply(status=0, ending=Ending.RESET)
    for _ in range(6):
        assert (await run.http.get("/v1/files")).status_code == 502
    run.reply = lambda _: plain(b"[]")
    assert (await run.http.get("/v1/files")).status_code == 200
    assert 'semcache_upstream_breaker_state{target="main"} 0.0' in run.page()


@pytest.mark.parametrize("charset", ["latin-1", "utf-16", "UTF-7"])
async def test_json_in_another_charset_doesnt_hide_its_model(run: Run, charset: str) -> None:
    headers = {"content-type": f"application/json; charset={charset}"}
    answer = await run.http.post("/v1/completions", content=b'{"model":"big"}', headers=headers)
    assert (answer.status_code, error_of(answer)["code"]) == (415, "UNSUPPORTED_CONTENT_TYPE")
    assert run.upstream.requests == []


@pytest.mark.parametrize("model", [3, True, ["big"], {"name": "big"}, "b" * 257])
async def test_a_model_that_is_no_name_is_refused(run: Run, model: object) -> None:
    answer = await run.http.post("/v1/completions", json={"model": model})
    assert (answer.status_code, error_of(answer)["code"]) == (400, "INVALID_PARAMETER")
    assert run.upstream.requests == []


async def test_a_slow_reader_has_no_more_time_than_the_call() -> None:
    async with running(deadline_s=1.0) as run:
        run.reply = lambda _: Reply(headers={"content-type": "audio/mpeg"}, pieces=(bytes(65_536),) * 256, chunked=True)
        async with wire(run) as slow:
            await slow.send(b"GET /v1/files/1/content HTTP/1.1\r\nHost: localhost\r\n\r\n")
            for _ in range(600):
                if "semcache_http_passed_total{outcome=" in run.page():
                    return
                await asyncio.sleep(0.05)
            pytest.fail("the call still holds its place")
