"""Many open streams at once: replayed ones, live ones, clients that leave, and exact hits beside them.

The live streams wait for the upstream while the replays run, so that all are open at the same time. The clients are
plain sockets.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from semcache.testing.upstream_server import Received, Reply, ScriptedServer, events, plain

CHUNKS = 60
"""Chunks of each answer's text."""
PAUSE_S = 0.3
"""Between the chunks of a replayed stream, which so is open for some ten seconds: longer than opening all takes."""
ENTRIES = 40
"""Distinct answers that are replayed."""
LEAVING = 10
"""One of so many clients leaves in the middle."""
_WAIT_S = 60.0
_BEGUN_WITHIN_S = 45.0
_PIECES = [f"piece {number} of this answer, " for number in range(CHUNKS)]
_TEXT = "".join(_PIECES)


@dataclass
class Streams:
    """What was measured. `problems` has each broken promise, with its count."""

    replayed: int
    live: int
    open_at_once: int = 0
    left: int = 0
    bytes_per_stream: int | None = None
    open_s: float = 0.0
    pieces: int = 0
    replay_median_s: float = 0.0
    replay_slowest_s: float = 0.0
    longest_gap_s: float = 0.0
    live_slowest_s: float = 0.0
    hit_alone_p99_ms: float = 0.0
    hit_beside_median_ms: float = 0.0
    hit_beside_p99_ms: float = 0.0
    problems: dict[str, int] = field(default_factory=dict)

    def expect(self, promise: str, *, kept: bool) -> None:
        """Count a promise that was broken."""
        if not kept:
            self.problems[promise] = self.problems.get(promise, 0) + 1

    def as_json(self) -> dict[str, Any]:
        """Return all figures, for the nightly report."""
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in asdict(self).items()}


@dataclass
class Upstream:
    """The scripted provider: a streamed question gets its first piece, and the others once `gate` is open."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, request: Received) -> Reply:
        if not request.streams:
            message = {"role": "assistant", "content": _TEXT}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return plain(json.dumps({**_HEAD, "object": "chat.completion", "choices": [choice]}).encode())
        chunks = [_chunk({"content": piece}) for piece in _PIECES]
        return events([*chunks, _chunk({}, "stop")], piece_gate=self.gate)


_HEAD = {
    "id": "c-1",
    "created": 1_780_000_000,
    "model": "m",
    "usage": {"prompt_tokens": 9, "completion_tokens": 99, "total_tokens": 108},
}


def _chunk(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    head = {"id": "c-1", "object": "chat.completion.chunk", "created": 1_780_000_000, "model": "m"}
    return json.dumps({**head, "choices": [choice]}).encode()


def sections(upstream_url: str, streams: int, pause_s: float = PAUSE_S) -> dict[str, dict[str, Any]]:
    """Return the settings, by section, of a server that takes so many streams of one client.

    Args:
        upstream_url: the provider's base URL.
        streams: open streams.
        pause_s: between the chunks of a replayed stream.
    """
    bound = 2 * streams + 100
    http = {"port": 0, "replay_pause_s": pause_s, "max_connections": bound, "max_address_connections": bound}
    return {
        "server": {"port": 0, "max_in_flight": bound, "http": http},
        "limits": {"tenant_in_flight": bound},
        "upstream": {"targets": [{"name": "main", "base_url": upstream_url, "max_connections": bound}]},
    }


class Client:
    """One connection on which one stream is read, as it comes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.begun = asyncio.Event()
        self.pieces: list[bytes] = []
        self.came_s: list[float] = []
        self.opened_s = time.perf_counter()

    @classmethod
    async def asking(cls, address: str, text: str) -> Client:
        host, _, port = address.rpartition(":")
        client = cls(*await asyncio.open_connection(host, int(port)))
        client._writer.write(_request(text, stream=True))
        return client

    async def read(self) -> None:
        """Read to the stream's end; `begun` is set with its first event."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        while True:
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            piece = (await self._reader.readexactly(size + 2))[:-2]
            if not size:
                return
            self.pieces.append(piece)
            self.came_s.append(time.perf_counter())
            self.begun.set()

    def leave(self) -> None:
        self._writer.transport.abort()

    async def close(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()

    @property
    def text(self) -> str:
        lines = [line for line in b"".join(self.pieces).split(b"\n") if line.startswith(b"data: {")]
        deltas = [json.loads(line.removeprefix(b"data: "))["choices"] for line in lines]
        return "".join(choices[0]["delta"].get("content") or "" for choices in deltas if choices)

    @property
    def is_whole(self) -> bool:
        return self.text == _TEXT and b"".join(self.pieces).endswith(b"data: [DONE]\n\n")

    @property
    def lasted_s(self) -> float:
        return self.came_s[-1] - self.came_s[0]

    @property
    def longest_gap_s(self) -> float:
        return max((later - earlier for earlier, later in itertools.pairwise(self.came_s)), default=0.0)


def _request(text: str, *, stream: bool) -> bytes:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}], "stream": stream}).encode()
    # Streams are what is looked at here, so nothing waits for the embedding model.
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"x-semcache-mode: exact-only\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Asker:
    """A connection that is kept, for plain questions one after another."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, text: str) -> tuple[bytes, float]:
        """Return the answer's head, and the milliseconds until all of it has come."""
        started = time.perf_counter()
        self._writer.write(_request(text, stream=False))
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: "))
        await self._reader.readexactly(int(length.removeprefix(b"content-length: ")))
        return head.lower(), (time.perf_counter() - started) * 1e3

    async def hits(self, count: int) -> list[float]:
        """Return the milliseconds of so many exact hits."""
        times = []
        for number in range(count):
            head, took_ms = await self.ask(replayed_text(number % ENTRIES))
            assert b"x-cache-match: exact" in head, head
            times.append(took_ms)
            await asyncio.sleep(0.005)
        return times


