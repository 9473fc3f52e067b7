"""How many calls may run at once, overall and per tenant; refuses early instead of queueing."""

from __future__ import annotations

import asyncio
from types import TracebackType

from semcache.errors import OverLimitError, OverloadedError, ShuttingDownError
from semcache.settings import LimitSettings, ServerSettings


class Entrance:
    """One call that was let in; leaving the block lets it out."""

    __slots__ = ("_gate", "_tenant")

    def __init__(self, gate: Gate, tenant: str) -> None:
        self._gate = gate
        self._tenant = tenant

    def __enter__(self) -> None:
        """It was let in already."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._gate.leave(self._tenant)


class Gate:
    """Counts calls in and out."""

    def __init__(self, server: ServerSettings, limits: LimitSettings) -> None:
        self._limit = server.max_in_flight
        self._tenant_limit = limits.tenant_in_flight
        self._by_tenant: dict[str, int] = {}
        self._total = 0
        self._closed = False
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def in_flight(self) -> int:
        """Calls that run now."""
        return self._total

    def enter(self, tenant: str) -> Entrance:
        """Let one call in, for as long as the block of the returned entrance runs.

        Raises:
            ShuttingDownError, OverloadedError, OverLimitError.
        """
        if self._closed:
            raise ShuttingDownError("The server is shutting down.", hint="Send the call to another replica.")
        if self._total >= self._limit:
            raise OverloadedError(
                f"The server has {self._total} calls in flight, its limit.",
                hint="Try again, or raise server.max_in_flight.",
            )
        running = self._by_tenant.get(tenant, 0)
        if running >= self._tenant_limit:
            raise OverLimitError(
                f"The tenant has {running} calls in flight, its limit.",
                reason="TENANT_IN_FLIGHT",
                hint="Wait for some to end, or raise limits.tenant_in_flight.",
            )
        self._by_tenant[tenant] = running + 1
        self._total += 1
        self._empty.clear()
        return Entrance(self, tenant)

    def leave(self, tenant: str) -> None:
        """One call of the tenant has ended."""
        self._total -= 1
        left = self._by_tenant[tenant] - 1
        if left:
            self._by_tenant[tenant] = left
        else:
            del self._by_tenant[tenant]
        if not self._total:
            self._empty.set()

    def close(self) -> None:
        """Let nobody in any more."""
        self._closed = True

    async def emptied(self) -> None:
        """Wait until no call runs."""
        await self._empty.wait()
