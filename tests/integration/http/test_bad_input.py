"""Bytes that no client should send: each gets a clear error, nothing is stored, and the server goes on."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator

import pytest

from semcache.testing.serving import Served, serving
from tests.integration.http.calling import CHAT, asking, client_of, error_of, request_bytes, wire_to

BODY = json.dumps(asking("a")).encode()
LIMIT = 20_000
STALL = {"server": {"port": 0, "http": {"port": 0, "stall_timeout_s": 0.05}}}


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving({"server": {"port": 0, "max_message_bytes": LIMIT, "http": {"port": 0}}}) as running:
        yield running
        assert running.upstream.calls == []
        async with wire_to(running) as wire:
            await wire.send(request_bytes(BODY))
            assert (await wire.answer())[0] == 200


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)  # The time would make the names of the tests differ between processes.


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"hello\r\n\r\n", 400, "INVALID_HTTP"),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400, "INVALID_HTTP"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "INVALID_HTTP"),
        (request_bytes(b"zz\r\nhello", "Transfer-Encoding: chunked"), 400, "INVALID_HTTP"),
        (request_bytes(b"5\r\nhello!!\r\n", "Transfer-Encoding: chunked"), 400, "INVALID_HTTP"),
        (
            request_bytes(chunked(BODY), f"Content-Length: {len(BODY)}", "Transfer-Encoding: chunked"),
            400,
            "INVALID_HTTP",
        ),
        (
            request_bytes(chunked(BODY), "Transfer-Encoding: chunked", f"Content-Length: {len(BODY)}"),
            400,
            "INVALID_HTTP",
        ),
        (request_bytes(BODY, "Content-Length: 5", "Content-Length: 6"), 400, "INVALID_HTTP"),
        (request_bytes(BODY, "Content-Length: -1"), 400, "INVALID_HTTP"),
        (request_bytes(BODY, "Bad Header: 1"), 400, "INVALID_HTTP"),
        (request_bytes(BODY, "X-Long: " + "a" * 33_000), 431, "HEADERS_TOO_LARGE"),
        (request_bytes(BODY, *(f"X-{n}: {'a' * 1000}" for n in range(40))), 431, "HEADERS_TOO_LARGE"),
        (request_bytes(BODY, path="/" + "a" * 33_000), 431, "HEADERS_TOO_LARGE"),
        (b"POST /v1 HTTP/1.1\r\nX-Endless: " + b"a" * 40_000, 431, "HEADERS_TOO_LARGE"),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_what_is_no_http_is_refused_and_the_connection_ends(
    served: Served, sent: bytes, status: int, code: str
) -> None:
    async with wire_to(served) as wire:
        await wire.send(sent)
        assert await wire.error() == (status, code)
        assert await wire.ended()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "INVALID_JSON"),
        (b"{", "INVALID_JSON"),
        (BODY + BODY, "INVALID_JSON"),
        (BODY + b"\n" + BODY, "INVALID_JSON"),
        (b"[" + BODY + b"]", "INVALID_JSON"),
        (BODY[:-1] + b', "model": "other"}', "DUPLICATE_KEY"),
        (b'{"model":"m","messages":[{"role":"user","content":"\xff"}]}', "INVALID_JSON"),
        (b'{"model":"m","messages":[{"role":"user","content":"\\ud800"}]}', "INVALID_TEXT"),
        (b'{"model":"m","messages":[{"role":"user","content":"\xed\xa0\x80"}]}', "INVALID_JSON"),
        (b'{"model":"m","messages":[{"role":"user","content":NaN}]}', "INVALID_JSON"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "JSON_TOO_DEEP"),
        (b'{"a":' * 3000 + b"1" + b"}" * 3000, "JSON_TOO_DEEP"),
        (BODY[:-1] + b', "stream": "true"}', "INVALID_PARAMETER"),
        (BODY[:-1] + b', "stream": 1}', "INVALID_PARAMETER"),
    ],
    ids=lambda value: repr(value)[:50],
)
async def test_a_body_with_no_clear_meaning_is_refused_and_the_connection_stays(
    served: Served, body: bytes, code: str
) -> None:
    async with wire_to(served) as wire:
        for _ in range(2):
            await wire.send(request_bytes(body))
            assert await wire.error() == (400, code)


@pytest.mark.parametrize("first", [1, 18_000, 20_000])
async def test_a_head_within_the_limit_is_read_in_whichever_pieces_it_comes(first: int) -> None:
    sent = request_bytes(BODY, "X-Long: " + "a" * 20_000)
    async with serving({"server": {"port": 0, "http": {"port": 0}}}) as served, wire_to(served) as wire:
        await wire.send(sent[:first])
        await asyncio.sleep(0.01)
        await wire.send(sent[first:])
        assert (await wire.answer())[0] == 200


async def test_a_byte_order_mark_is_no_part_of_the_body() -> None:
    async with serving() as served, wire_to(served) as wire:
        await wire.send(request_bytes(b"\xef\xbb\xbf" + BODY))
        assert (await wire.answer())[0] == 200
        await wire.send(request_bytes(BODY))
        _, headers, _ = await wire.answer()
        assert headers["x-cache-status"] == "HIT"


@pytest.mark.parametrize(
    "kind",
    ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/json; charset=utf-16"],
)
async def test_a_body_of_another_type_is_refused(served: Served, kind: str) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(BODY)}\r\n"
    async with wire_to(served) as wire:
        await wire.send(f"{head}{'Content-Type: ' + kind + chr(13) + chr(10) if kind else ''}\r\n".encode() + BODY)
        assert await wire.error() == (415, "UNSUPPORTED_CONTENT_TYPE")


@pytest.mark.parametrize("kind", ["application/json; charset=UTF-8", 'Application/JSON;charset="utf-8"'])
async def test_the_types_spelling_doesnt_matter(kind: str) -> None:
    async with serving() as served, wire_to(served) as wire:
        await wire.send(request_bytes(BODY).replace(b"application/json", kind.encode()))
        assert (await wire.answer())[0] == 200


async def test_gzip_is_read_also_in_several_members() -> None:
    async with serving() as served, wire_to(served) as wire:
        packed = gzipped(BODY[:20]) + gzipped(BODY[20:])
        await wire.send(request_bytes(packed, "Content-Encoding: gzip"))
        assert (await wire.answer())[0] == 200
        assert served.upstream.calls[0].body == BODY


@pytest.mark.parametrize(
    ("packed", "encoding", "status", "code"),
    [
        (gzipped(b" " * 50_000_000), "gzip", 413, "MESSAGE_TOO_LARGE"),
        (gzipped(b" " * LIMIT) + gzipped(BODY), "gzip", 413, "MESSAGE_TOO_LARGE"),
        (gzipped(BODY)[:-9], "gzip", 400, "INVALID_GZIP"),
        (gzipped(BODY) + b"rest", "gzip", 400, "INVALID_GZIP"),
        (BODY, "gzip", 400, "INVALID_GZIP"),
        (zlib.compress(BODY), "deflate", 415, "UNSUPPORTED_ENCODING"),
        (gzipped(gzipped(BODY)), "gzip, gzip", 415, "UNSUPPORTED_ENCODING"),
        (gzipped(gzipped(BODY)), "gzip", 400, "INVALID_JSON"),
    ],
)
async def test_what_gzip_hides_is_refused(served: Served, packed: bytes, encoding: str, status: int, code: str) -> None:
    async with wire_to(served) as wire:
        await wire.send(request_bytes(packed, f"Content-Encoding: {encoding}"))
        assert await wire.error() == (status, code)


@pytest.mark.parametrize("size", [LIMIT + 1, LIMIT * 4])
async def test_a_large_body_is_told_why_it_is_refused(served: Served, size: int) -> None:
    async with wire_to(served) as wire:
        await wire.send(request_bytes(b" " * size))
        assert await wire.error() == (413, "MESSAGE_TOO_LARGE")
        await wire.send(request_bytes(b"{}"))
        assert await wire.error() == (400, "NO_MODEL")


async def test_a_huge_body_is_refused_by_its_length_alone(served: Served) -> None:
    async with wire_to(served) as wire:
        await wire.send(request_bytes(b"", f"Content-Length: {LIMIT * 4 + 1}", "Expect: 100-continue"))
        assert await wire.error() == (413, "MESSAGE_TOO_LARGE")
        assert await wire.ended()


async def test_an_endless_body_is_cut(served: Served) -> None:
    async with wire_to(served) as wire:
        await wire.send(request_bytes(b"", "Transfer-Encoding: chunked"))
        for _ in range(9):
            await wire.send(b"%x\r\n%b\r\n" % (LIMIT // 2, b" " * (LIMIT // 2)))
        assert await wire.error() == (413, "MESSAGE_TOO_LARGE")


async def test_a_client_that_expects_continue_is_told_to_continue() -> None:
    async with serving() as served, wire_to(served) as wire:
        await wire.send(request_bytes(b"", f"Content-Length: {len(BODY)}", "Expect: 100-continue"))
        assert (await wire.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        await wire.send(BODY)
        assert (await wire.answer())[0] == 200


@pytest.mark.parametrize(
    "begun",
    [b"", b"POST /v1/chat", request_bytes(b"")[:-2], request_bytes(b'{"model"', "Content-Length: 100")],
    ids=["nothing", "first line", "head", "body"],
)
async def test_a_request_that_never_ends_is_ended(begun: bytes) -> None:
    async with serving(STALL) as served, wire_to(served) as wire:
        await wire.send(begun)
        assert await wire.error() == (408, "REQUEST_TIMED_OUT")
        assert await wire.ended()
        assert served.application.composition.gate.in_flight == 0


async def test_a_body_that_trickles_is_ended_too() -> None:
    async with serving(STALL) as served, wire_to(served) as wire:
        await wire.send(request_bytes(b"", "Content-Length: 100000"))

        async def trickle() -> None:
            while True:
                await wire.send(b" ")
                await asyncio.sleep(0.01)

        trickling = asyncio.ensure_future(trickle())
        try:
            assert await wire.error() == (408, "REQUEST_TIMED_OUT")
        finally:
            trickling.cancel()
            await asyncio.gather(trickling, return_exceptions=True)


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with serving() as served, wire_to(served) as wire:
        texts = [f"question {n}" for n in range(5)]
        await wire.send(b"".join(request_bytes(json.dumps(asking(text)).encode()) for text in texts))
        for text in texts:
            _, _, body = await wire.answer()
            assert json.loads(body)["choices"][0]["message"]["content"] == f"Answer to: {text}"


async def test_garbage_behind_a_request_doesnt_disturb_its_answer() -> None:
    async with serving() as served, wire_to(served) as wire:
        await wire.send(request_bytes(BODY) + b"\x00garbage\r\n\r\n")
        assert (await wire.answer())[0] == 200
        assert await wire.ended()


async def test_a_request_in_disguise_behind_a_refused_one_isnt_read(served: Served) -> None:
    async with wire_to(served) as wire:
        smuggled = request_bytes(BODY)
        both = ("Transfer-Encoding: chunked", f"Content-Length: {len(smuggled) + 5}")
        await wire.send(request_bytes(b"0\r\n\r\n" + smuggled, *both))
        assert await wire.error() == (400, "INVALID_HTTP")
        assert await wire.ended()


@pytest.mark.parametrize("protocol", ["h2c", "websocket"])
async def test_an_upgrade_is_answered_as_it_is(protocol: str) -> None:
    async with serving() as served, wire_to(served) as wire:
        sent = request_bytes(BODY, "Connection: Upgrade", f"Upgrade: {protocol}")
        await wire.send(sent[:-5])
        await wire.send(sent[-5:] + request_bytes(BODY))
        assert (await wire.answer())[0] == 200
        assert await wire.ended()


async def test_a_web_page_cant_ask_a_server_without_authentication_under_its_own_name(served: Served) -> None:
    async with wire_to(served) as wire:
        await wire.send(request_bytes(BODY).replace(b"Host: localhost", b"Host: evil.example:8080"))
        assert await wire.error() == (403, "HOST_NOT_LOCAL")


async def test_a_trailer_is_no_header() -> None:
    async with serving() as served, wire_to(served) as wire:
        for _ in range(2):
            trailing = chunked(BODY)[:-2] + b"x-semcache-namespace: other\r\nx-semcache-made-up: a\r\n\r\n"
            await wire.send(request_bytes(trailing, "Transfer-Encoding: chunked"))
            status, headers, _ = await wire.answer()
            assert status == 200
        await wire.send(request_bytes(BODY))
        _, headers, _ = await wire.answer()
        assert headers["x-cache-status"] == "HIT"


async def test_a_client_that_reads_nothing_is_disconnected() -> None:
    async with serving(STALL) as served:
        async with wire_to(served) as filling:
            text = "word " * 60_000
            for _ in range(2):
                await filling.send(request_bytes(json.dumps(asking(text)).encode()))
                assert (await filling.answer())[0] == 200
        async with wire_to(served) as wire:
            request = request_bytes(json.dumps(asking(text, stream=True)).encode())
            for _ in range(40):
                wire.writer.write(request)
            for _ in range(2000):
                if served.application.composition.gate.in_flight == 0 and wire.writer.transport.is_closing():
                    break
                await asyncio.sleep(0.005)
            assert served.application.composition.gate.in_flight == 0


@pytest.mark.parametrize("seconds", ["1" + "0" * 400, "-1" + "0" * 400])
async def test_an_integer_beyond_all_floats_is_no_number_of_seconds(served: Served, seconds: str) -> None:
    body = json.dumps(asking("a")).encode()[:-1] + b',"cache":{"ttl":%b}}' % seconds.encode()
    async with client_of(served) as client:
        answer = await client.post(CHAT, content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, error_of(answer)["code"]) == (400, "INVALID_PARAMETER")


async def test_a_template_of_many_levels_is_no_template(served: Served) -> None:
    async with client_of(served) as client:
        answer = await client.post(CHAT, json=asking("a"), headers={"x-semcache-template": "[" * 5_000})
    assert (answer.status_code, error_of(answer)["code"]) == (400, "INVALID_TEMPLATE")
