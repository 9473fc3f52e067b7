"""A client that doesn't read what is left of its response is disconnected, one that reads slowly is kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from semcache.server.http.connection import HttpConnection
from semcache.server.http.open_connections import OpenConnections
from semcache.server.http.origins import Origins
from semcache.server.http.refusals import Refusals
from semcache.settings import ServerSettings
from tests.integration.http.calling import request_bytes

STALL_S, IDLE_S = 30.0, 75.0
HIGH_WATER, LOW_WATER = 65_536, 16_384
REQUEST = request_bytes(json.dumps({}).encode())


class Timers:
    """Stands in for the event loop: tasks run on the real one, time passes by `advance` alone."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._timers: list[tuple[float, asyncio.Handle]] = []
        self.create_task = asyncio.get_running_loop().create_task

    def time(self) -> float:
        return self._now_s

    def call_later(self, delay_s: float, callback: Callable[..., None], *arguments: Any) -> asyncio.Handle:
        timer = asyncio.Handle(callback, arguments, asyncio.get_running_loop())
        self._timers.append((self._now_s + delay_s, timer))
        return timer

    def advance(self, by_s: float) -> None:
        until_s = self._now_s + by_s
        while due := [each for each in self._timers if each[0] <= until_s]:
            first = min(due, key=lambda each: each[0])
            self._timers.remove(first)
            self._now_s, timer = first
            if not timer.cancelled():
                timer._run()
        self._now_s = until_s


class Socket(asyncio.Transport):
    """A transport whose peer reads only by `read`."""

    def __init__(self, *, encrypted: bool = False) -> None:
        super().__init__()
        self.unread_bytes = 0
        self.encrypted = encrypted
        self.aborted = False
        self._paused = self._closing = self._lost = False
        self.connection: HttpConnection

    def write(self, data: bytes) -> None:  # type: ignore[override]
        self.unread_bytes += len(data)
        if self.unread_bytes > HIGH_WATER and not self._paused:
            self._paused = True
            self.connection.pause_writing()

    def read(self, size: int) -> None:
        self.unread_bytes = max(0, self.unread_bytes - size)
        if self._paused and self.unread_bytes <= LOW_WATER:
            self._paused = False
            self.connection.resume_writing()
        self._lose_if_done()

    def get_write_buffer_size(self) -> int:
        return 0 if self.encrypted else self.unread_bytes

    def close(self) -> None:
        self._closing = True
        self._lose_if_done()

    def abort(self) -> None:
        self.aborted = self._closing = True
        self.unread_bytes = 0
        self._lose_if_done()

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def _lose_if_done(self) -> None:
        if self._closing and not self.unread_bytes and not self._lost:
            self._lost = True
            self.connection.connection_lost(None)


class Rig:
    """A connection whose responses have the sizes in `sizes`, one after another."""

    def __init__(self, *sizes: int, fails: bool = False, encrypted: bool = False) -> None:
        self._sizes = list(sizes)
        self._fails = fails
        self.settings = ServerSettings.model_validate({"http": {"stall_timeout_s": STALL_S, "idle_timeout_s": IDLE_S}})
        self.counted = OpenConnections(self.settings.http)
        config = Config(
            self._answer,
            interface="asgi3",
            log_config=None,
            lifespan="off",
            ws="none",
            timeout_keep_alive=round(IDLE_S),
        )
        config.load()
        self.connection = HttpConnection(
            self.settings, config, ServerState(), self.counted, Refusals(lambda: "r-1", Origins(()))
        )
        self.timers = Timers()
        self.connection.loop = self.timers  # type: ignore[assignment]
        self.socket = Socket(encrypted=encrypted)
        self.socket.connection = self.connection
        self.connection.connection_made(self.socket)

    async def ask(self, times: int = 1) -> None:
        self.connection.data_received(REQUEST * times)
        for _ in range(20 * times):
            await asyncio.sleep(0)

    async def read(self, size: int) -> None:
        self.socket.read(size)
        for _ in range(20):  # An answer that waited for it goes on.
            await asyncio.sleep(0)

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a" * self._sizes.pop(0), "more_body": True})
        if self._fails:
            raise ValueError("midway")
        await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize("size", [1, 3_000, 60_000, 200_000])
