"""Coalescing: identical requests that arrive while one is being answered wait for its answer.

The work belongs to a task of its own, never to the caller who came first: callers may leave, the others keep waiting,
its end reaches all of them once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Outcome = TypeVar("Outcome")


class Flight(Generic[Outcome]):
    """One piece of work and all who wait for it.

    A streamed answer is a list of chunks that grows; every reader goes through it at its own pace, so a slow one
    stalls nobody. The list is bounded by whoever feeds it (an answer's size limit).
    """

    def __init__(self, *, streams: bool) -> None:
        self.streams = streams
        """The leader asked for a stream, so chunks come while the work runs."""
        self.why = ""
        """Why the upstream is asked, once it is."""
        self._chunks: list[bytes] = []
        self._changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asking = False
        self._task: asyncio.Task[Outcome] | None = None

    def start_asking(self, why: str) -> None:
        """The cache holds no answer; the upstream is being asked."""
        self.why = why
        self._asking = True
        self._wake()

    def feed(self, chunk: bytes) -> None:
        """One more chunk of the answer."""
        self._chunks.append(chunk)
        self._wake()

    async def outcome(self) -> Outcome:
        """What the work ended with; raises what it failed with. Cancelling the waiter leaves the work alone."""
        assert self._task is not None
        return await asyncio.shield(self._task)

    async def asked(self) -> bool:
        """Wait until it is known whether the upstream is asked; False when the work ended without that."""
        while not self._asking and not self._done:
            await self._change()
        return self._asking

    async def chunks(self) -> AsyncIterator[bytes]:
        """The answer's chunks from the first on, as they come, until the work has ended."""
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
    """The work in flight, by key."""

    def __init__(self) -> None:
        self._by_key: dict[Hashable, Flight[Outcome]] = {}
        self._tasks: set[asyncio.Task[Outcome]] = set()

    def __len__(self) -> int:
        """Pieces of work that run now."""
        return len(self._tasks)

    def find(self, key: Hashable) -> Flight[Outcome] | None:
        """The flight that a request with this key may join."""
        return self._by_key.get(key)

    def start(
        self, key: Hashable | None, work: Callable[[Flight[Outcome]], Awaitable[Outcome]], *, streams: bool
    ) -> Flight[Outcome]:
        """Start `work` in a task of its own. With `key` None nobody can join it."""
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
            if not task.cancelled():
                task.exception()  # Its waiters have it; without them it isn't "never retrieved".
            flight._wake()  # noqa: SLF001

        task.add_done_callback(landed)
        return flight

    async def drain(self, grace_s: float) -> None:
        """Wait for all work to end, at most `grace_s`; what is left is cancelled."""
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks), timeout=grace_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
