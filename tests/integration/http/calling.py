"""HTTP requests as the tests send them: by a client, and as bytes over a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from semcache.testing.serving import Served

CHAT = "/v1/chat/completions"


def asking(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}], **fields}


@asynccontextmanager
async def client_of(served: Served) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=served.http_url, trust_env=False, timeout=60) as client:
        yield client


def said(response: httpx2.Response) -> str:
    return response.json()["choices"][0]["message"]["content"]


def error_of(response: httpx2.Response) -> dict[str, Any]:
    error = response.json()["error"]
    assert error.keys() == {"message", "type", "code", "param"}
    return error


def events_of(text: str) -> list[str]:
    """The data of a stream's events; comments are left out."""
    blocks = text.split("\n\n")
    assert blocks[-1] == ""
    return [block.removeprefix("data: ") for block in blocks[:-1] if not block.startswith(":")]


def streamed(text: str) -> str:
    chunks = [json.loads(data) for data in events_of(text)[:-1]]
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


def told_last(text: str) -> dict[str, str]:
    """The headers that a stream's last comment says again."""
    (comment,) = [block for block in text.split("\n\n") if block.startswith(": semcache ")]
    return json.loads(comment.removeprefix(": semcache "))


def request_bytes(body: bytes, *headers: str, path: str = CHAT, method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers]
    if not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


class Wire:
    """A connection on which bytes are sent as they are."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer: status, headers, body."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return int(first.split(" ")[1]), headers, body

    async def error(self) -> tuple[int, str]:
        """Status and code of the next answer, an error."""
        status, headers, body = await self.answer()
        assert headers["content-type"] == "application/json"
        return status, json.loads(body)["error"]["code"]

    async def ended(self) -> bool:
        """Wait for what remains; whether it was nothing."""
        try:
            return await self.reader.read() == b""
        except ConnectionError:
            return True


@asynccontextmanager
async def wire_to(served: Served) -> AsyncIterator[Wire]:
    host, _, port = str(served.application.http_address).rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