async def test_a_client_that_leaves_a_response_unread_is_disconnected(size: int) -> None:
    rig = Rig(size)
    await rig.ask()
    assert rig.socket.unread_bytes >= size
    rig.timers.advance(STALL_S - 1)
    assert (len(rig.counted), rig.socket.aborted) == (1, False)
    rig.timers.advance(1)
    assert (len(rig.counted), rig.socket.aborted) == (0, True)


async def test_pipelined_calls_that_are_left_unread_end_their_connection() -> None:
    rig = Rig(*[2_000] * 40)
    await rig.ask(times=40)
    rig.timers.advance(STALL_S)
    await asyncio.sleep(0)
    assert (len(rig.counted), rig.socket.aborted) == (0, True)


async def test_a_client_that_stops_below_the_transports_limit_is_disconnected() -> None:
    rig = Rig(200_000)
    await rig.ask()
    await rig.read(rig.socket.unread_bytes - LOW_WATER)
    rig.timers.advance(STALL_S - 1)
    assert not rig.socket.aborted
    rig.timers.advance(1)
    assert (len(rig.counted), rig.socket.aborted) == (0, True)


async def test_a_client_that_reads_slowly_is_kept_to_the_last_byte() -> None:
    rig = Rig(200_000)
    await rig.ask()
    while rig.socket.unread_bytes:
        assert len(rig.counted) == 1
        await rig.read(9_000)
        rig.timers.advance(STALL_S - 1)
    rig.timers.advance(10 * STALL_S)
    assert (len(rig.counted), rig.socket.aborted) == (0, False), "it was closed as idle"


async def test_a_client_that_reads_an_answer_and_is_sent_the_next_is_kept() -> None:
    rig = Rig(20_000, 30_000)
    await rig.ask()
    rig.timers.advance(STALL_S - 1)
    await rig.read(10_000)
    await rig.ask()
    assert rig.socket.unread_bytes > 30_000
    rig.timers.advance(STALL_S - 1)
    await rig.read(40_000)
    rig.timers.advance(STALL_S - 1)
    assert (len(rig.counted), rig.socket.aborted) == (1, False)


async def test_a_client_that_has_read_all_stays_connected_until_it_is_idle_for_long() -> None:
    rig = Rig(3_000)
    await rig.ask()
    await rig.read(10_000)
    rig.timers.advance(IDLE_S - 1)
    assert len(rig.counted) == 1
    rig.timers.advance(1)
    assert (len(rig.counted), rig.socket.aborted) == (0, False)


@pytest.mark.parametrize(
    "close",
    [
        lambda connection: connection.shutdown(),
        lambda connection: connection.make_room(),
        lambda connection: connection.timeout_keep_alive_handler(),
        lambda connection: connection.data_received(b"\x00garbage\r\n\r\n"),
        lambda connection: (connection.eof_received(), connection.transport.close()),
    ],
    ids=["shutdown", "make_room", "idle", "garbage", "eof"],
)
@pytest.mark.parametrize("encrypted", [False, True])
async def test_a_closed_connection_waits_for_no_reader_for_ever(
    close: Callable[[HttpConnection], object], encrypted: bool
) -> None:
    rig = Rig(3_000, encrypted=encrypted)
    await rig.ask()
    close(rig.connection)
    assert not rig.socket.aborted
    rig.timers.advance(STALL_S)
    assert (len(rig.counted), rig.socket.aborted) == (0, True)


async def test_a_call_that_fails_midway_leaves_no_connection_behind() -> None:
    rig = Rig(3_000, fails=True)
    await rig.ask()
    assert rig.socket.is_closing()
    assert len(rig.counted) == 1
    rig.timers.advance(STALL_S)
    assert (len(rig.counted), rig.socket.aborted) == (0, True)
