"""Long work: one piece at a time, tenants in rotation, and the event loop goes on meanwhile."""

import asyncio
import threading

import pytest

from semcache.long_work import LongWork, Turns


@pytest.fixture
def work():
    long_work = LongWork()
    yield long_work
    long_work.close()


async def test_tenants_take_turns_whatever_the_order_of_their_arrival():
    turns, order = Turns(), []

    async def take(tenant: str) -> None:
        async with turns.turn(tenant):
            order.append(tenant)

    async with turns.turn("first"):
        waiting = [asyncio.create_task(take(tenant)) for tenant in "aaaab"]
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert order == list("abaaa")


async def test_a_turn_of_a_caller_that_left_goes_to_the_next():
    turns, order = Turns(), []

    async def take(name: str) -> None:
        async with turns.turn(name):
            order.append(name)

    async with turns.turn("first"):
        leaver, stayer = asyncio.create_task(take("leaver")), asyncio.create_task(take("stayer"))
        await asyncio.sleep(0)
        leaver.cancel()
    await stayer
    async with turns.turn("again"):
        order.append("again")
    assert order == ["stayer", "again"]


async def test_a_caller_that_leaves_as_it_gets_its_turn_passes_it_on():
    turns, order = Turns(), []

    async def take(name: str) -> None:
        async with turns.turn(name):
            order.append(name)

    async with turns.turn("first"):
        leaver, stayer = asyncio.create_task(take("leaver")), asyncio.create_task(take("stayer"))
        await asyncio.sleep(0)
    leaver.cancel()  # Its turn has been given, and it hasn't run since.
    await stayer
    assert order == ["stayer"]


async def test_the_event_loop_goes_on_while_the_thread_works(work):
    go_on = threading.Event()
    running = asyncio.create_task(work.run("acme", lambda: go_on.wait(10)))
    await asyncio.sleep(0)
    go_on.set()  # Only a loop that goes on can set it.
    assert await running is True


async def test_an_exception_reaches_the_caller_and_the_next_piece_is_done(work):
    def fail() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await work.run("acme", fail)
    assert await work.run("acme", lambda: 1) == 1


async def test_one_slice_runs_in_a_step_of_the_loop(work):
    slices, steps = [], 0

    async def scan(tenant: str) -> None:
        for _ in range(3):
            await work.pause(tenant)
            slices.append((steps, tenant))

    scans = [asyncio.create_task(scan(tenant)) for tenant in ("a", "b", "c")]
    while not all(scan.done() for scan in scans):
        await asyncio.sleep(0)
        steps += 1
    assert len({step for step, _ in slices}) == len(slices) == 9
