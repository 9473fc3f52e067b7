"""A scripted server of OpenAI's or Anthropic's API on a loopback socket: answers of any form, and the ways to fail."""

from __future__ import annotations

import asyncio
import http
import inspect
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Any, Self

from semcache.protocols.messages.replaying import replay_events
from semcache.protocols.wire import replay_chunks
from semcache.testing.messages import message_body
from semcache.testing.upstream import completion_body, prompt_of

_HEAD_BYTES = 64 * 1024


class Ending(Enum):
    """What follows the last piece of a reply."""

    END = "end"
    """The reply ends as HTTP requires."""
    CUT = "cut"
    """The connection is closed at once, even where the head announced more bytes."""
    RESET = "reset"
    """The connection is reset."""
    HANG = "hang"
    """Nothing more comes, and the connection stays open."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply to one request, by script.

    Attributes:
        status: the HTTP status; 0: no head is sent, only the pieces.
        headers: headers beside those of the framing.
        pieces: the parts of the body, each written on its own.
        chunked: whether the body is framed as chunks; otherwise by content-length.
        delay_s: seconds before the head.
        piece_delay_s: seconds before each piece except the first.
        gate: the server waits for it before the head.
        piece_gate: the server waits for it before the second piece.
        ending: what follows the last piece.
        close: whether the connection is closed after the reply.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    pieces: tuple[bytes, ...] = ()
    chunked: bool = False
    delay_s: float = 0.0
    piece_delay_s: float = 0.0
    gate: asyncio.Event | None = None
    piece_gate: asyncio.Event | None = None
    ending: Ending = Ending.END
    close: bool = False


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came. `connection` counts from 1: requests of one number shared a connection."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: int

    @property
    def json(self) -> Any:
        """The parsed body."""
        return json.loads(self.body)

    @property
    def streams(self) -> bool:
        """Whether the request asks for a stream."""
        return bool(self.json.get("stream"))


Handler = Callable[[Received], Reply | Awaitable[Reply]]


def plain(body: bytes, *, status: int = 200, content_type: str = "application/json", **rest: Any) -> Reply:
    """Return a reply in one piece. `rest`: fields of `Reply`."""
    return Reply(
        status=status, headers={"content-type": content_type, **rest.pop("headers", {})}, pieces=(body,), **rest
    )


def events(chunks: Iterable[bytes], *, done: bool = True, **rest: Any) -> Reply:
    """Return an event stream of `chunks`, each in a piece of its own. `rest`: fields of `Reply`."""
    pieces = [b"data: " + chunk + b"\n\n" for chunk in chunks] + ([b"data: [DONE]\n\n"] if done else [])
    headers = {"content-type": "text/event-stream", **rest.pop("headers", {})}
    return Reply(headers=headers, pieces=tuple(pieces), chunked=True, **rest)


def named_events(chunks: Iterable[bytes], **rest: Any) -> Reply:
    """Return an event stream as Anthropic sends it: each event has the name of its type. `rest`: fields of `Reply`."""
    pieces = [b"event: %b\ndata: %b\n\n" % (json.loads(chunk)["type"].encode(), chunk) for chunk in chunks]
    headers = {"content-type": "text/event-stream; charset=utf-8", **rest.pop("headers", {})}
    return Reply(headers=headers, pieces=tuple(pieces), chunked=True, **rest)


def failure(status: int, message: str = "scripted failure", **rest: Any) -> Reply:
    """Return an error in OpenAI's form. `rest`: fields of `Reply`."""
    error = {"error": {"message": message, "type": "scripted", "code": None}}
    return plain(json.dumps(error).encode(), status=status, **rest)


def echo(request: Received) -> Reply:
    """Return "Answer to: " and the prompt; plain or streamed, as the request asks, in the protocol of its path."""
    if request.path.partition("?")[0].endswith("/messages"):
        message = message_body(f"Answer to: {prompt_of(request.body)}", model=str(request.json.get("model")))
        return named_events(replay_events(message)) if request.streams else plain(message)
    body = completion_body(f"Answer to: {prompt_of(request.body)}", model=str(request.json.get("model")))
    if not request.streams:
        return plain(body)
    usage = (request.json.get("stream_options") or {}).get("include_usage", False)
    return events(replay_chunks(body, include_usage=usage))