@asynccontextmanager
async def _client(address: str, text: str) -> AsyncIterator[Client]:
    client = await Client.asking(address, text)
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def _opened(address: str, texts: Iterable[str]) -> AsyncIterator[list[Client]]:
    """Ask for a stream of each text, over a connection each."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(_client(address, text)) for text in texts]


@asynccontextmanager
async def _asker(address: str) -> AsyncIterator[Asker]:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Asker(reader, writer)
    finally:
        writer.close()


def replayed_text(number: int) -> str:
    """Return the question of an entry."""
    return f"What does entry number {number} say?"


async def play(
    address: str,
    upstream: Upstream,
    *,
    replayed: int,
    live: int,
    in_flight: Callable[[], Awaitable[int]],
    memory: Callable[[], int] | None = None,
) -> Streams:
    """Open all streams, let some clients leave, and read the others to their ends.

    Args:
        address: host and port of the HTTP front.
        upstream: the provider behind it.
        replayed: streams from the cache.
        live: streams that wait for the provider.
        in_flight: tells the calls that the server has under way.
        memory: tells the bytes that the server's process holds.
    """
    figures = Streams(replayed, live)
    async with AsyncExitStack() as stack:
        asker = await stack.enter_async_context(_asker(address))
        for number in range(ENTRIES):
            await asker.ask(replayed_text(number))
        figures.hit_alone_p99_ms = _p99(await asker.hits(200))
        before = memory() if memory is not None else 0
        started = time.perf_counter()
        asked = (f"What is new, number {number}?" for number in range(live))
        lives = await stack.enter_async_context(_opened(address, asked))
        known = (replayed_text(number % ENTRIES) for number in range(replayed))
        replays = await stack.enter_async_context(_opened(address, known))
        clients = [*lives, *replays]
        reading = {client: asyncio.ensure_future(client.read()) for client in clients}
        begun = asyncio.gather(*(client.begun.wait() for client in clients))
        await asyncio.wait_for(begun, _BEGUN_WITHIN_S)
        figures.open_s = time.perf_counter() - started
        figures.open_at_once = await in_flight()
        figures.expect("all are open at once", kept=figures.open_at_once == len(clients))
        if memory is not None:
            figures.bytes_per_stream = (memory() - before) // len(clients)
        beside = await asker.hits(100)
        leaving = clients[::LEAVING]
        figures.left = len(leaving)
        for client in leaving:
            client.leave()
        staying_lives = [client for client in lives if client not in leaving]
        await asyncio.gather(*(reading.pop(client) for client in leaving), return_exceptions=True)
        beside += await asker.hits(100)
        staying = [reading[client] for client in replays if client in reading]
        await asyncio.wait_for(asyncio.gather(*staying), _WAIT_S)
        open_lives = await _settles(in_flight, len(staying_lives))
        figures.expect("clients that leave free their place", kept=open_lives == len(staying_lives))
        upstream.gate.set()
        opened = time.perf_counter()
        await asyncio.wait_for(asyncio.gather(*(reading[client] for client in staying_lives)), _WAIT_S)
        figures.live_slowest_s = max(client.came_s[-1] for client in staying_lives) - opened
        figures.expect("nothing is left open", kept=await _settles(in_flight, 0) == 0)
    whole = [client for client in replays if client in reading]
    for client in (*whole, *staying_lives):
        figures.expect("a stream is whole", kept=client.is_whole)
    figures.pieces = len(whole[0].pieces)
    figures.replay_median_s = statistics.median(client.lasted_s for client in whole)
    figures.replay_slowest_s = max(client.lasted_s for client in whole)
    figures.longest_gap_s = max(client.longest_gap_s for client in whole)
    figures.hit_beside_median_ms, figures.hit_beside_p99_ms = statistics.median(beside), _p99(beside)
    return figures


async def _settles(in_flight: Callable[[], Awaitable[int]], expected: int) -> int:
    """Return the calls under way once they are as many as expected, or after five seconds."""
    for _ in range(100):
        if await in_flight() == expected:
            break
        await asyncio.sleep(0.05)
    return await in_flight()


def _p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


async def play_process(folder: Path, *, replayed: int, live: int) -> Streams:
    """Do the same against a server in a process of its own, whose memory is measured."""
    from benchmarks.server_process import ServerProcess

    upstream = Upstream()
    async with ScriptedServer(upstream, keep_requests=False) as provider:
        own = sections(provider.base_url, replayed + live)
        with ServerProcess(folder, embedding={"threads": 1}, **own) as server:
            page = f"{server.events('server.ready')[0]['metrics_port']}"
            return await play(
                server.ready["http_address"],
                upstream,
                replayed=replayed,
                live=live,
                in_flight=lambda: _running(int(page)),
                memory=lambda: server.memory().anonymous,
            )


async def _running(metrics_port: int) -> int:
    """Return the chats under way, as the server's metrics tell them."""
    reader, writer = await asyncio.open_connection("127.0.0.1", metrics_port)
    writer.write(b"GET /metrics HTTP/1.0\r\nhost: localhost\r\n\r\n")
    page = (await reader.read()).decode()
    writer.close()
    name = 'semcache_calls_in_flight{method="ChatCompletions"} '
    return round(sum(float(line.removeprefix(name)) for line in page.splitlines() if line.startswith(name)))
