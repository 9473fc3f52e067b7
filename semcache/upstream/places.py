"""The places at one target: how many calls may be there at once, shared among tenants, with a bounded wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from semcache.errors import OverloadedError

_SHARE = 3
"""A tenant may take a place while it holds fewer than this many times the free ones. A lone tenant then takes three
quarters of all, two take three sevenths each, and a tenant that holds none finds a free place."""
_NEWEST_WEIGHT = 0.1
"""Weight of the newest call in the average time for which a place is held."""


class Places:
    """Hands out the places at one target. The event loop's thread alone uses it.

    - A call takes a place at once where its tenant may take one. Otherwise it waits in its tenant's own line.
    - A place that comes free goes to the waiting tenant that holds the fewest, so that many calls of one tenant can't
      make another's wait for all of them.
    - A call that would have to wait longer than `max_wait_s` is refused at once. One that waited so long is refused.

    Each tenant's limit depends on the free places (dynamic thresholds, Choudhury and Hahne, 1998): it needs no number
    of tenants, and always keeps some places for a tenant that comes next.

    Args:
        target: the target's name, for messages.
        limit: places in all.
        max_wait_s: the longest wait, seconds.
        monotonic: seconds.
        fair: whether tenants share. False: whoever comes first takes a place, up to the last one.
    """

    def __init__(
        self, target: str, limit: int, *, max_wait_s: float, monotonic: Callable[[], float], fair: bool = True
    ) -> None:
        self._target = target
        self._limit = limit
        self._max_wait_s = max_wait_s
        self._monotonic = monotonic
        self._fair = fair
        self._free = limit
        self._held: dict[str, int] = {}
        self._lines: dict[str, deque[asyncio.Future[None]]] = {}
        self._mean_held_s = 0.0

    def __repr__(self) -> str:
        return f"<Places {self._target}: {self._free} of {self._limit} free, {self.waiting} waiting>"

    @property
    def waiting(self) -> int:
        """Calls that wait for a place."""
        return sum(map(len, self._lines.values()))

    @asynccontextmanager
    async def held(self, tenant: str, patience_s: float) -> AsyncIterator[bool]:
        """Hold a place for as long as the block runs.

        Args:
            tenant: who asks.
            patience_s: seconds that the call has at most.

        Yields:
            Whether the call waited.

        Raises:
            OverloadedError: the wait would be too long, or was.
        """
        waits = tenant in self._lines or not self._may_take(tenant)
        if waits:
            await self._wait(tenant, min(self._max_wait_s, patience_s))
        else:
            self._take(tenant)
        since_s = self._monotonic()
        try:
            yield waits
        finally:
            held_s = self._monotonic() - since_s
            weight = _NEWEST_WEIGHT if self._mean_held_s else 1.0
            self._mean_held_s += weight * (held_s - self._mean_held_s)
            self._give_back(tenant)

    def expected_wait_s(self, tenant: str) -> float:
        """Return the seconds that one more call of the tenant would wait in its line; 0 until a call has ended.

        The tenant is taken to get an equal share of the places, and each place to be held as long as on average.
        """
        line = len(self._lines.get(tenant, ()))
        tenants = len({tenant, *self._held, *self._lines})
        return (line + 1) * self._mean_held_s * tenants / self._limit

    def _may_take(self, tenant: str) -> bool:
        if not self._free:
            return False
        return not self._fair or self._held.get(tenant, 0) < _SHARE * self._free

    def _take(self, tenant: str) -> None:
        self._free -= 1
        self._held[tenant] = self._held.get(tenant, 0) + 1

    async def _wait(self, tenant: str, limit_s: float) -> None:
        """Wait in the tenant's line until a place was taken for this call.

        Raises:
            OverloadedError: the wait would be too long, or was.
        """
        expected_s = self.expected_wait_s(tenant)
        if expected_s > limit_s:
            raise self._refusal(expected_s)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(tenant, deque()).append(turn)
        try:
            async with asyncio.timeout(max(0.0, limit_s)):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():  # The place came in the same moment.
                self._give_back(tenant)
            else:
                self._leave_line(tenant, turn)
            if isinstance(error, TimeoutError):
                raise self._refusal(max(expected_s, limit_s)) from error
            raise

    def _refusal(self, wait_s: float) -> OverloadedError:
        return OverloadedError(
            f"All places at the upstream {self._target!r} that the tenant may take are in use.",
            retry_after_s=max(0.05, wait_s),
            hint="Try again later; the operator can raise the target's max_connections or server.max_wait_s.",
        )

    def _leave_line(self, tenant: str, turn: asyncio.Future[None]) -> None:
        line = self._lines.get(tenant)
        if line is None or turn not in line:  # It was passed over after it had been cancelled.
            return
        line.remove(turn)
        if not line:
            del self._lines[tenant]

    def _give_back(self, tenant: str) -> None:
        """Free a place of the tenant, then hand out the free ones that waiting tenants may take."""
        self._free += 1
        self._held[tenant] -= 1
        if not self._held[tenant]:
            del self._held[tenant]
        while True:
            takers = [waiting for waiting in self._lines if self._may_take(waiting)]
            if not takers:
                return
            self._serve(min(takers, key=lambda waiting: self._held.get(waiting, 0)))

    def _serve(self, tenant: str) -> None:
        """Take a place for the first call of a tenant's line; the tenant goes behind the others that hold as many."""
        line = self._lines.pop(tenant)
        turn = line.popleft()
        if line:
            self._lines[tenant] = line
        if not turn.done():  # It is done where its call was cancelled and hasn't run since.
            self._take(tenant)
            turn.set_result(None)
