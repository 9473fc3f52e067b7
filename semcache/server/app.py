"""The life of one server: it starts, repeats its sweeps, drains and stops."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import asdict
from typing import Self, Unpack

import structlog

import semcache
from semcache.errors import SemcacheError
from semcache.observe.exporter import Exporter
from semcache.server.compose import Composition, Replacements, compose
from semcache.server.ending import end_task
from semcache.server.grpc.server import Listener
from semcache.server.http.listener import HttpListener
from semcache.settings import Settings

_log = structlog.get_logger(__name__)
_LAST_RESPONSES_S = 1.0
"""How long responses may take to leave once the last call has ended."""
_FLUSH_S = 1.0
"""How long the cache may at least take to end its upstream calls, even when the grace is over."""


class Application:
    """One running server."""

    def __init__(
        self,
        composition: Composition,
        listener: Listener,
        http: HttpListener | None,
        metrics_port: int | None,
        closing: AsyncExitStack,
    ) -> None:
        """`start` makes one."""
        self._composition = composition
        self._listener = listener
        self._http = http
        self._closing = closing
        self._drained = False
        self._watching = asyncio.create_task(self._watch_store())
        self.store_failure: asyncio.Future[SemcacheError] = asyncio.get_running_loop().create_future()
        """Why the store can't be used any more, once that is so; health says NOT_SERVING from then on."""
        self.metrics_port = metrics_port
        """Where Prometheus scrapes; None when metrics are off."""

    @classmethod
    async def start(cls, settings: Settings, **replacements: Unpack[Replacements]) -> Self:
        """Build all rooms and serve.

        Args:
            settings: the whole tree.
            replacements: ports to use instead of the configured ones; whoever gives one closes it.

        Raises:
            StartError, StoreUnusableError, ModelMissingError, SettingsError: nothing is left running.
        """
        async with AsyncExitStack() as closing:
            composition = await compose(settings, closing, **replacements)
            closing.push_async_callback(end_task, asyncio.create_task(_sweep_repeatedly(composition)))
            closing.push_async_callback(end_task, asyncio.create_task(composition.cache.reembed()))
            metrics_port = None
            if settings.metrics.enabled:
                exporter = Exporter.start(settings.metrics, composition.registry)
                closing.push_async_callback(asyncio.to_thread, exporter.close)
                metrics_port = exporter.port
            clock, handler = composition.adapters.clock, composition.service.handler()
            listener = await Listener.open(settings.server, clock, handler, composition.front)
            closing.push_async_callback(listener.stop, 0.0)
            http = None
            if settings.server.http.enabled:
                http = await HttpListener.open(settings.server, clock, composition.http)
                closing.push_async_callback(http.stop, 0.0)
            embedder = composition.adapters.embedder.stats()
            application = cls(composition, listener, http, metrics_port, closing.pop_all())
        _log.info(
            "server.ready",
            version=semcache.__version__,
            address=application.address,
            http_address=application.http_address,
            tls=settings.server.tls.enabled,
            auth=settings.auth.enabled,
            metrics_port=metrics_port,
            **{f"embedder_{name}": value for name, value in asdict(embedder).items()},
        )
        return application

    @property
    def address(self) -> str:
        """Host and port as clients take them."""
        return self._listener.address

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._listener.port

    @property
    def http_address(self) -> str | None:
        """Host and port of the HTTP listener; None where it is off."""
        return self._http.address if self._http is not None else None

    @property
    def composition(self) -> Composition:
        """All its objects."""
        return self._composition

    async def stop(self, grace_s: float | None = None) -> None:
        """Drain and stop: health says NOT_SERVING, calls in flight may end within the grace, the store is flushed.

        A stop that was cancelled may be repeated with another grace. After one that ended this does nothing.

        Args:
            grace_s: seconds; None: the configured grace.
        """
        await end_task(self._watching)
        if not self._drained:
            await self._drain(self._composition.settings.server.grace_s if grace_s is None else grace_s)
            self._drained = True
        await self._closing.aclose()
        _log.info("server.stopped")

    async def _drain(self, grace_s: float) -> None:
        gate, monotonic = self._composition.gate, self._composition.adapters.clock.monotonic
        deadline_s = monotonic() + grace_s
        _log.info("server.draining", in_flight=gate.in_flight, grace_s=grace_s)
        await self._listener.say_not_serving()
        gate.close()
        try:
            await asyncio.wait_for(gate.emptied(), grace_s)
        except TimeoutError:
            _log.warning("server.grace_over", in_flight=gate.in_flight)
        # What remains is responses on their way out, and clients that watch the health for as long as they may.
        last_s = min(_LAST_RESPONSES_S, max(0.0, deadline_s - monotonic()))
        listeners = [self._listener.stop(last_s)]
        if self._http is not None:
            listeners.append(self._http.stop(last_s))
        await asyncio.gather(*listeners)
        try:
            await self._composition.cache.drain(max(_FLUSH_S, deadline_s - monotonic()))
        except SemcacheError as error:  # The store can't take what waits; it logs what is lost when it closes.
            _log.error("server.flush_failed", error=str(error))

    async def _watch_store(self) -> None:
        """Say NOT_SERVING once the store can't be used any more, so that callers go to another replica."""
        error = await self._composition.adapters.store.failed()
        _log.error("server.store_failed", error=str(error), effect="the server ends")
        await self._listener.say_not_serving()
        self.store_failure.set_result(error)


async def _sweep_repeatedly(composition: Composition) -> None:
    """Sweep the store now and then, until this is cancelled. A failure is logged, and the next sweep tries again."""
    while True:
        await asyncio.sleep(composition.settings.store.sweep_interval_s)
        try:
            await composition.adapters.store.sweep()
        except SemcacheError as error:
            _log.error("server.sweep_failed", error=str(error))
