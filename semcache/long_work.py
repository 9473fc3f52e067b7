"""Turns for work that is long: one caller at a time, and tenants in rotation, so that none waits behind all of another.

A `Turns` is a lock. Where `asyncio.Lock` serves callers in the order of their arrival, this one serves their tenants in
rotation, and the callers of one tenant in the order of their arrival.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

Result = TypeVar("Result")

LONG_BYTES = 256 * 1024
"""Bytes of an answer's JSON from which it is read and written on the thread: a millisecond or two."""


class Turns:
    """A lock whose waiting tenants are served in rotation. Belongs to the event loop."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._taken = False

    @asynccontextmanager
    async def turn(self, tenant: str) -> AsyncIterator[None]:
        """Wait for a turn of the tenant and hold it within the block."""
        await self._take(tenant)
        try:
            yield
        finally:
            self._pass_on()

    async def _take(self, tenant: str) -> None:
        if not self._taken:
            self._taken = True
            return
        given: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(given)
        try:
            await given
        except asyncio.CancelledError:
            if not given.cancelled():  # The turn was given and the caller cancelled in one step of the loop.
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        """Give the turn to the tenant that has waited longest since its last turn; free it if none waits."""
        while self._waiting:
            tenant, waiting = self._waiting.popitem(last=False)
            given = waiting.popleft()
            if waiting:
                self._waiting[tenant] = waiting
            if not given.done():  # A cancelled caller stays in its queue until its turn.
                given.set_result(None)
                return
        self._taken = False


class LongWork:
    """Does what would hold up the event loop: whole pieces on one thread, or slices on the loop with others in between.

    One thread, since work in Python takes the interpreter from the event loop: several would keep it for as many times
    as long. Tenants take turns for both.
    """

    def __init__(self) -> None:
        self._of_thread, self._of_loop = Turns(), Turns()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="semcache-long-work")

    async def run(self, tenant: str, work: Callable[[], Result]) -> Result:
        """Do `work` on the thread when it is the tenant's turn; return its result or raise its exception.

        `work` must leave alone what belongs to the event loop.
        """
        async with self._of_thread.turn(tenant):
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def run_if_long(self, tenant: str, size_bytes: int, work: Callable[[], Result]) -> Result:
        """Do `work` over so many bytes of an answer's JSON: at once, or as `run` does where there are many."""
        return work() if size_bytes <= LONG_BYTES else await self.run(tenant, work)

    async def pause(self, tenant: str) -> None:
        """Let everything else run before the caller's next slice; of all slices, one runs in a step of the loop."""
        async with self._of_loop.turn(tenant):
            await asyncio.sleep(0)

    def close(self) -> None:
        """End the thread once its work is done."""
        self._thread.shutdown(wait=False)
