"""What a demo runs on: the scripted provider as a process and a server in this process; both end with the demo."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from semcache.errors import StartError
from semcache.server.app import Application
from semcache.server.temporary import temporary_server
from semcache.settings import DecisionSettings, Route, Settings, Target, UpstreamSettings, load_settings
from semcache.settings.section import Section

PROVIDER = "semcache.demo.provider"
"""The module that is the scripted provider."""
_PROVIDER_START_S = 60.0
"""Seconds. An interpreter takes a fraction of it to start, on any machine that works."""
_PROVIDER_STOP_S = 5.0
_USUAL_MODELS = ("gpt-4o-mini", "gpt-4o", "gpt-4.1-mini")


@dataclass(frozen=True, slots=True)
class Stack:
    """A running demo's parts."""

    application: Application
    settings: Settings

    @property
    def metrics_url(self) -> str:
        """Where Prometheus scrapes the server."""
        return f"http://{self.settings.metrics.host}:{self.application.metrics_port}/metrics"


@asynccontextmanager
async def running_provider(*, seed: int, latency_scale: float, module: str = PROVIDER) -> AsyncIterator[str]:
    """Run the scripted provider for as long as the block runs and give its base URL.

    Args:
        seed: of its answers and latencies.
        latency_scale: 1 for the latencies of a real provider, 0 for none.
        module: the module to run as the provider.

    Raises:
        StartError: it didn't come up.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, "--port", "0", "--seed", str(seed), "--latency-scale", str(latency_scale)),
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
                hint=f"Its own words stand above; start it alone with `{sys.executable} -m {module} --port 0`.",
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
    """Run a server with a new, temporary store, whose every model is answered by `base_url`.

    Args:
        base_url: of the provider.
        models: the aliases that will be asked for.
        decision: how candidates are decided about; None: as the environment says.

    Raises:
        SemcacheError: the server can't start.
    """
    settings = load_settings()
    sections: dict[str, Section] = {
        "upstream": scripted_upstream(base_url, models),
        "decision": decision or settings.decision,
    }
    async with temporary_server(settings, **sections) as application:
        yield Stack(application, application.composition.settings)


def scripted_upstream(base_url: str, models: Iterable[str]) -> UpstreamSettings:
    """Return the upstream settings that send the usual models and `models` to `base_url`."""
    target = Target(name="scripted", base_url=base_url, provider="any")
    aliases = sorted({*_USUAL_MODELS, *models})
    return UpstreamSettings(
        targets=(target,), routes=tuple(Route(alias=alias, target=target.name) for alias in aliases)
    )
