"""What open streams hold is weighed and bounded: what has no room is refused, and what grows beyond is let go."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semcache.coordination import Flight, Flights, StreamMemory
from semcache.errors import OverLimitError
from semcache.settings import LimitSettings

CHUNK = b"x" * 936
"""A chunk that counts as 1,000 bytes."""


class Holder:
    def __init__(self, *, can_drop: bool = True) -> None:
        self.can_drop = can_drop
        self.dropped = False

    def drop(self) -> int:
        self.dropped = True
        return 0


def memory(total: int = 100, tenant: int = 60) -> StreamMemory:
    return StreamMemory(LimitSettings(answer_bytes=10, stream_bytes=total, tenant_stream_bytes=tenant))


def test_a_stream_needs_room_of_its_tenant_and_of_all() -> None:
    held = memory()
    held.keep("a", Holder(), 50)
    held.require_room("a", 10)
    held.require_room("b", 50)
    with pytest.raises(OverLimitError, match="tenant_stream_bytes") as refused:
        held.require_room("a", 11)
    assert refused.value.reason == "STREAM_MEMORY"
    with pytest.raises(OverLimitError, match=r"limits\.stream_bytes"):
        held.require_room("b", 51)


def test_of_a_tenant_beyond_its_bound_the_largest_holder_is_dropped() -> None:
    held, large, small, others = memory(), Holder(), Holder(), Holder()
    held.keep("b", others, 40)
    held.keep("a", large, 35)
    held.keep("a", small, 25)
    assert not large.dropped
    held.keep("a", small, 26)
    assert (large.dropped, small.dropped, others.dropped) == (True, False, False)
    assert held.size_bytes == 66


def test_beyond_the_bound_of_all_the_largest_tenant_loses() -> None:
    held, of_large, of_small = memory(), Holder(), Holder()
    held.keep("large", of_large, 60)
    held.keep("small", of_small, 41)
    assert (of_large.dropped, of_small.dropped) == (True, False)
    assert held.size_bytes == 41


def test_what_is_replayed_is_never_dropped() -> None:
    held, replayed, growing = memory(), Holder(can_drop=False), Holder()
    held.keep("a", replayed, 60)
    held.keep("a", growing, 1)
    assert (replayed.dropped, growing.dropped) == (False, True)
    assert held.size_bytes == 60


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 5), st.integers(0, 60), st.booleans()), max_size=60))
def test_the_bounds_hold_and_the_sums_agree(steps: list[tuple[str, int, int, bool]]) -> None:
    held = memory()
    holders = {(tenant, number): Holder() for tenant in "abcd" for number in range(6)}
    sizes: dict[tuple[str, int], int] = {}
    for tenant, number, size, keeps in steps:
        holder = holders[tenant, number]
        if keeps:
            holder.dropped = False
            sizes[tenant, number] = size
            held.keep(tenant, holder, size)
        else:
            sizes.pop((tenant, number), None)
            held.release(tenant, holder)
        sizes = {key: size for key, size in sizes.items() if not holders[key].dropped}
        assert held.size_bytes == sum(sizes.values()) <= 100
        for each in "abcd":
            assert sum(size for (owner, _), size in sizes.items() if owner == each) <= 60
    for (tenant, number), holder in holders.items():
        held.release(tenant, holder)
        del number
    assert repr(held) == "<StreamMemory 0 bytes, 0 holders, 0 tenants>"


def test_a_holder_is_dropped_from_only_until_the_rest_is_within_the_bound() -> None:
    class Tail(Holder):
        def __init__(self) -> None:
            super().__init__()
            self.sizes = [45, 30, 0]

        def drop(self) -> int:
            super().drop()
            return self.sizes.pop(0)

    held, tail, growing = memory(), Tail(), Holder()
    held.keep("a", tail, 50)
    held.keep("a", growing, 20)
    assert (tail.dropped, growing.dropped) == (True, False)
    assert tail.sizes == [0]
    assert held.size_bytes == 50
    held.require_room("a", 10)
    held.release("a", tail)
    held.release("a", growing)
    assert repr(held) == "<StreamMemory 0 bytes, 0 holders, 0 tenants>"


async def read(flight: Flight[str]) -> list[bytes]:
    return [chunk async for chunk in flight.chunks()]


def flights(bound: int) -> tuple[Flights[str], StreamMemory]:
    held = memory(bound, bound)
    return Flights(held), held


async def test_chunks_count_once_for_all_readers_and_until_the_last_has_them() -> None:
    made, held = flights(10_000)
    end = asyncio.Event()

    async def work(flight: Flight[str]) -> str:
        for _ in range(5):
            flight.feed(CHUNK)
        await end.wait()
        return "whole"

    flight = made.start("key", work, streams=True, tenant="a")
    quick = [asyncio.create_task(read(flight)) for _ in range(100)]
    slow = flight.chunks()
    assert await anext(slow) == CHUNK
    assert held.size_bytes == 5_000
    end.set()
    assert await asyncio.gather(*quick) == [[CHUNK] * 5] * 100
    assert held.size_bytes == 5_000, "the slow reader still needs them"
    await slow.aclose()
    assert held.size_bytes == 0
    late = flight.chunks()
    await anext(late)
    assert held.size_bytes == 5_000
    await late.aclose()
    assert held.size_bytes == 0


async def test_chunks_that_nobody_reads_count_until_the_work_ends() -> None:
    made, held = flights(10_000)
    gate = asyncio.Event()

    async def work(flight: Flight[str]) -> str:
        flight.feed(CHUNK)
        await gate.wait()
        raise ValueError("broken")

    made.start("key", work, streams=True, tenant="a")
    await asyncio.sleep(0)
    assert held.size_bytes == 1_000
    gate.set()
    await made.drain(1.0)
    assert held.size_bytes == 0


async def test_a_flight_beyond_the_bound_loses_its_readers_and_goes_on() -> None:
    made, held = flights(3_000)
    more, end = asyncio.Event(), asyncio.Event()

    async def work(flight: Flight[str]) -> str:
        flight.start_asking("")
        flight.feed(CHUNK)
        await more.wait()
        for _ in range(5):
            flight.feed(CHUNK)
        await end.wait()
        return "whole"

    flight = made.start("key", work, streams=True, tenant="a")
    reader = asyncio.create_task(read(flight))
    assert await flight.asked()
    assert flight.has_chunks
    more.set()
    with pytest.raises(OverLimitError, match="tenant_stream_bytes"):
        await reader
    assert not flight.has_chunks
    assert held.size_bytes == 0
    end.set()
    assert await flight.outcome() == "whole"


async def test_a_reader_that_has_all_chunks_ends_well_though_they_are_let_go() -> None:
    made, _ = flights(3_000)
    end = asyncio.Event()

    async def work(flight: Flight[str]) -> str:
        flight.feed(CHUNK)
        await end.wait()
        return "whole"

    flight = made.start("key", work, streams=True, tenant="a")
    chunks = flight.chunks()
    assert await anext(chunks) == CHUNK
    flight.drop()
    end.set()
    assert [chunk async for chunk in chunks] == []


async def test_a_reader_that_keeps_up_gets_a_stream_far_beyond_the_bound() -> None:
    made, held = flights(3_000)
    gates = [asyncio.Event() for _ in range(20)]

    async def work(flight: Flight[str]) -> str:
        for gate in gates:
            await gate.wait()
            flight.feed(CHUNK)
            flight.feed(CHUNK)
        return "whole"

    flight = made.start("key", work, streams=True, tenant="a")
    readers = [flight.chunks() for _ in range(3)]
    for gate in gates:
        gate.set()
        for _ in range(2):
            assert [await anext(chunks) for chunks in readers] == [CHUNK] * 3
        assert held.size_bytes <= 3_000
    assert not flight.has_chunks
    assert held.size_bytes == 0, "all readers have all chunks"
    assert [[chunk async for chunk in chunks] for chunks in readers] == [[], [], []]
    with pytest.raises(OverLimitError, match="tenant_stream_bytes"):
        await read(flight)
    assert repr(held) == "<StreamMemory 0 bytes, 0 holders, 0 tenants>"


async def test_only_the_readers_that_lag_too_far_behind_lose_a_stream() -> None:
    made, held = flights(3_000)
    gates = [asyncio.Event() for _ in range(6)]

    async def work(flight: Flight[str]) -> str:
        for gate in gates:
            await gate.wait()
            flight.feed(CHUNK)
        return "whole"

    flight = made.start("key", work, streams=True, tenant="a")
    quick, slow, slower = (flight.chunks() for _ in range(3))
    gates[0].set()
    assert [await anext(chunks) for chunks in (quick, slow, slower)] == [CHUNK] * 3
    gates[1].set()
    assert [await anext(chunks) for chunks in (quick, slow)] == [CHUNK] * 2
    for gate in gates[2:4]:
        gate.set()
        assert await anext(quick) == CHUNK
    assert held.size_bytes == 3_000, "the slower reader lacks three chunks"
    gates[4].set()
    assert await anext(quick) == CHUNK
    assert held.size_bytes == 3_000, "the slow reader lacks three chunks"
    with pytest.raises(OverLimitError, match="tenant_stream_bytes"):
        await anext(slower)
    assert [await anext(slow) for _ in range(3)] == [CHUNK] * 3
    assert held.size_bytes == 0
    gates[5].set()
    assert [[chunk async for chunk in chunks] for chunks in (quick, slow)] == [[CHUNK], [CHUNK]]
    assert await flight.outcome() == "whole"
    assert repr(held) == "<StreamMemory 0 bytes, 0 holders, 0 tenants>"


async def test_a_reader_that_leaves_frees_what_only_it_lacked() -> None:
    made, held = flights(3_000)
    end = asyncio.Event()

    async def work(flight: Flight[str]) -> str:
        for _ in range(3):
            flight.feed(CHUNK)
        await end.wait()
        return "whole"

    flight = made.start("key", work, streams=True, tenant="a")
    quick, slow = flight.chunks(), flight.chunks()
    assert [await anext(quick) for _ in range(3)] == [CHUNK] * 3
    assert await anext(slow) == CHUNK
    assert flight.drop() == 2_000
    await slow.aclose()
    assert held.size_bytes == 0
    end.set()
    assert [chunk async for chunk in quick] == []
