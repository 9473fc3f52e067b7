"""Connections that reset their calls too often are closed."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import structlog

_log = structlog.get_logger(__name__)

RESETS = 100
"""Calls of one connection that may be reset, before the server has read them, in a window. The server reads a call
within milliseconds, so a client that gives up calls for its own reasons hardly ever resets one unread."""
RESETS_AGAIN = 10
"""The same for the next connections of an address of which one was closed within `_MEMORY_S`."""
_WINDOW_S = 10.0
_MEMORY_S = 60.0
_MAX_PEERS = 4096
"""Connections and addresses that are remembered; when there are so many, all are forgotten."""
_DESCRIPTORS = Path("/proc/self/fd")


class Resets:
    """Counts the calls that each connection reset unread, and closes a connection with too many.

    gRPC has no call that closes one connection, so the socket is found by its peer and shut down. gRPC then sees the
    connection's end as if the client had closed it.

    Args:
        monotonic: seconds.
        close: closes the connection that a peer, as gRPC names it, has to a port; returns whether there was one.

    Attributes:
        port: the port whose connections are closed; the listener sets it.
    """

    def __init__(self, monotonic: Callable[[], float], close: Callable[[str, int], bool] | None = None) -> None:
        self.port = 0
        self._monotonic = monotonic
        self._close = close or shut_down
        self._windows: dict[str, tuple[float, int]] = {}
        self._offences: dict[str, float] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self.closed = 0
        """Connections that were closed since the start."""

    def note(self, peer: str) -> None:
        """Count a call that its client reset before it was read; `peer` is the connection's name by gRPC."""
        now_s = self._monotonic()
        since_s, count = self._windows.get(peer, (now_s, 0))
        if now_s - since_s > _WINDOW_S:
            since_s, count = now_s, 0
        if len(self._windows) >= _MAX_PEERS:
            self._windows.clear()
        self._windows[peer] = (since_s, count + 1)
        address = peer.rpartition(":")[0]
        again = now_s - self._offences.get(address, now_s - 2 * _MEMORY_S) <= _MEMORY_S
        if count + 1 == (RESETS_AGAIN if again else RESETS):
            if len(self._offences) >= _MAX_PEERS:
                self._offences.clear()
            self._offences[address] = now_s
            self._close_soon(peer)

    def _close_soon(self, peer: str) -> None:
        task = asyncio.get_running_loop().create_task(self._close_now(peer))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close_now(self, peer: str) -> None:
        # On a thread: it looks at every descriptor of the process.
        if await asyncio.to_thread(self._close, peer, self.port):
            self.closed += 1
            _log.warning("server.connection_closed", peer=peer, why="it reset too many calls")
        else:
            _log.warning("server.connection_not_closed", peer=peer, why="it is closed by now, or there is no /proc")


def shut_down(peer: str, port: int) -> bool:
    """Shut down the connection that a peer has to a port of this process; return whether there was one.

    Args:
        peer: as gRPC names it: `ipv4:192.0.2.1:50000` or `ipv6:%5B2001:db8::1%5D:50000`.
        port: the server's own.
    """
    family, _, rest = unquote(peer).partition(":")
    host, _, peer_port = rest.rpartition(":")
    if family not in {"ipv4", "ipv6"} or not peer_port.isdecimal():
        return False
    wanted = (_address(host.strip("[]")), int(peer_port), port)
    try:
        descriptors = [int(path.name) for path in _DESCRIPTORS.iterdir()]
    except OSError:  # Without /proc a connection can't be found by its peer.
        return False
    return any(_shut_down_if(descriptor, wanted) for descriptor in descriptors)


def _shut_down_if(descriptor: int, wanted: tuple[str, int, int]) -> bool:
    """Shut down a descriptor's socket if it connects the wanted peer and port.

    The descriptor is duplicated first: it may be closed and used again meanwhile, and the copy still is what was asked
    for its peer.
    """
    try:
        copy = os.dup(descriptor)
    except OSError:  # It is closed by now.
        return False
    try:
        connection = socket.socket(fileno=copy)
    except OSError:  # It is no socket.
        os.close(copy)
        return False
    with connection:
        try:
            here, there = connection.getsockname(), connection.getpeername()
            found = (_address(there[0]), there[1], here[1]) == wanted
            if found:
                connection.shutdown(socket.SHUT_RDWR)
        except (OSError, IndexError, ValueError, TypeError):  # It listens, or is of another family.
            return False
        return found


def _address(host: str) -> str:
    """Return an address in one form: gRPC names a mapped IPv6 address by its IPv4 address."""
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
