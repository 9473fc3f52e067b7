"""Answers that are being replayed: each is read and held once, however many streams replay it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from functools import partial

from semcache.coordination import StreamMemory
from semcache.long_work import LongWork
from semcache.model import Answer, Request, Response
from semcache.protocols import FORMS, Replay

_Key = tuple[str, int, int]
"""Tenant, entry id, and for an answer that isn't stored the identity of its body."""


class OpenReplay:
    """One answer that some streams replay.

    Attributes:
        answer: the answer, the same object for all of them.
        size_bytes: bytes that it takes in memory, about; an estimate until the answer has been read.
        readers: how many streams replay it or wait for it to be read.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.size_bytes = _estimated_bytes(answer)
        self.readers = 0
        self._replay: Replay | None = None
        self._reading = asyncio.Lock()

    def chunks(self, *, include_usage: bool) -> Iterator[bytes]:
        """Yield the answer's chunks, each made when it is asked for (`Replay.chunks`)."""
        assert self._replay is not None, "an answer is read before its chunks are asked for"
        return self._replay.chunks(include_usage=include_usage)

    @property
    def can_drop(self) -> bool:
        """Whether `drop` frees bytes: never, for its readers hold them. It had room when it was opened."""
        return False

    def drop(self) -> int:
        """Free nothing (`can_drop`); return the bytes that are held."""
        return self.size_bytes

    async def read(self, request: Request, long_work: LongWork) -> None:
        """Read the answer unless that is done; a long body on another thread. Later callers wait for the first one."""
        async with self._reading:
            if self._replay is None:
                read = partial(FORMS[request.protocol].replay, self.answer.body)
                self._replay = await long_work.run_if_long(request.tenant, len(self.answer.body), read)
                self.size_bytes = self._replay.size_bytes


class Replays:
    """All replays that are open. Belongs to the event loop."""

    def __init__(self, memory: StreamMemory, long_work: LongWork) -> None:
        """Begin with none; `memory` bounds what they hold."""
        self._memory = memory
        self._long_work = long_work
        self._open: dict[_Key, OpenReplay] = {}

    def __len__(self) -> int:
        """Return how many answers are held."""
        return len(self._open)

    def require_room(self, tenant: str, entry_id: int, answer: Answer) -> None:
        """Raise where an answer can't be replayed for want of room, before anybody is told of a hit.

        An answer that is replayed already needs no further room. Enter `open` before the next await: it takes the room.

        Args:
            tenant: whose stream it is.
            entry_id: the answer's entry; 0 where it isn't stored.
            answer: what is to be replayed.

        Raises:
            OverLimitError: STREAM_MEMORY.
        """
        if self._find(_key(tenant, entry_id, answer), answer) is None:
            self._memory.require_room(tenant, _estimated_bytes(answer))

    @asynccontextmanager
    async def open(self, request: Request, response: Response) -> AsyncGenerator[OpenReplay, None]:
        """Hold the replay of a request's answer within the block; streams of the same answer share it.

        The room is taken at once, before a long body is read on another thread, so that no other stream takes it
        meanwhile. It is given back when the last stream has left, also by an error or a cancellation.
        """
        tenant, answer = request.tenant, response.answer
        assert answer is not None, "a response that is replayed has an answer"
        key = _key(tenant, response.entry_id, answer)
        replay = self._find(key, answer)
        if replay is None:
            replay = self._open[key] = OpenReplay(answer)
            self._memory.keep(tenant, replay, replay.size_bytes)
        replay.readers += 1
        try:
            await replay.read(request, self._long_work)
            self._memory.keep(tenant, replay, replay.size_bytes)
            yield replay
        finally:
            replay.readers -= 1
            if not replay.readers:
                self._close(key, replay)

    def _find(self, key: _Key, answer: Answer) -> OpenReplay | None:
        replay = self._open.get(key)
        return replay if replay is not None and replay.answer.body == answer.body else None

    def _close(self, key: _Key, replay: OpenReplay) -> None:
        """Forget a replay that nobody reads any more."""
        tenant = key[0]
        self._memory.release(tenant, replay)
        if self._open.get(key) is replay:
            del self._open[key]


def _key(tenant: str, entry_id: int, answer: Answer) -> _Key:
    return (tenant, entry_id, 0 if entry_id else id(answer.body))


def _estimated_bytes(answer: Answer) -> int:
    """Return what a replay takes in memory, about: the body, and the text that is read of it."""
    return 2 * len(answer.body)
