"""Connections that reset too many calls are closed, on a real socket."""

import asyncio
import socket
from urllib.parse import quote

import pytest

from semcache.server.grpc.resets import RESETS, RESETS_AGAIN, Resets, shut_down
from semcache.testing.clock import FakeClock

PEER, OTHER = "ipv4:192.0.2.7:50000", "ipv4:192.0.2.7:50001"


class Rig:
    def __init__(self, found=True) -> None:
        self.clock, self.closed, self.found = FakeClock(), [], found
        self.resets = Resets(self.clock.monotonic, self._close)
        self.resets.port = 7

    def _close(self, peer, port):
        assert port == 7
        self.closed.append(peer)
        return self.found

    async def note(self, peer, times):
        for _ in range(times):
            self.resets.note(peer)
        await asyncio.gather(*self.resets._closing)


async def test_a_connection_is_closed_once_it_has_reset_too_many_calls():
    rig = Rig()
    await rig.note(PEER, RESETS - 1)
    await rig.note(OTHER, RESETS - 1)
    assert rig.closed == []
    await rig.note(PEER, 50)
    assert (rig.closed, rig.resets.closed) == ([PEER], 1)


async def test_resets_that_are_far_apart_close_nothing():
    rig = Rig()
    for _ in range(RESETS):
        await rig.note(PEER, 10)
        rig.clock.advance(10.1)
    assert rig.closed == []


async def test_the_next_connection_of_the_address_is_closed_sooner_and_not_for_ever():
    rig = Rig()
    await rig.note(PEER, RESETS)
    await rig.note(OTHER, RESETS_AGAIN)
    await rig.note("ipv4:192.0.2.8:50000", RESETS_AGAIN)
    assert rig.closed == [PEER, OTHER]
    rig.clock.advance(61.0)
    await rig.note("ipv4:192.0.2.7:50002", RESETS_AGAIN)
    assert rig.closed == [PEER, OTHER]


async def test_a_connection_that_is_not_found_is_not_counted_as_closed():
    rig = Rig(found=False)
    await rig.note(PEER, RESETS)
    assert (rig.closed, rig.resets.closed) == ([PEER], 0)


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", "ipv4"), ("::1", "ipv6")])
def test_one_connection_is_shut_down_and_the_others_stay(host, family):
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(kind, socket.SOCK_STREAM) as listening:
        try:
            listening.bind((host, 0))
        except OSError:
            pytest.skip(f"this machine has no {host}")
        listening.listen()
        port = listening.getsockname()[1]
        clients = [socket.create_connection((host, port), 5) for _ in range(2)]
        served = [listening.accept()[0] for _ in clients]
        name = clients[0].getsockname()
        bracketed = quote(f"[{host}]", safe=":") if ":" in host else host
        assert not shut_down(f"{family}:{bracketed}:{name[1]}", port + 1)
        assert shut_down(f"{family}:{bracketed}:{name[1]}", port)
        assert clients[0].recv(1) == b""
        served[1].sendall(b"x")
        assert clients[1].recv(1) == b"x"
        for connection in (*clients, *served):
            connection.close()


@pytest.mark.parametrize("peer", ["unix:", "", "ipv4:nonsense", "ipv4:192.0.2.1:1", "vsock:1:2"])
def test_a_peer_that_is_not_here_is_not_found(peer):
    assert not shut_down(peer, 1)
