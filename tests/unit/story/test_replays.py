"""Streams hold each answer once, within bounds; one without room is refused before the upstream is asked."""

import asyncio
import json
from collections.abc import Callable
from typing import TypeVar

import pytest

from semcache.errors import OverLimitError
from semcache.model import Finished, Started
from semcache.testing.upstream import Scripted, ScriptedUpstream
from tests.support.caches import Rig, check_books, deposit, request, rig

LONG = "word " * 2_000
ROOM = {"answer_bytes": 16_384, "tenant_stream_bytes": 65_536, "stream_bytes": 100_000}


async def frames_of(served: Rig, text: str, **fields: object) -> list[object]:
    return [frame async for frame in served.cache.stream(request(text, **fields))]


def text_of(frames: list[object]) -> str:
    chunks = [json.loads(frame) for frame in frames if isinstance(frame, bytes)]
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


def held_bytes(served: Rig) -> int:
    return served.cache._steps.stream_memory.size_bytes


async def test_a_thousand_replayed_streams_hold_one_answer() -> None:
    served = rig()
    await served.cache.store(deposit(served, request("How long is it?"), LONG))
    streams = [served.cache.stream(request("How long is it?")) for _ in range(1_000)]
    bodies = set()
    for stream in streams:
        started = await anext(stream)
        assert isinstance(started, Started)
        bodies.add(id(started.response.answer.body))
        assert isinstance(await anext(stream), bytes)
    assert len(bodies) == 1
    assert len(served.cache._steps.replays) == 1
    assert held_bytes(served) < 3 * len(LONG)
    whole = [[frame async for frame in stream] for stream in streams]
    assert all(text_of(frames) == LONG for frames in whole)
    assert (held_bytes(served), len(served.cache._steps.replays)) == (0, 0)


async def test_semantic_hits_of_one_entry_share_it_and_other_entries_have_their_own() -> None:
    served = rig()
    await served.cache.store(deposit(served, request("How do I reset my password?"), "One way."))
    await served.cache.store(deposit(served, request("Where is the tax form for 2024?"), "Over there."))
    texts = [
        "How do I reset my password please?",
        "How do I reset my password, please?",
        "Where is the tax form for 2024?",
    ]
    streams = [served.cache.stream(request(text)) for text in texts]
    starts = [await anext(stream) for stream in streams]
    assert len({id(started.response.answer) for started in starts}) == 2
    assert len(served.cache._steps.replays) == 2
    answers = [text_of([frame async for frame in stream]) for stream in streams]
    assert answers == ["One way.", "One way.", "Over there."]


async def test_a_stream_without_room_is_refused_before_the_upstream_is_asked() -> None:
    gate = asyncio.Event()
    pieces = ("x" * 900,) * 50
    upstream = ScriptedUpstream(lambda call: Scripted("".join(pieces), pieces=pieces, piece_gates=[None] * 49 + [gate]))
    served = rig(upstream, limits=ROOM)
    stream = served.cache.stream(request("Tell me all about the number 7"))
    assert isinstance(await anext(stream), Started)
    for _ in range(48):
        await anext(stream)
    assert held_bytes(served) > 49_152
    with pytest.raises(OverLimitError) as refused:
        await frames_of(served, "Another question altogether")
    assert refused.value.reason == "STREAM_MEMORY"
    assert len(upstream.calls) == 1
    joined = asyncio.create_task(frames_of(served, "Tell me all about the number 7"))
    answered = await served.cache.complete(request("A question that isn't streamed"))
    assert answered.answer is not None
    gate.set()
    assert text_of(await joined) == "".join(pieces), "who joins needs no further room"
    async for _ in stream:
        pass
    assert held_bytes(served) == 0


async def test_an_answer_that_cant_be_replayed_for_want_of_room_is_no_hit() -> None:
    served = rig(limits={**ROOM, "answer_bytes": 1_000, "tenant_stream_bytes": 2_000})
    await served.cache.store(deposit(served, request("How long is it?"), LONG))
    with pytest.raises(OverLimitError) as refused:
        await frames_of(served, "How long is it?")
    assert refused.value.reason == "STREAM_MEMORY"
    assert served.metrics.saved_nanousd() == 0
    check_books(served, requests=1)


