"""The places at a target: shared by tenants, waited for with a limit, and never lost."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from semcache.errors import OverloadedError
from semcache.testing.clock import FakeClock
from semcache.upstream.places import Places


class Rig:
    def __init__(self, limit, **rest) -> None:
        self.clock = FakeClock()
        rest.setdefault("max_wait_s", 30.0)
        self.places = Places("t", limit, monotonic=self.clock.monotonic, **rest)
        self.order = []
        self.tasks = []
        self.ends = {}

    def ask(self, tenant, patience_s=100.0):
        """Start a call that holds its place until `end`."""
        name = f"{tenant}{sum(n.startswith(tenant) for n in self.ends)}"
        self.ends[name] = asyncio.Event()

        async def call():
            async with self.places.held(tenant, patience_s):
                self.order.append(name)
                await self.ends[name].wait()

        self.tasks.append(asyncio.create_task(call(), name=name))
        return self.tasks[-1]

    async def end(self, name):
        self.ends[name].set()
        await self.turns()

    async def turns(self):
        for _ in range(6):
            await asyncio.sleep(0)

    async def close(self):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        assert repr(self.places).startswith(f"<Places t: {self.places._limit} of")
        assert self.places.waiting == 0


async def test_a_lone_tenant_leaves_a_quarter_to_others_and_they_need_not_wait():
    rig = Rig(16)
    for _ in range(16):
        rig.ask("a")
    await rig.turns()
    assert len(rig.order) == 12
    rig.ask("b")
    await rig.turns()
    assert rig.order[-1] == "b0"
    await rig.close()


async def test_without_sharing_one_tenant_takes_all():
    rig = Rig(16, fair=False)
    for _ in range(17):
        rig.ask("a")
    await rig.turns()
    assert (len(rig.order), rig.places.waiting) == (16, 1)
    await rig.close()


async def test_places_that_come_free_go_to_the_tenant_that_holds_fewest():
    rig = Rig(8)
    for _ in range(20):
        rig.ask("a")
    await rig.turns()
    for _ in range(5):
        rig.ask("b")
        rig.ask("c")
    await rig.turns()
    for number in range(6):
        await rig.end(f"a{number}")
    held = rig.places._held
    # All three wait, so that none holds more than one place beyond another.
    assert max(held.values()) - min(held.values()) <= 1
    assert set(held) == {"a", "b", "c"}
    await rig.close()


async def test_the_calls_of_a_tenant_keep_their_order():
    rig = Rig(1)
    for _ in range(3):
        rig.ask("a")
    await rig.turns()
    for number in range(2):
        await rig.end(f"a{number}")
    assert rig.order == ["a0", "a1", "a2"]
    await rig.close()


async def test_who_would_wait_too_long_is_refused_at_once():
    rig = Rig(4, max_wait_s=5.0, fair=False)
    for _ in range(4):
        rig.ask("a")
    await rig.turns()
    rig.clock.advance(4.0)
    await rig.end("a0")  # Calls hold a place for 4 s on average: one comes free each second.
    refused = [rig.ask("a") for _ in range(10)]
    await rig.turns()
    errors = [task.exception() for task in refused if task.done()]
    assert len(errors) == 4
    assert all(isinstance(error, OverloadedError) for error in errors)
    assert errors[0].retry_after_s > 5.0
    await rig.close()


async def test_who_waited_too_long_is_refused_and_takes_nothing():
    rig = Rig(1, max_wait_s=0.01)
    rig.ask("a")
    await rig.turns()
    with pytest.raises(OverloadedError):
        async with asyncio.timeout(5):
            await rig.ask("b")
    assert rig.places.waiting == 0
    await rig.end("a0")
    rig.ask("c")
    await rig.turns()
    assert rig.order == ["a0", "c0"]
    await rig.close()


async def test_a_call_without_time_is_refused():
    rig = Rig(1)
    rig.ask("a")
    await rig.turns()
    with pytest.raises(OverloadedError):
        async with asyncio.timeout(5):
            await rig.ask("a", patience_s=0.0)
    await rig.close()


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
async def test_a_place_is_not_lost_when_its_taker_is_cancelled(turns):
    rig = Rig(1)
    rig.ask("a")
    leaving = rig.ask("b")
    rig.ask("c")
    await rig.turns()
    rig.ends["a0"].set()
    for _ in range(turns):
        await asyncio.sleep(0)
    leaving.cancel()
    await rig.turns()
    assert "c0" in rig.order
    await rig.close()


async def test_a_call_that_fails_gives_its_place_back():
    places = Places("t", 1, max_wait_s=1.0, monotonic=FakeClock().monotonic)
    for _ in range(3):
        with pytest.raises(ValueError, match="broken"):
            async with places.held("a", 1.0):
                raise ValueError("broken")
    async with AsyncExitStack() as stack:
        assert await stack.enter_async_context(places.held("a", 1.0)) is False
