"""A server of a command's own, with an empty store that goes with it."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from semcache.server.app import Application
from semcache.settings import (
    AuthSettings,
    CostSettings,
    DecisionSettings,
    KeySettings,
    MetricsSettings,
    ServerSettings,
    Settings,
    StoreSettings,
    UpstreamSettings,
)


@asynccontextmanager
async def own_server(settings: Settings, decision: DecisionSettings) -> AsyncIterator[str]:
    """The address of a server under the environment's limits and devices; never its store, ports, keys or upstreams.

    Raises:
        SemcacheError: it can't start; see `Application.start`.
    """
    with tempfile.TemporaryDirectory(prefix="semcache-eval-") as folder:
        own = settings.model_copy(
            update={
                "server": ServerSettings(port=0),
                "auth": AuthSettings(),
                "keys": KeySettings(),
                "upstream": UpstreamSettings(),
                "store": StoreSettings(path=Path(folder)),
                "costs": CostSettings(),
                "metrics": MetricsSettings(enabled=False),
                "decision": decision,
            }
        )
        application = await Application.start(own)
        try:
            yield application.address
        finally:
            await application.stop(1.0)