async def test_a_stream_that_grows_beyond_its_bound_ends_and_its_answer_is_stored() -> None:
    gate = asyncio.Event()
    pieces = ("x" * 900,) * 60
    upstream = ScriptedUpstream(lambda call: Scripted("".join(pieces), pieces=pieces, piece_gates=[None, gate]))
    served = rig(upstream, limits={**ROOM, "tenant_stream_bytes": 32_768})
    reader = asyncio.create_task(frames_of(served, "How long is it?"))
    await upstream.called()
    await asyncio.sleep(0)
    gate.set()
    with pytest.raises(OverLimitError):
        await reader
    await served.cache.drain(10)
    assert held_bytes(served) == 0
    again = await served.cache.complete(request("How long is it?"))
    assert again.answer is not None
    assert again.answer.text == "".join(pieces)
    assert len(upstream.calls) == 1
    check_books(served, requests=2)


async def test_an_unread_stream_lets_go_when_it_is_closed() -> None:
    served = rig()
    stream = served.cache.stream(request("How long is it?"))
    await anext(stream)
    await anext(stream)
    await stream.aclose()
    await served.cache.drain(10)
    assert held_bytes(served) == 0
    frames = await frames_of(served, "How long is it?")
    assert isinstance(frames[-1], Finished)


Result = TypeVar("Result")
VERY_LONG = "word " * 60_000
"""An answer that is read on another thread."""
ROOM_FOR_ONE = {"answer_bytes": 400_000, "tenant_stream_bytes": 800_000, "stream_bytes": 1_000_000}


class HeldUp:
    """Holds long work up until `gate` is set; then does it, or fails."""

    def __init__(self, served: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.gate, self.fails, self.runs = asyncio.Event(), asyncio.Event(), False, 0
        monkeypatch.setattr(served.cache._steps.replays._long_work, "run", self.run)

    async def run(self, tenant: str, work: Callable[[], Result]) -> Result:
        assert tenant
        self.runs += 1
        self.begun.set()
        await self.gate.wait()
        if self.fails:
            raise ValueError("broken")
        return work()


async def very_long_rig(monkeypatch: pytest.MonkeyPatch) -> tuple[Rig, HeldUp]:
    served = rig(limits=ROOM_FOR_ONE)
    await served.cache.store(deposit(served, request("How long is it?"), VERY_LONG))
    await served.cache.store(deposit(served, request("Where is the tax form for 2024?"), VERY_LONG))
    return served, HeldUp(served, monkeypatch)


async def test_the_room_of_a_long_answer_is_taken_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    served, held_up = await very_long_rig(monkeypatch)
    first = asyncio.create_task(frames_of(served, "How long is it?"))
    await held_up.begun.wait()
    assert held_bytes(served) > 2 * len(VERY_LONG)
    with pytest.raises(OverLimitError) as refused:
        await frames_of(served, "Where is the tax form for 2024?")
    assert refused.value.reason == "STREAM_MEMORY"
    same = asyncio.create_task(frames_of(served, "How long is it?"))
    held_up.gate.set()
    assert text_of(await first) == text_of(await same) == VERY_LONG
    assert held_up.runs == 1, "who replays the same answer waits for it and needs no further room"
    assert (held_bytes(served), len(served.cache._steps.replays)) == (0, 0)


async def test_a_stream_that_is_cancelled_while_its_answer_is_read_leaves_it_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served, held_up = await very_long_rig(monkeypatch)
    first = asyncio.create_task(frames_of(served, "How long is it?"))
    await held_up.begun.wait()
    same = asyncio.create_task(frames_of(served, "How long is it?"))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    held_up.gate.set()
    assert text_of(await same) == VERY_LONG
    assert (held_bytes(served), len(served.cache._steps.replays)) == (0, 0)


@pytest.mark.parametrize("ends", ["error", "cancellation"])
async def test_the_room_of_an_answer_that_isnt_read_is_given_back(ends: str, monkeypatch: pytest.MonkeyPatch) -> None:
    served, held_up = await very_long_rig(monkeypatch)
    reader = asyncio.create_task(frames_of(served, "How long is it?"))
    await held_up.begun.wait()
    if ends == "error":
        held_up.fails = True
        held_up.gate.set()
        with pytest.raises(ValueError, match="broken"):
            await reader
    else:
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
    assert (held_bytes(served), len(served.cache._steps.replays)) == (0, 0)
