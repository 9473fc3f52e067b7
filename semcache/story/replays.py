"""Answers that are being replayed: each is read and held once, however many streams replay it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from types import TracebackType
from typing import Self

from semcache.coordination import StreamMemory
from semcache.long_work import LongWork
from semcache.model import Answer, Request, Response
from semcache.protocols import FORMS, Replay

_LONG_ANSWER_BYTES = 256 * 1024
"""Bytes of an answer's body that are read in a millisecond or two."""

_Key = tuple[str, int, int]
"""Tenant, entry id, and for an answer that isn't stored the identity of its body."""


class OpenReplay:
    """One answer that some streams replay; a context manager, which each of them enters.

    Attributes:
        answer: the answer, the same object for all of them.
    """

    def __init__(self, replays: Replays, key: _Key, answer: Answer, replay: Replay) -> None:
        self.answer = answer
        self.size_bytes = replay.size_bytes
        self._replays = replays
        self._key = key
        self._replay = replay
        self._readers = 0

    def chunks(self, *, include_usage: bool) -> Iterator[bytes]:
        """Yield the answer's chunks, each made when it is asked for (`Replay.chunks`)."""
        return self._replay.chunks(include_usage=include_usage)

    @property
    def can_drop(self) -> bool:
        """Whether `drop` frees its bytes: never, for its readers hold it. It had room when it was opened."""
        return False

    def drop(self) -> None:
        """Do nothing (`can_drop`)."""

    def __enter__(self) -> Self:
        self._readers += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._readers -= 1
        if not self._readers:
            self._replays.close(self._key, self)


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

    def require_room(self, tenant: str, answer: Answer) -> None:
        """Raise where an answer can't be replayed for want of room, before anybody is told of a hit.

        Raises:
            OverLimitError: STREAM_MEMORY.
        """
        self._memory.require_room(tenant, 2 * len(answer.body))

    async def open(self, request: Request, response: Response) -> OpenReplay:
        """Return the replay of a request's answer, to be entered at once. A long body is read on another thread."""
        tenant = request.tenant
        answer = response.answer
        assert answer is not None, "a response that is replayed has an answer"
        key = (tenant, response.entry_id, 0 if response.entry_id else id(answer.body))
        known = self._open.get(key)
        if known is None or known.answer.body != answer.body:
            read = partial(FORMS[request.protocol].replay, answer.body)
            replay = await self._long_work.run(tenant, read) if len(answer.body) > _LONG_ANSWER_BYTES else read()
            known = self._open.get(key)  # Another stream may have read it meanwhile.
            if known is None or known.answer.body != answer.body:
                known = self._open[key] = OpenReplay(self, key, answer, replay)
                self._memory.keep(tenant, known, known.size_bytes)
        return known

    def close(self, key: _Key, replay: OpenReplay) -> None:
        """Forget a replay that nobody reads any more."""
        self._memory.release(key[0], replay)
        if self._open.get(key) is replay:
            del self._open[key]
