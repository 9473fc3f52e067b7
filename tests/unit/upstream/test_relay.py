"""What an upstream sends at once is passed on in steps, with everything else in between; long work leaves the loop."""

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Callable

import pytest

from semcache.errors import UpstreamError
from semcache.long_work import LONG_BYTES, LongWork
from semcache.model import ApiProtocol
from semcache.protocols import FORMS
from semcache.protocols.assembly import Assembler
from semcache.protocols.sse import EventParser
from semcache.protocols.wire import read_json
from semcache.upstream import relay as relaying
from semcache.upstream.relay import STEP_BYTES, STEP_EVENTS, WholeBody, relay
from tests.unit.protocols.chunks import chunk

ANSWER_BYTES = 16 * 1024 * 1024


class Target:
    answer_bytes = ANSWER_BYTES

    def too_large(self) -> UpstreamError:
        return UpstreamError("too large")


class Reply:
    """A reply whose pieces are all there when they are asked for, as those of a decompressed body are."""

    is_event_stream = True

    def __init__(self, *pieces: bytes, streams: bool = True) -> None:
        self._pieces = pieces
        self.is_event_stream = streams

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        for piece in self._pieces:
            yield piece

    async def read(self) -> bytes:
        return b"".join(self._pieces)


def event(**delta: object) -> bytes:
    return b"data: %b\n\n" % json.dumps(chunk(**delta)).encode()


END = b"data: %b\n\ndata: [DONE]\n\n" % json.dumps(chunk(finish_reason="stop")).encode()


async def steps_of(reply: Reply) -> tuple[list[int], list[bytes | WholeBody]]:
    """Relay a reply beside a task that runs whenever it can; return how many pieces came between its turns, and all."""
    pieces: list[bytes | WholeBody] = []
    in_steps: list[int] = []

    async def beside() -> None:
        seen = 0
        while True:
            in_steps.append(len(pieces) - seen)
            seen = len(pieces)
            await asyncio.sleep(0)

    other = asyncio.create_task(beside())
    long_work = LongWork()
    async for piece in relay(reply, Target(), FORMS[ApiProtocol.CHAT], long_work, "acme"):
        pieces.append(piece)  # noqa: PERF401 - `beside` counts them as they come
    other.cancel()
    long_work.close()
    return in_steps, pieces


@pytest.mark.parametrize("count", [1, 2, 40])
async def test_a_piece_of_thousands_of_chunks_is_passed_on_in_steps(count):
    one = event(content="x")
    body = one * 6_000 + END
    size = len(body) // count + 1
    reply = Reply(*(body[start : start + size] for start in range(0, len(body), size)))
    in_steps, pieces = await steps_of(reply)
    assert len(pieces) == 6_000 + 2
    assert json.loads(pieces[-1].body)["choices"][0]["message"]["content"] == "x" * 6_000
    assert max(in_steps) <= min(STEP_EVENTS, 2 * STEP_BYTES // len(one))


async def test_lines_without_an_event_are_split_in_steps():
    in_steps, pieces = await steps_of(Reply(b"\n" * (64 * STEP_BYTES) + event(content="x") + END))
    assert len(pieces) == 3
    assert len(in_steps) >= 64


async def test_a_long_line_is_looked_at_once(monkeypatch):
    searched = 0

    class Counting:
        pattern = relaying.EventParser.__init__.__globals__["_LINE_END"]

        def split(self, data: bytes) -> list[bytes]:
            nonlocal searched
            searched += len(data)
            return self.pattern.split(data)

    monkeypatch.setattr("semcache.protocols.sse._LINE_END", Counting())
    parser = EventParser()
    line = event(content="x" * 1_000_000)
    events = [found for start in range(0, len(line), 1_000) for found in parser.feed(line[start : start + 1_000])]
    assert [len(found.data) for found in events] == [len(line) - len(b"data: \n\n")]
    assert searched <= 2_000


@pytest.mark.parametrize(("size", "on_loop"), [(100, True), (LONG_BYTES, False)], ids=["short", "long"])
async def test_a_long_chunk_is_read_and_written_on_another_thread(monkeypatch, size, on_loop):
    threads: dict[str, bool] = {}

    def noting(name: str, work: Callable[..., object]) -> Callable[..., object]:
        def note(*given: object) -> object:
            threads[name] = threading.current_thread() is threading.main_thread()
            return work(*given)

        return note

    monkeypatch.setattr(Assembler, "add", noting("read", Assembler.add))
    monkeypatch.setattr(Assembler, "whole", noting("write", Assembler.whole))
    finish = json.dumps(chunk(finish_reason="stop", content="y" * size)).encode()
    _, pieces = await steps_of(Reply(b"data: %b\n\n" % finish))
    assert len(pieces) == 2
    assert threads == {"read": on_loop, "write": on_loop}


@pytest.mark.parametrize("size", [100, LONG_BYTES])
async def test_an_answer_in_one_piece_comes_as_chunks(size):
    message = {"role": "assistant", "content": "z" * size}
    body = json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()
    _, pieces = await steps_of(Reply(body, streams=False))
    assert pieces[-1] == WholeBody(body)
    texts = [json.loads(piece)["choices"][0]["delta"].get("content") or "" for piece in pieces[:-1]]
    assert "".join(texts) == "z" * size


@pytest.mark.parametrize("body", [b'{"choices":[%b]}' % b",".join([b"[]"] * 1_400_000), b"[" * 4_000_002])
def test_json_with_too_many_values_is_refused_unread(monkeypatch, body):
    monkeypatch.setattr("semcache.protocols.wire.json.loads", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(UpstreamError, match="more than 2,000,000 JSON values"):
        read_json(body, "a chunk")


def test_text_with_many_commas_is_no_reason_to_refuse():
    assert read_json(json.dumps({"content": "a,[{" * 400_000}).encode(), "a chunk")["content"].startswith("a,[{")
