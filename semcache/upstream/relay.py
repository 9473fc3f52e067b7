"""Passes a target's reply to a streamed call on, chunk by chunk, and assembles the whole answer from the chunks.

What comes at once may be large: a line of some MiB, or a compressed piece that is thousands of chunks. So everything
else on the event loop runs after each `STEP_BYTES` and each `STEP_EVENTS`, and a long chunk is read on another thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial

from semcache.errors import UpstreamError
from semcache.long_work import LongWork
from semcache.protocols import AnswerForm
from semcache.protocols.sse import Event, EventParser
from semcache.protocols.wire import refuse
from semcache.upstream.retries import INCOMPLETE
from semcache.upstream.target import HttpTarget, StreamedReply

STEP_BYTES = 16 * 1024
"""Bytes of a stream that are split into events in one step of the event loop: of the shortest lines, some
milliseconds."""
STEP_EVENTS = 64
"""Events that are passed on in one step of the event loop: about two milliseconds."""
_DONE = b"[DONE]"
_AFTER_DONE_S = 0.05
"""How long the end of a stream may follow its last event. A connection whose stream ended can be used again."""


@dataclass(frozen=True, slots=True)
class WholeBody:
    """The JSON of the whole answer that a stream's chunks make, and why it isn't stored; empty when it may be."""

    body: bytes
    flaw: str = ""


async def relay(
    reply: StreamedReply, target: HttpTarget, form: AnswerForm, long_work: LongWork, tenant: str
) -> AsyncGenerator[bytes | WholeBody, None]:
    """Yield a reply's chunks, and last the whole answer that they make.

    Args:
        reply: the reply, whose body is still coming.
        target: who replies.
        form: how its protocol is read.
        long_work: reads what is long.
        tenant: whose turn at it that takes.

    Raises:
        UpstreamError: what came is no answer, or only a part of one.
    """
    if not reply.is_event_stream:  # The target doesn't stream: the answer comes in one piece.
        body = await reply.read()
        for chunk in await long_work.run_if_long(tenant, len(body), partial(_replayed, body, form)):
            yield chunk
        yield WholeBody(body)
        return
    assembler = form.assembler()
    size_bytes = 0
    async with aclosing(_events(reply, target)) as events:
        async for event in events:
            size_bytes += len(event.data)
            if size_bytes > target.answer_bytes:
                raise target.too_large()
            if event.data == _DONE:
                assembler.finish()
                break
            await long_work.run_if_long(tenant, len(event.data), partial(assembler.add, event.data))
            if event.name == b"error":  # Its data don't say so, or the assembler would have raised.
                refuse("an error event", event.data)
            yield event.data
            if assembler.is_over:
                await _end(events)
                break
    if not assembler.is_complete:
        raise UpstreamError(
            f"The upstream {target.settings.name!r} ended its stream before the answer was whole.",
            http_status=200,
            reason=INCOMPLETE,
        )
    body = await long_work.run_if_long(tenant, size_bytes, assembler.whole)
    yield WholeBody(body, assembler.flaw)


def _replayed(body: bytes, form: AnswerForm) -> Iterator[bytes]:
    """Return the chunks of a whole answer, once it is known to be one."""
    form.read(body)
    return form.replay(body).chunks(include_usage=True)


async def _end(rest: AsyncGenerator[object, None]) -> None:
    """Wait a moment for the clean end of a stream that has said that it is over."""
    with suppress(UpstreamError, TimeoutError):
        async with asyncio.timeout(_AFTER_DONE_S):
            await anext(rest, None)


async def _events(reply: StreamedReply, target: HttpTarget) -> AsyncGenerator[Event, None]:
    """Yield the events of a stream to its [DONE], which is the last, or to its clean end.

    Empty events, a sign of life, are left out. A piece is taken in slices, with everything else in between: the next
    one may be there already, and waiting for it would let nothing else run.
    """
    parser = EventParser()
    async with aclosing(reply.pieces()) as pieces, aclosing(_slices(pieces)) as slices:
        async for piece in slices:
            for number, event in enumerate(parser.feed(piece), 1):
                if number % STEP_EVENTS == 0:
                    await asyncio.sleep(0)
                data = event.data.strip()
                if data == _DONE:
                    await _end(pieces)
                    yield Event(b"", _DONE)
                    return
                if data:
                    yield event
            if parser.pending_bytes > target.answer_bytes:
                raise target.too_large()
    for event in parser.finish():
        data = event.data.strip()
        if data:
            yield Event(b"", _DONE) if data == _DONE else event


async def _slices(pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Yield pieces in slices of `STEP_BYTES` at most; everything else runs after each so many bytes."""
    handled_bytes = 0
    async for piece in pieces:
        for start in range(0, len(piece), STEP_BYTES):
            part = piece[start : start + STEP_BYTES]
            if handled_bytes + len(part) > STEP_BYTES:
                handled_bytes = 0
                await asyncio.sleep(0)
            handled_bytes += len(part)
            yield part
