"""How many HTTP connections may be open, overall and from one address; idle ones make room for new ones."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from semcache.settings import HttpSettings


class Closable(Protocol):
    """A connection, as far as it makes room for others."""

    @property
    def address(self) -> str:
        """The peer's address, without its port."""
        ...

    @property
    def has_unread(self) -> bool:
        """Whether the peer hasn't read all of the last response yet."""
        ...

    def make_room(self) -> None:
        """Close, with no request under way."""
        ...


class OpenConnections:
    """Counts the open connections. Belongs to the event loop.

    A connection is idle while no request of it is under way: before its first one, and between two. Of a full server,
    or a full address, the connection that has been idle longest is closed.
    """

    def __init__(self, settings: HttpSettings) -> None:
        """Begin with none; `settings` has the bounds."""
        self._max = settings.max_connections
        self._max_of_address = settings.max_address_connections
        self._open: dict[str, set[Closable]] = {}
        self._count = 0
        self._idle: OrderedDict[Closable, None] = OrderedDict()

    def __len__(self) -> int:
        """Return how many are open."""
        return self._count

    def __repr__(self) -> str:
        """Tell the connections, the addresses and the idle connections."""
        return f"<OpenConnections {self._count} of {len(self._open)} addresses, {len(self._idle)} idle>"

    def enter(self, connection: Closable) -> bool:
        """Count a new connection, which is idle; return False where there is no room and none can be made."""
        address = connection.address
        if len(self._open.get(address, ())) >= self._max_of_address and not self._make_room(address):
            return False
        if self._count >= self._max and not self._make_room():
            return False
        self._open.setdefault(address, set()).add(connection)
        self._count += 1
        self._idle[connection] = None
        return True

    def leave(self, connection: Closable) -> None:
        """Count a connection no longer; one that isn't counted is none."""
        self._idle.pop(connection, None)
        of_address = self._open.get(connection.address)
        if of_address is None or connection not in of_address:
            return
        of_address.remove(connection)
        self._count -= 1
        if not of_address:
            del self._open[connection.address]

    def work(self, connection: Closable) -> None:
        """Note that a request has begun."""
        self._idle.pop(connection, None)

    def rest(self, connection: Closable) -> None:
        """Note that no request is under way: of the idle ones this one is closed last."""
        if connection in self._open.get(connection.address, ()):
            self._idle[connection] = None
            self._idle.move_to_end(connection)

    def _make_room(self, address: str | None = None) -> bool:
        """Close the connection that has been idle longest, of an address or overall; return False if there is none."""
        for connection in self._idle:
            if (address is None or connection.address == address) and not connection.has_unread:
                self.leave(connection)
                connection.make_room()
                return True
        return False