class ScriptedServer:
    """HTTP/1.1 with keep-alive on a free loopback port; an async context manager.

    Args:
        script: a function of the request, or replies in their order. After the last reply, `echo` answers.
        port: the port; 0 takes a free one.
        keep_requests: whether `requests` is filled; False for a server that runs long.

    Attributes:
        requests: every complete request, in order.
    """

    def __init__(self, script: Handler | Sequence[Reply] = (), *, port: int = 0, keep_requests: bool = True) -> None:
        self._handler: Handler = script if callable(script) else _in_order(script)
        self._port = port
        self._keep_requests = keep_requests
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._arrived = asyncio.Condition()
        self._connections = 0
        self.requests: list[Received] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: asyncio.StreamReaderProtocol(_Reader(limit=_HEAD_BYTES), self._accept), "127.0.0.1", self._port
        )
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def base_url(self) -> str:
        """The URL up to and including `/v1`."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def open_connections(self) -> int:
        """How many connections have not ended."""
        return len(self._tasks)

    async def received(self, count: int = 1) -> None:
        """Wait until `count` requests have come."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) >= count)

    async def abandoned(self) -> None:
        """Wait until every connection has ended."""
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    async def close(self) -> None:
        """Close the port and every connection."""
        if self._server is None:
            return
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks))
        await self._server.wait_closed()
        self._server = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert isinstance(reader, _Reader)
        self._connections += 1
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer, self._connections))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: _Reader, writer: asyncio.StreamWriter, connection: int) -> None:
        try:
            with suppress(ConnectionError):  # A client may disconnect at any time.
                await self._serve_requests(reader, writer, connection)
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _serve_requests(self, reader: _Reader, writer: asyncio.StreamWriter, connection: int) -> None:
        while (request := await _read_request(reader, connection)) is not None:
            if self._keep_requests:
                async with self._arrived:
                    self.requests.append(request)
                    self._arrived.notify_all()
            if not await _until_disconnected(reader, self._answer(writer, request)):
                return

    async def _answer(self, writer: asyncio.StreamWriter, request: Received) -> bool:
        reply = self._handler(request)
        return await _write(writer, await reply if inspect.isawaitable(reply) else reply)


class _Reader(asyncio.StreamReader):
    """A reader that knows without reading when the client has disconnected."""

    def __init__(self, *, limit: int) -> None:
        super().__init__(limit=limit)
        self.disconnected = asyncio.Event()

    def feed_eof(self) -> None:
        super().feed_eof()
        self.disconnected.set()

    def set_exception(self, exc: Exception) -> None:
        super().set_exception(exc)
        self.disconnected.set()


def _in_order(replies: Sequence[Reply]) -> Handler:
    remaining = iter(replies)

    def handler(request: Received) -> Reply:
        return next(remaining, None) or echo(request)

    return handler


async def _read_request(reader: _Reader, connection: int) -> Received | None:
    """Return the next request; None when the client has closed the connection."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    except asyncio.IncompleteReadError:
        return None
    return Received(method, path, headers, body, connection)


async def _until_disconnected(reader: _Reader, answering: Coroutine[Any, Any, bool]) -> bool:
    """Answer until the client disconnects; returns whether the connection can take another request."""
    answer = asyncio.ensure_future(answering)
    leaving = asyncio.ensure_future(reader.disconnected.wait())
    try:
        await asyncio.wait({answer, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return answer.done() and answer.result()
    finally:
        for task in (answer, leaving):
            task.cancel()
        await asyncio.gather(answer, leaving, return_exceptions=True)


async def _write(writer: asyncio.StreamWriter, reply: Reply) -> bool:
    await asyncio.sleep(reply.delay_s)
    if reply.gate is not None:
        await reply.gate.wait()
    if reply.status:
        writer.write(_head(reply))
    for number, piece in enumerate(reply.pieces):
        if number > 0:
            await asyncio.sleep(reply.piece_delay_s)
        if number == 1 and reply.piece_gate is not None:
            await reply.piece_gate.wait()
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if reply.chunked else piece)
        await writer.drain()
    if reply.ending is Ending.HANG:
        await asyncio.get_running_loop().create_future()
    if reply.ending is Ending.RESET:
        await writer.drain()
        # With a linger time of 0 the close sends a reset.
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        return False
    if reply.ending is Ending.END and reply.chunked:
        writer.write(b"0\r\n\r\n")
    await writer.drain()
    return reply.ending is Ending.END and not reply.close and reply.status != 0


def _head(reply: Reply) -> bytes:
    framing = (
        {"transfer-encoding": "chunked"} if reply.chunked else {"content-length": str(sum(map(len, reply.pieces)))}
    )
    headers = {**framing, **({"connection": "close"} if reply.close else {}), **reply.headers}
    phrase = http.HTTPStatus(reply.status).phrase if reply.status in set(http.HTTPStatus) else "Scripted"
    lines = [f"HTTP/1.1 {reply.status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
