"""Coalescing: identical requests that arrive while one is being answered wait for its answer.

The work belongs to a task of its own, never to the caller who came first. Callers may leave, the others keep waiting,
and the work's end reaches all of them once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from semcache.coordination.stream_memory import StreamMemory, stream_memory_error

_CHUNK_BYTES = 64
"""What a chunk takes beside its bytes: the object's head, and its place in the list."""

Outcome = TypeVar("Outcome")


class Flight(Generic[Outcome]):
    """One piece of work and all who wait for it.

    A streamed answer is a list of chunks that grows; there is one, however many read it. Every reader goes through it
    at its own pace, so a slow reader stalls nobody. The feeder bounds the list (by an answer's size limit), and the
    memory of streams bounds all lists together. It may make a flight drop chunks (`drop`). Then nobody can join, each
    chunk is kept until the slowest reader has it, and only a reader that lags too far behind gets an error.
    """

    def __init__(self, memory: StreamMemory, *, streams: bool, tenant: str) -> None:
        self.streams = streams
        """Whether the leader asked for a stream, so that chunks come while the work runs."""
        self._memory = memory
        self._tenant = tenant
        self._readers_at: dict[int, int] = {}
        """How many readers have been given so many chunks, without those that have lost theirs."""
        self._count = 0
        self._first = 0
        """How many chunks, from the first on, are no longer kept."""
        self._size_bytes = 0
        self._dropped = False
        self.reason = ""
        """Why the upstream is asked, a stable token; empty before it is."""
        self._chunks: list[bytes] = []
        self._changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asking = False
        self._task: asyncio.Task[Outcome] | None = None

    def start_asking(self, reason: str) -> None:
        """Tell the waiters that the cache holds no answer and the upstream is asked, for `reason`."""
        self.reason = reason
        self._asking = True
        self._wake()

    def feed(self, chunk: bytes) -> None:
        """Add a chunk of the answer."""
        self._count += 1
        if self._dropped and not self._readers_at:
            self._first = self._count
        else:
            self._chunks.append(chunk)
            self._size_bytes += len(chunk) + _CHUNK_BYTES
            self._memory.keep(self._tenant, self, self._size_bytes)
        self._wake()

    @property
    def has_chunks(self) -> bool:
        """Whether a reader that begins now gets the whole answer by its chunks."""
        return self.streams and not self._dropped

    @property
    def can_drop(self) -> bool:
        """Whether `drop` frees bytes: while there are chunks."""
        return bool(self._chunks)

    def drop(self) -> int:
        """Free the chunks that every reader has; if there is none, those that the slowest readers lack.

        Nobody can join any more. The slowest readers get an error when they ask for their next chunk. All others go on.

        Returns:
            The bytes that are still held, fewer than before.
        """
        self._dropped = True
        if self._chunks and self._slowest == self._first:
            self._readers_at.pop(self._first)
        self._free()
        return self._size_bytes

    @property
    def is_asking(self) -> bool:
        """Whether the waiters have been told that the upstream is asked."""
        return self._asking

    @property
    def has_begun(self) -> bool:
        """Whether a part of the answer has come, which readers may have been given."""
        return self._count > 0

    async def outcome(self) -> Outcome:
        """Wait for the work; return its outcome or raise its exception. Cancelling the waiter leaves the work alone."""
        assert self._task is not None
        return await asyncio.shield(self._task)

    async def asked(self) -> bool:
        """Wait until the upstream is asked and return True; return False when the work ended without that."""
        while not self._asking and not self._done:
            await self._change()
        return self._asking

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the answer's chunks from the first on, as they come, until the work has ended.

        A reader that leaves early closes it.

        Raises:
            OverLimitError: STREAM_MEMORY: a chunk that this reader hasn't been given was dropped.
        """
        position = 0
        self._require_kept(position)
        self._arrive(position)
        if self._chunks:
            self._memory.keep(self._tenant, self, self._size_bytes)
        try:
            while True:
                while position < self._count:
                    self._require_kept(position)
                    chunk = self._chunks[position - self._first]
                    self._arrive(position + 1)
                    self._leave(position)
                    position += 1
                    yield chunk
                if self._done:
                    return
                await self._change()
        finally:
            self._leave(position)
            self._let_go()

    def _require_kept(self, position: int) -> None:
        if position < self._first:
            raise stream_memory_error("The tenant's open streams hold", "limits.tenant_stream_bytes")

    def _arrive(self, position: int) -> None:
        self._readers_at[position] = self._readers_at.get(position, 0) + 1

    def _leave(self, position: int) -> None:
        """Note that a reader is no longer at `position`; after a drop, free what only it needed."""
        if position < self._first:
            return  # `drop` has already forgotten the readers that were there.
        self._readers_at[position] -= 1
        if self._readers_at[position]:
            return
        del self._readers_at[position]
        if self._dropped and position == self._first and self._chunks:
            self._free()
            if self._chunks:
                self._memory.keep(self._tenant, self, self._size_bytes)
            else:
                self._memory.release(self._tenant, self)

    @property
    def _slowest(self) -> int:
        """The number of chunks that every reader has been given."""
        return min(self._readers_at, default=self._count)

    def _free(self) -> None:
        """Free the chunks that every reader has."""
        first = self._slowest
        freed = self._chunks[: first - self._first]
        del self._chunks[: len(freed)]
        self._size_bytes -= sum(map(len, freed)) + len(freed) * _CHUNK_BYTES
        self._first = first

    def _let_go(self) -> None:
        """Count the chunks no longer when nobody can come to read them."""
        if self._done and not self._readers_at:
            self._memory.release(self._tenant, self)

    @property
    def _done(self) -> bool:
        return self._task is not None and self._task.done()

    async def _change(self) -> None:
        await asyncio.shield(self._changed)

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.get_running_loop().create_future()
        changed.set_result(None)


class Flights(Generic[Outcome]):
    """The work in flight, by key. Belongs to the event loop."""

    def __init__(self, memory: StreamMemory) -> None:
        """Begin empty; `memory` bounds the chunks of all."""
        self._memory = memory
        self._by_key: dict[Hashable, Flight[Outcome]] = {}
        self._tasks: set[asyncio.Task[Outcome]] = set()

    def __len__(self) -> int:
        """How much work runs now."""
        return len(self._tasks)

    def find(self, key: Hashable) -> Flight[Outcome] | None:
        """Return the flight that a request with this key may join."""
        return self._by_key.get(key)

    def start(
        self,
        key: Hashable | None,
        work: Callable[[Flight[Outcome]], Awaitable[Outcome]],
        *,
        streams: bool,
        tenant: str,
        ended: Callable[[BaseException | None], None] | None = None,
    ) -> Flight[Outcome]:
        """Start `work` in a task of its own.

        Args:
            key: requests with this key may join; None: nobody can.
            work: makes the outcome.
            streams: whether the request that started it wants chunks as they come.
            tenant: whose it is; its chunks count as this tenant's.
            ended: called once when the work has ended, before its waiters go on, with the exception that ended it.
        """
        flight: Flight[Outcome] = Flight(self._memory, streams=streams, tenant=tenant)

        async def run() -> Outcome:
            return await work(flight)

        task = asyncio.get_running_loop().create_task(run())
        flight._task = task  # noqa: SLF001 - a flight and its registry are one mechanism
        self._tasks.add(task)
        if key is not None:
            self._by_key[key] = flight

        def landed(task: asyncio.Task[Outcome]) -> None:
            self._tasks.discard(task)
            if key is not None and self._by_key.get(key) is flight:
                del self._by_key[key]
            # Asking for the exception also tells asyncio that it was seen, though no waiter may be left to see it.
            error = asyncio.CancelledError() if task.cancelled() else task.exception()
            try:
                if ended is not None:
                    ended(error)
            finally:
                flight._let_go()  # noqa: SLF001
                flight._wake()  # noqa: SLF001

        task.add_done_callback(landed)
        return flight

    async def drain(self, grace_s: float) -> None:
        """Wait for all work to end, at most `grace_s` seconds; cancel the rest and wait for its end."""
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks), timeout=grace_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
