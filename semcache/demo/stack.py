"""What a demo runs on: the scripted provider as a process, the server in this one, both gone at the end."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from semcache.errors import StartError
from semcache.server.app import Application
from semcache.settings import (
    AuthSettings,
    CostSettings,
    DecisionSettings,
    KeySettings,
    MetricsSettings,
    Route,
    ServerSettings,
    Settings,
    StoreSettings,
    Target,
    UpstreamSettings,
    load_settings,
)

_PROVIDER = "semcache.demo.provider"
_PROVIDER_START_S = 60.0
"""Far longer than an interpreter takes to start, on any machine that works."""
_PROVIDER_STOP_S = 5.0
_USUAL_MODELS = ("gpt-4o-mini", "gpt-4o", "gpt-4.1-mini")


@dataclass(frozen=True, slots=True)
class Stack:
    """A running demo's parts."""

    application: Application
    settings: Settings

    @property
    def metrics_url(self) -> str:
        """Where Prometheus would look."""
        return f"http://{self.settings.metrics.host}:{self.application.metrics_port}/metrics"


@asynccontextmanager
async def running_provider(*, seed: int, latency_scale: float) -> AsyncIterator[str]:
    """The scripted provider's base URL.

    Raises:
        StartError: it didn't come up.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", _PROVIDER, "--port", "0", "--seed", str(seed), "--latency-scale", str(latency_scale)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the demo, which then closes the provider's stdin.
    )
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:  # Both were asked for.
        raise StartError("The scripted provider has no pipes.")
    try:
        try:
            line = await asyncio.wait_for(stdout.readline(), _PROVIDER_START_S)
            base_url = str(json.loads(line)["base_url"])
        except (TimeoutError, ValueError, KeyError, TypeError) as error:
            raise StartError(
                "The scripted provider did not come up.",
                hint=f"Its own words stand above; start it alone with `{sys.executable} -m {_PROVIDER} --port 0`.",
            ) from error
        yield base_url
    finally:
        stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _PROVIDER_STOP_S)
        except TimeoutError:
            process.kill()
            await process.wait()


@asynccontextmanager
async def running_server(
    base_url: str, models: Iterable[str], decision: DecisionSettings | None = None
) -> AsyncIterator[Stack]:
    """A server with a new, temporary store, whose every model is answered by `base_url`.

    Args:
        base_url: of the provider.
        models: the aliases that will be asked for.
        decision: how candidates are decided about; None: as the environment says.

    Raises:
        SemcacheError: it can't start; see `Application.start`.
    """
    with tempfile.TemporaryDirectory(prefix="semcache-demo-") as folder:
        settings = demo_settings(base_url, models, Path(folder))
        if decision is not None:
            settings = settings.model_copy(update={"decision": decision})
        application = await Application.start(settings)
        try:
            yield Stack(application, settings)
        finally:
            await application.stop()


def demo_settings(base_url: str, models: Iterable[str], folder: Path) -> Settings:
    """The defaults, and the environment's thresholds, limits and devices; never its store, ports, keys or upstreams.

    Raises:
        SettingsError: the environment's settings are wrong.
    """
    aliases = sorted({*_USUAL_MODELS, *models})
    target = Target(name="scripted", base_url=base_url)
    return load_settings().model_copy(
        update={
            "server": ServerSettings(port=0, grace_s=5.0),
            "auth": AuthSettings(),
            "keys": KeySettings(),
            "upstream": UpstreamSettings(
                targets=(target,), routes=tuple(Route(alias=alias, target=target.name) for alias in aliases)
            ),
            "store": StoreSettings(path=folder / "store", map_size_bytes=2 * 1024**3, max_bytes=1024**3),
            "costs": CostSettings(),
            "metrics": MetricsSettings(port=0),
        }
    )
