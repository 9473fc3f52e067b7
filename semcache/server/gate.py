"""How many calls may run at once, overall and for each tenant. A call beyond that is refused at once, never queued."""

from __future__ import annotations

import asyncio

from semcache.errors import OverLimitError, OverloadedError, ShuttingDownError
from semcache.settings import LimitSettings, ServerSettings


class Gate:
    """Counts calls in and out."""

    def __init__(self, server: ServerSettings, limits: LimitSettings) -> None:
        self.limit = server.max_in_flight
        """Calls that may run at once."""
        self._tenant_limit = limits.tenant_in_flight
        self._by_tenant: dict[str, int] = {}
        self._total = 0
        self._closed = False
        self._emptied: asyncio.Event | None = None

    @property
    def in_flight(self) -> int:
        """Calls that run now."""
        return self._total

    @property
    def closed(self) -> bool:
        """Whether every later call is refused."""
        return self._closed

    def enter(self, tenant: str) -> None:
        """Let one call in; `leave` must follow.

        Raises:
            ShuttingDownError: the gate is closed.
            OverloadedError: the server has as many calls in flight as it may.
            OverLimitError: the tenant has as many calls in flight as it may.
        """
        if self._closed:
            raise ShuttingDownError("The server is shutting down.", hint="Send the call to another replica.")
        if self._total >= self.limit:
            raise OverloadedError(
                f"The server has {self._total} calls in flight, its limit.",
                hint="Try again, or raise server.max_in_flight.",
            )
        running = self._by_tenant.get(tenant, 0)
        if running >= self._tenant_limit:
            raise OverLimitError(
                f"The tenant has {running} calls in flight, its limit.",
                reason="TENANT_IN_FLIGHT",
                retry_after_s=1.0,
                hint="Wait for some to end, or raise limits.tenant_in_flight.",
            )
        self._by_tenant[tenant] = running + 1
        self._total += 1

    def leave(self, tenant: str) -> None:
        """Count one call of the tenant out."""
        self._total -= 1
        running = self._by_tenant[tenant] - 1
        if running:
            self._by_tenant[tenant] = running
        else:
            del self._by_tenant[tenant]
        if not self._total and self._emptied is not None:
            self._emptied.set()

    def close(self) -> None:
        """Refuse every later call."""
        self._closed = True

    async def emptied(self) -> None:
        """Wait until no call runs. The gate must be closed."""
        if self._total:
            self._emptied = self._emptied or asyncio.Event()
            await self._emptied.wait()
