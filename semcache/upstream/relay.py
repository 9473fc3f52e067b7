"""Passes a target's reply to a streamed call on, chunk by chunk, and assembles the whole answer from the chunks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass

from semcache.errors import UpstreamError
from semcache.upstream.forms import AnswerForm
from semcache.upstream.retries import INCOMPLETE
from semcache.upstream.sse import Event, EventParser
from semcache.upstream.target import HttpTarget, StreamedReply
from semcache.upstream.wire import refuse

_DONE = b"[DONE]"
_AFTER_DONE_S = 0.05
"""How long the end of a stream may follow its last event. A connection whose stream ended can be used again."""


@dataclass(frozen=True, slots=True)
class WholeBody:
    """The JSON of the whole answer that a stream's chunks make, and why it isn't stored; empty when it may be."""

    body: bytes
    flaw: str = ""


async def relay(reply: StreamedReply, target: HttpTarget, form: AnswerForm) -> AsyncGenerator[bytes | WholeBody, None]:
    """Yield a reply's chunks, and last the whole answer that they make.

    Args:
        reply: the reply.
        target: who sends it.
        form: how its protocol is read.

    Raises:
        UpstreamError: what came is no answer, or only a part of one.
    """
    if not reply.is_event_stream:  # The target doesn't stream: the answer comes in one piece.
        body = await reply.read()
        form.read(body)
        for chunk in form.replay(body, include_usage=True):
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
            assembler.add(event.data)
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
    yield WholeBody(assembler.whole(), assembler.flaw)


async def _end(rest: AsyncGenerator[object, None]) -> None:
    """Wait a moment for the clean end of a stream that has said that it is over."""
    with suppress(UpstreamError, TimeoutError):
        async with asyncio.timeout(_AFTER_DONE_S):
            await anext(rest, None)


async def _events(reply: StreamedReply, target: HttpTarget) -> AsyncGenerator[Event, None]:
    """Yield the events of a stream to its [DONE], which is the last, or to its clean end.

    Empty events, a sign of life, are left out.
    """
    parser = EventParser()
    async with aclosing(reply.pieces()) as pieces:
        async for piece in pieces:
            for event in parser.feed(piece):
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
