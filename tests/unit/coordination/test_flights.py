"""Coalescing: one piece of work, many who wait, each free to leave."""

import asyncio

import pytest

from semcache.coordination import Flight, Flights, StreamMemory
from semcache.settings import LimitSettings


async def gather_chunks(flight: Flight[str]) -> list[bytes]:
    return [chunk async for chunk in flight.chunks()]


async def test_all_waiters_get_the_one_outcome() -> None:
    flights: Flights[str] = Flights(StreamMemory(LimitSettings()))
    gate = asyncio.Event()
    runs = 0

    async def work(_: Flight[str]) -> str:
        nonlocal runs
        runs += 1
        await gate.wait()
        return "answer"

    leader = flights.start("key", work, streams=False, tenant="acme")
    assert flights.find("key") is leader
    waiters = [asyncio.create_task(leader.outcome()) for _ in range(5)]
    gate.set()
    assert await asyncio.gather(*waiters) == ["answer"] * 5
    assert runs == 1
    assert flights.find("key") is None
    assert len(flights) == 0


async def test_a_waiter_that_leaves_disturbs_nobody() -> None:
    flights: Flights[str] = Flights(StreamMemory(LimitSettings()))
    gate = asyncio.Event()

    async def work(_: Flight[str]) -> str:
        await gate.wait()
        return "answer"

    flight = flights.start("key", work, streams=False, tenant="acme")
    leaver, stayer = asyncio.create_task(flight.outcome()), asyncio.create_task(flight.outcome())
    await asyncio.sleep(0)
    leaver.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaver
    gate.set()
    assert await stayer == "answer"


async def test_a_failure_reaches_every_waiter_once() -> None:
    flights: Flights[str] = Flights(StreamMemory(LimitSettings()))

    async def work(_: Flight[str]) -> str:
        raise ValueError("broken")

    flight = flights.start("key", work, streams=False, tenant="acme")
    results = await asyncio.gather(*(flight.outcome() for _ in range(3)), return_exceptions=True)
    assert [str(result) for result in results] == ["broken"] * 3


async def test_a_failure_without_waiters_is_no_warning() -> None:
    flights: Flights[str] = Flights(StreamMemory(LimitSettings()))

    async def work(_: Flight[str]) -> str:
        raise ValueError("broken")

    flights.start("key", work, streams=False, tenant="acme")
    await flights.drain(1.0)
    assert len(flights) == 0


async def test_a_late_reader_gets_the_stream_from_its_first_chunk() -> None:
    flights: Flights[str] = Flights(StreamMemory(LimitSettings()))
    more, end = asyncio.Event(), asyncio.Event()

    async def work(flight: Flight[str]) -> str:
        flight.start_asking("")
        flight.feed(b"1")
        flight.feed(b"2")
        more.set()
        await end.wait()
        flight.feed(b"3")
        return "whole"

    flight = flights.start("key", work, streams=True, tenant="acme")
    early = asyncio.create_task(gather_chunks(flight))
    assert await flight.asked()
    await more.wait()
    late = asyncio.create_task(gather_chunks(flight))
    end.set()
    assert await early == await late == [b"1", b"2", b"3"]
    assert await flight.outcome() == "whole"
    assert await gather_chunks(flight) == [b"1", b"2", b"3"]


async def test_readers_end_when_the_work_fails() -> None:
    flights: Flights[str] = Flights(StreamMemory(LimitSettings()))

    async def work(flight: Flight[str]) -> str:
        flight.start_asking("")
        flight.feed(b"1")
        raise ValueError("half")

    flight = flights.start("key", work, streams=True, tenant="acme")
    assert await gather_chunks(flight) == [b"1"]
    with pytest.raises(ValueError, match="half"):
        await flight.outcome()


async def test_it_is_known_when_nobody_had_to_be_asked() -> None:
    flights: Flights[str] = Flights(StreamMemory(LimitSettings()))

    async def work(_: Flight[str]) -> str:
        return "from the cache"

    flight = flights.start("key", work, streams=True, tenant="acme")
    assert not await flight.asked()


async def test_without_a_key_nobody_joins() -> None:
    flights: Flights[str] = Flights(StreamMemory(LimitSettings()))

    async def work(_: Flight[str]) -> str:
        return "mine"

    flight = flights.start(None, work, streams=False, tenant="acme")
    assert flights.find(None) is None
    assert await flight.outcome() == "mine"


async def test_draining_cancels_what_is_late() -> None:
    flights: Flights[str] = Flights(StreamMemory(LimitSettings()))

    async def work(_: Flight[str]) -> str:
        await asyncio.Event().wait()
        return "never"

    flight = flights.start("key", work, streams=False, tenant="acme")
    await asyncio.sleep(0)
    await flights.drain(0.0)
    with pytest.raises(asyncio.CancelledError):
        await flight.outcome()


async def test_readers_go_on_though_the_end_of_the_work_cannot_be_noted() -> None:
    loop, failures = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))
    flights: Flights[str] = Flights(StreamMemory(LimitSettings()))
    gate = asyncio.Event()

    async def work(_: Flight[str]) -> str:
        await gate.wait()
        return "answer"

    def ended(_: BaseException | None) -> None:
        raise ValueError("broken")

    flight = flights.start(None, work, streams=True, tenant="acme", ended=ended)
    reader = asyncio.create_task(gather_chunks(flight))
    await asyncio.sleep(0)
    gate.set()
    assert await asyncio.wait_for(reader, 10) == []
    assert [str(failure) for failure in failures] == ["broken"]
