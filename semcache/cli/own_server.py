"""A server of a command's own, with an empty store that goes with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from semcache.server.temporary import temporary_server
from semcache.settings import DecisionSettings, HttpSettings, MetricsSettings, ServerSettings, Settings, StoreSettings


@asynccontextmanager
async def own_server(settings: Settings, decision: DecisionSettings) -> AsyncIterator[str]:
    """Run a server for as long as the block runs and give its address.

    Args:
        settings: the environment's; its limits and devices are used, never its store, ports, keys or upstreams.
        decision: how candidates are decided about.

    Raises:
        SemcacheError: the server can't start.
    """
    async with temporary_server(
        settings,
        server=ServerSettings(port=0, grace_s=1.0, http=HttpSettings(enabled=False)),
        metrics=MetricsSettings(enabled=False),
        store=StoreSettings(),  # A test set may be larger than a temporary store usually is.
        decision=decision,
    ) as application:
        yield application.address
