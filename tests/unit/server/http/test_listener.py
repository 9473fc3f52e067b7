"""The port of the HTTP front."""

from __future__ import annotations

import asyncio
import socket

from semcache.server.http.listener import _bind


class Accepting(asyncio.Protocol):
    """Tells whether Nagle's algorithm is off on the connection that it takes."""

    def __init__(self, undelayed: asyncio.Future[bool]) -> None:
        self._undelayed = undelayed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        option = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        self._undelayed.set_result(option != 0)
        transport.close()


async def test_an_answer_doesnt_wait_for_the_clients_acknowledgement() -> None:
    loop = asyncio.get_running_loop()
    undelayed: asyncio.Future[bool] = loop.create_future()
    bound = _bind("127.0.0.1", 0)
    server = await loop.create_server(lambda: Accepting(undelayed), sock=bound)
    async with server:
        _, writer = await asyncio.open_connection(*bound.getsockname())
        assert await asyncio.wait_for(undelayed, 5)
        writer.close()
        await writer.wait_closed()
