"""Connections are counted, overall and by address; those idle longest make room."""

import pytest

from semcache.server.http.open_connections import OpenConnections
from semcache.settings import HttpSettings


class Connection:
    def __init__(self, address: str = "10.0.0.1") -> None:
        self.address = address
        self.has_unread = False
        self.closed = 0

    def make_room(self) -> None:
        self.closed += 1


def bounded(total: int = 4, of_address: int = 2) -> OpenConnections:
    return OpenConnections(HttpSettings(max_connections=total, max_address_connections=of_address))


def test_the_connection_of_an_address_that_has_been_idle_longest_makes_room() -> None:
    counted, others = bounded(), Connection("10.0.0.2")
    first, second, third = Connection(), Connection(), Connection()
    assert all(counted.enter(each) for each in (others, first, second))
    counted.work(first)
    counted.rest(first)
    assert counted.enter(third)
    assert [each.closed for each in (others, first, second, third)] == [0, 0, 1, 0]
    assert repr(counted) == "<OpenConnections 3 of 2 addresses, 3 idle>"


def test_a_full_server_closes_the_longest_idle_of_all() -> None:
    counted = bounded()
    held = [Connection(f"10.0.0.{number}") for number in range(4)]
    assert all(counted.enter(each) for each in held)
    counted.work(held[0])
    assert counted.enter(Connection("10.0.1.1"))
    assert [each.closed for each in held] == [0, 1, 0, 0]
    assert len(counted) == 4


@pytest.mark.parametrize("addresses", [["10.0.0.1"] * 2, ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]])
def test_none_is_let_in_while_all_are_at_work(addresses: list[str]) -> None:
    counted = bounded()
    held = [Connection(address) for address in addresses]
    for each in held:
        assert counted.enter(each)
        counted.work(each)
    late = Connection()
    assert not counted.enter(late)
    counted.leave(late)
    assert len(counted) == len(held)
    counted.rest(held[0])
    assert counted.enter(late)
    assert held[0].closed == 1


def test_a_response_that_is_still_being_read_is_not_cut_off() -> None:
    counted, reading, resting = bounded(), Connection(), Connection()
    reading.has_unread = True
    assert counted.enter(reading)
    assert counted.enter(resting)
    assert counted.enter(Connection())
    assert (reading.closed, resting.closed) == (0, 1)
    counted.work(reading)
    counted.leave(reading)
    counted.rest(reading)
    assert len(counted) == 1


def test_what_has_left_is_forgotten() -> None:
    counted, only = bounded(), Connection()
    assert counted.enter(only)
    counted.leave(only)
    counted.leave(only)
    counted.rest(only)
    assert repr(counted) == "<OpenConnections 0 of 0 addresses, 0 idle>"
