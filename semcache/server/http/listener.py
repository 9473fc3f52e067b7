"""The HTTP listener: its port, its TLS, and its end.

uvicorn's protocol is used without uvicorn's server, which would take the process's signals and poll ten times a second.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from email.utils import formatdate
from typing import Self

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import ServerState

from semcache.errors import StartError
from semcache.ports import Clock
from semcache.server.grpc.server import host_port
from semcache.server.http.connection import HttpConnection
from semcache.server.http.open_connections import OpenConnections
from semcache.server.http.origins import Origins
from semcache.server.http.refusals import Refusals
from semcache.server.tls import ReloadingContext
from semcache.settings import ServerSettings

_DATE_S = 1.0
"""How often the `date` header is written anew: it has whole seconds."""
_BACKLOG = 2048
_HANDSHAKE_S = 10.0
"""How long a TLS handshake may take: a few round trips. Until it ends, no limit counts the connection."""


class HttpListener:
    """An HTTP/1.1 server on one port, in the running event loop."""

    def __init__(self, server: asyncio.Server, state: ServerState, host: str, port: int, clock: Clock) -> None:
        """`open` makes one."""
        self._server = server
        self._state = state
        self._host = host
        self._clock = clock
        self._date = asyncio.get_running_loop().call_soon(self._write_date)
        self.port = port
        """The port that it listens on, also where the settings asked for any free one."""

    @classmethod
    async def open(cls, settings: ServerSettings, clock: Clock, app: ASGIApp, new_id: Callable[[], str]) -> Self:
        """Listen.

        Args:
            settings: where and how; the certificates are those of the gRPC listener.
            clock: the time, for the `date` header and for certificates that are read again.
            app: answers the requests.
            new_id: makes the id of a request that no call answers and that brings none.

        Raises:
            StartError: PORT_IN_USE, or a certificate can't be read.
        """
        http = settings.http
        tls = ReloadingContext.following(settings.tls, clock) if settings.tls.enabled else None
        config = Config(
            app,
            http=HttpConnection,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=round(http.idle_timeout_s),
        )
        config.load()
        state = ServerState()
        open_connections = OpenConnections(http)
        refusals = Refusals(new_id, Origins(http.allowed_origins))
        port = _bind(http.host, http.port)
        server = await asyncio.get_running_loop().create_server(
            lambda: HttpConnection(settings, config, state, open_connections, refusals),
            sock=port,
            backlog=_BACKLOG,
            ssl=tls,
            ssl_handshake_timeout=min(_HANDSHAKE_S, http.stall_timeout_s) if tls is not None else None,
        )
        return cls(server, state, http.host, port.getsockname()[1], clock)

    @property
    def address(self) -> str:
        """Host and port as clients take them."""
        return host_port(self._host, self.port)

    async def stop(self, grace_s: float) -> None:
        """Close the port and idle connections; calls that still run after `grace_s` are cancelled."""
        self._date.cancel()
        self._server.close()
        connections, tasks = self._state.connections, self._state.tasks
        for connection in list(connections):
            connection.shutdown()
        if tasks:
            await asyncio.wait(set(tasks), timeout=grace_s)
        for connection in list(connections):
            connection.transport.abort()
        if tasks:
            await asyncio.wait(set(tasks))

    def _write_date(self) -> None:
        date = formatdate(self._clock.wall(), usegmt=True).encode()
        self._state.default_headers = [(b"date", date)]
        self._date = asyncio.get_running_loop().call_later(_DATE_S, self._write_date)


def _bind(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to the address.

    Raises:
        StartError: PORT_IN_USE.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        # asyncio switches Nagle's algorithm off only where the protocol is TCP. With it each answer takes 40 ms.
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except OSError:
            bound.close()
            raise
    except OSError as error:
        raise StartError(
            f"{host_port(host, port)} can't be listened on: it is in use, or no address of this machine.",
            reason="PORT_IN_USE",
            hint="Set server.http.port, or 0 for a free one, or server.http.enabled = false.",
        ) from error
    return bound
