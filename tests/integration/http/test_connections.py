"""The HTTP listener bounds its connections: an idle one makes room, else a new one is refused with 503."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import AsyncExitStack
from typing import Any

import pytest

from semcache.server.http import listener
from semcache.testing.serving import serving
from semcache.testing.upstream import Scripted, ScriptedUpstream
from tests.integration.http.calling import asking, request_bytes, wire_to

BODY = json.dumps(asking("a")).encode()


def bounded(**http: Any) -> dict[str, Any]:
    return {"server": {"port": 0, "http": {"port": 0, **http}}}


async def test_the_longest_idle_connection_makes_room_for_a_new_one() -> None:
    async with serving(bounded(max_connections=3)) as served, AsyncExitStack() as stack:
        silent, asked, fresh = [await stack.enter_async_context(wire_to(served)) for _ in range(3)]
        for wire in (asked, fresh, silent):
            await wire.send(request_bytes(BODY))
            assert (await wire.answer())[0] == 200
        late = await stack.enter_async_context(wire_to(served))
        await late.send(request_bytes(BODY))
        assert (await late.answer())[0] == 200
        assert await asked.ended(), "it had been idle longest"
        for wire in (fresh, silent):
            await wire.send(request_bytes(BODY))
            assert (await wire.answer())[0] == 200


async def test_connections_that_say_nothing_keep_nobody_out() -> None:
    async with serving(bounded(max_address_connections=8)) as served, AsyncExitStack() as stack:
        for _ in range(40):
            await stack.enter_async_context(wire_to(served))
        asking_one = await stack.enter_async_context(wire_to(served))
        await asking_one.send(request_bytes(BODY))
        assert (await asking_one.answer())[0] == 200


async def test_one_too_many_is_refused_while_all_are_at_work() -> None:
    gate = asyncio.Event()
    upstream = ScriptedUpstream(lambda call: Scripted("Here.", gate=gate))
    async with serving(bounded(max_connections=2), upstream=upstream) as served, AsyncExitStack() as stack:
        busy = [await stack.enter_async_context(wire_to(served)) for _ in range(2)]
        for number, wire in enumerate(busy):
            await wire.send(request_bytes(json.dumps(asking(f"question number {number}")).encode()))
        await upstream.called(2)
        late = await stack.enter_async_context(wire_to(served))
        await late.send(request_bytes(BODY))
        assert await late.error() == (503, "TOO_MANY_CONNECTIONS")
        assert await late.ended()
        gate.set()
        for wire in busy:
            assert (await wire.answer())[0] == 200
        again = await stack.enter_async_context(wire_to(served))
        await again.send(request_bytes(BODY))
        assert (await again.answer())[0] == 200


async def test_a_connection_with_half_a_request_isnt_idle() -> None:
    async with serving(bounded(max_connections=2)) as served, AsyncExitStack() as stack:
        half = await stack.enter_async_context(wire_to(served))
        whole = request_bytes(BODY)
        await half.send(whole[:20])
        for _ in range(5):
            other = await stack.enter_async_context(wire_to(served))
            await other.send(whole)
            assert (await other.answer())[0] == 200
        await half.send(whole[20:])
        assert (await half.answer())[0] == 200


async def test_responses_that_are_left_unread_lock_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def bind_with_small_buffer(host: str, port: int) -> socket.socket:
        bound = bind(host, port)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # What it takes isn't unread in the server.
        return bound

    bind = listener._bind
    monkeypatch.setattr(listener, "_bind", bind_with_small_buffer)
    long = request_bytes(json.dumps(asking("word " * 11_000)).encode())  # Its answer is below the transport's 64 KiB.
    async with serving(bounded(max_address_connections=2, stall_timeout_s=0.5)) as served:
        host, _, port = str(served.application.http_address).rpartition(":")
        silent = [socket.socket() for _ in range(2)]
        for each in silent:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            each.setblocking(False)
            await asyncio.get_running_loop().sock_connect(each, (host, int(port)))
            await asyncio.get_running_loop().sock_sendall(each, long)
        statuses = []
        while not statuses or statuses[-1] == 503:  # The test's time limit ends it.
            async with wire_to(served) as wire:
                await wire.send(request_bytes(BODY))
                statuses.append((await wire.answer())[0])
        for each in silent:
            each.close()
        assert statuses[-1] == 200
        assert 503 in statuses, "no response was left unread"
