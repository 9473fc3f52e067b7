"""Coalescing: identical requests that arrive while one is being answered wait for its answer.

The work belongs to a task of its own, never to the caller who came first. Callers may leave, the others keep waiting,
and the work's end reaches all of them once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Outcome = TypeVar("Outcome")


class Flight(Generic[Outcome]):
    """One piece of work and all who wait for it.

    A streamed answer is a list of chunks that grows. Every reader goes through it at its own pace, so a slow reader
    stalls nobody. The feeder bounds the list (by an answer's size limit).
    """

    def __init__(self, *, streams: bool) -> None:
        self.streams = streams
        """Whether the leader asked for a stream, so that chunks come while the work runs."""
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
        self._chunks.append(chunk)
        self._wake()

    @property
    def is_asking(self) -> bool:
        """Whether the waiters have been told that the upstream is asked."""
        return self._asking

    @property
    def has_chunks(self) -> bool:
        """Whether a part of the answer has come, which readers may have been given."""
        return bool(self._chunks)

    async def outcome(self) -> Outcome:
        """Wait for the work; return its outcome or raise its exception. Cancelling the waiter leaves the work alone."""
        assert self._task is not None
        return await asyncio.shield(self._task)

    async def asked(self) -> bool:
        """Wait until the upstream is asked and return True; return False when the work ended without that."""
        while not self._asking and not self._done:
            await self._change()
        return self._asking

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the answer's chunks from the first on, as they come, until the work has ended."""
        position = 0
        while True:
            while position < len(self._chunks):
                position += 1
                yield self._chunks[position - 1]
            if self._done:
                return
            await self._change()

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

    def __init__(self) -> None:
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
        ended: Callable[[BaseException | None], None] | None = None,
    ) -> Flight[Outcome]:
        """Start `work` in a task of its own.

        Args:
            key: requests with this key may join; None: nobody can.
            work: makes the outcome.
            streams: whether the request that started it wants chunks as they come.
            ended: called once when the work has ended, before its waiters go on, with the exception that ended it.
        """
        flight: Flight[Outcome] = Flight(streams=streams)

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
