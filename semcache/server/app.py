"""The composition root: settings become objects, objects become a server, and it ends in the right order."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict
from typing import Self

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry

import semcache
from semcache.costs.accounts import Accounts
from semcache.costs.budgets import Budgets
from semcache.costs.prices import PriceBook
from semcache.decision import Decider
from semcache.embedding import open_embedder
from semcache.errors import (
    EmbeddingFailedError,
    OverloadedError,
    SemcacheError,
    SettingsError,
    StartError,
)
from semcache.index import open_index
from semcache.model import QueueStats
from semcache.observe.exporter import Exporter
from semcache.observe.metrics import Metrics
from semcache.ports import Clock, Embedder, Upstream
from semcache.request import CacheabilityRules, Keying, Tasks, Templates, exemplar_texts, secret_key_id
from semcache.server.auth import Authenticator
from semcache.server.clock import SystemClock
from semcache.server.gate import Gate
from semcache.server.grpc.calls import Calls
from semcache.server.grpc.service import SERVICE_NAME, Service
from semcache.server.grpc.wire.hits import HitMessages
from semcache.server.reports import Reports
from semcache.server.secret import partition_secrets
from semcache.server.tls import ReloadingCertificates
from semcache.server.typed_stats import index_stats, store_stats
from semcache.settings import Settings, TaskSettings
from semcache.store import LmdbStore
from semcache.story.cache import SemanticCache
from semcache.upstream import HttpUpstream

_log = structlog.get_logger(__name__)
_LAST_RESPONSES_S = 1.0
_YOUNG_OBJECTS = 10_000
"""Made and not freed since the last look for garbage; Python's own number is 700, or 2,000 in later versions."""
_HARD_LIMIT_FACTOR = 4
"""gRPC itself refuses messages beyond this many limits, without a reason; up to there semcache says why."""


class Application:
    """One running server."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._gate = Gate(settings.server, settings.limits)
        self._health = health.aio.HealthServicer()
        self._closing = AsyncExitStack()
        self._drained = False
        self.port = 0
        self.metrics_port: int | None = None

    @classmethod
    async def start(
        cls,
        settings: Settings,
        *,
        embedder: Embedder | None = None,
        upstream: Upstream | None = None,
        clock: Clock | None = None,
    ) -> Self:
        """Build all rooms and serve. The given ones replace the configured ones and stay their giver's to close.

        Raises:
            StartError, StoreUnusableError, ModelMissingError, SettingsError: nothing is left running.
        """
        application = cls(settings, clock or SystemClock())
        try:
            await application._build(embedder, upstream)
        except BaseException:
            await application._closing.aclose()
            raise
        return application

    @property
    def address(self) -> str:
        """Where it listens, as clients take it."""
        return _host_port(self._settings.server.host, self.port)

    async def stop(self, grace_s: float | None = None) -> None:
        """Drain and stop: health says NOT_SERVING, calls in flight may end within the grace, the store is flushed.

        One that was cancelled may be repeated with another grace; after one that ended this does nothing.
        """
        if not self._drained:
            await self._drain(grace_s)
            self._drained = True
        await self._closing.aclose()
        _log.info("server.stopped")

    async def _drain(self, grace_s: float | None) -> None:
        grace_s = self._settings.server.grace_s if grace_s is None else grace_s
        deadline_s = self._clock.monotonic() + grace_s
        _log.info("server.draining", in_flight=self._gate.in_flight, grace_s=grace_s)
        await self._health.enter_graceful_shutdown()
        self._gate.close()
        try:
            await asyncio.wait_for(self._gate.emptied(), grace_s)
        except TimeoutError:
            _log.warning("server.grace_over", in_flight=self._gate.in_flight)
        # What is left is responses on their way out, and clients that watch the health for as long as they may.
        await self._server.stop(min(_LAST_RESPONSES_S, max(0.0, deadline_s - self._clock.monotonic())))
        await self._cache.drain(max(1.0, deadline_s - self._clock.monotonic()))

    async def _build(self, given_embedder: Embedder | None, upstream: Upstream | None) -> None:
        settings, clock = self._settings, self._clock
        secrets = partition_secrets(settings)
        prices = PriceBook.open(settings.costs)
        registry = CollectorRegistry()
        metrics = Metrics(registry, settings.metrics, clock, _known_models(settings))
        embedder = given_embedder or await self._open_embedder(metrics)
        store = await asyncio.to_thread(
            LmdbStore.open,
            settings.store,
            clock,
            secret_key_ids=[secret_key_id(secret) for secret in secrets],
            embedder_fingerprint=embedder.fingerprint,
        )
        self._closing.push_async_callback(store.close)
        index = open_index(settings.index, embedder.dimension, store.vectors.load)
        self._closing.push_async_callback(index.close)
        if upstream is None:
            upstream = HttpUpstream(
                settings.upstream, clock, observer=metrics, answer_bytes=settings.limits.answer_bytes
            )
            self._closing.push_async_callback(upstream.close)
        budgets = Budgets(settings.costs, store.ledger, clock, metrics)
        await asyncio.to_thread(budgets.open_periods, clock.wall())
        metrics.watch_budgets(budgets.shares)
        accounts = Accounts(
            ledger=store.ledger, prices=prices, budgets=budgets, metrics=metrics, clock=clock, settings=settings.costs
        )
        keying = Keying(
            secrets=secrets,
            fingerprint=embedder.fingerprint,
            route_policy_version=settings.upstream.route_policy_version,
            templates=Templates(settings.cacheability),
            limits=settings.limits,
            cacheability=CacheabilityRules(settings.cacheability, embedder.fits),
        )
        self._cache = cache = SemanticCache(
            settings=settings,
            clock=clock,
            keying=keying,
            tasks=await _open_tasks(settings.tasks, embedder),
            store=store,
            embedder=embedder,
            index=index,
            decider=Decider(settings.decision),
            upstream=upstream,
            accounts=accounts,
        )

        def queues() -> Mapping[str, tuple[int, int]]:
            return {
                "calls": (self._gate.in_flight, settings.server.max_in_flight),
                "embedding": (embedder.queue_depth(), settings.embedding.max_queue),
                "index": (index.queue_depth(), settings.index.max_queue),
                "store": (store.stats().pending, settings.store.max_queue),
                "flights": (cache.queues()["flights"], settings.server.max_in_flight),
                "lookups": (cache.queues()["lookups"], settings.limits.pending_lookups),
            }

        metrics.watch_store(lambda: store_stats(store.stats()))
        metrics.watch_index(lambda: index_stats(index.stats()))
        metrics.watch_queues(lambda: [QueueStats(name, *sizes) for name, sizes in queues().items()])
        reports = Reports(
            settings=settings,
            clock=clock,
            store=store,
            index=index,
            embedder=embedder,
            accounts=accounts,
            queues=queues,
        )
        hits = HitMessages()
        store.entries.subscribe(hits.follow)
        service = Service(
            settings=settings,
            clock=clock,
            cache=cache,
            store=store,
            embedder=embedder,
            reports=reports,
            hits=hits,
            on_failure=metrics.call_failed,
        )
        self._repeat(store.sweep, settings.store.sweep_interval_s)
        if settings.metrics.enabled:
            exporter = Exporter.start(settings.metrics, registry)
            self.metrics_port = exporter.port
            self._closing.push_async_callback(asyncio.to_thread, exporter.close)
        calls = Calls(Authenticator(settings.auth), self._gate, metrics, settings.server.max_message_bytes)
        await self._listen(service.handler(calls))
        _log.info(
            "server.ready",
            version=semcache.__version__,
            address=self.address,
            tls=settings.server.tls.enabled,
            auth=settings.auth.enabled,
            metrics_port=self.metrics_port,
            **{f"embedder_{name}": value for name, value in asdict(embedder.stats()).items()},
        )

    async def _open_embedder(self, metrics: Metrics) -> Embedder:
        embedder = await asyncio.to_thread(
            open_embedder, self._settings.embedding, on_batch=lambda size, _: metrics.batch_embedded(size)
        )
        self._closing.push_async_callback(embedder.close)
        return embedder

    async def _listen(self, handler: grpc.GenericRpcHandler) -> None:
        settings = self._settings.server
        self._server = server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),  # A port in use must be an error, not a silent share.
                ("grpc.max_receive_message_length", _int32(settings.max_message_bytes * _HARD_LIMIT_FACTOR)),
                ("grpc.max_send_message_length", -1),
                ("grpc.keepalive_time_ms", _int32(settings.keepalive_s * 1000)),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
                ("grpc.max_connection_age_ms", _int32(settings.max_connections_age_s * 1000)),
                ("grpc.max_connection_age_grace_ms", _int32(settings.grace_s * 1000)),
            ]
        )
        server.add_generic_rpc_handlers((handler,))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if settings.reflection:
            names = (SERVICE_NAME, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name)
            reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), server)
        where = _host_port(settings.host, settings.port)
        try:
            if settings.tls.enabled:
                certificates = ReloadingCertificates(settings.tls, self._clock)
                self.port = server.add_secure_port(where, certificates.credentials())
            else:
                self.port = server.add_insecure_port(where)
        except RuntimeError as error:
            raise StartError(
                f"{where} can't be listened on: it is in use, or no address of this machine.",
                reason="PORT_IN_USE",
                hint="Set server.port, or 0 for a free one.",
            ) from error
        await server.start()
        for name in ("", SERVICE_NAME):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    def _repeat(self, work: Callable[[], Awaitable[object]], interval_s: float) -> None:
        """Do `work` now and then until the application closes; a failure is logged and tried again."""

        async def loop() -> None:
            while True:
                await asyncio.sleep(interval_s)
                try:
                    await work()
                except SemcacheError as error:
                    _log.error("maintenance.failed", error=str(error))

        task = asyncio.get_running_loop().create_task(loop())

        async def end() -> None:
            task.cancel()
            await asyncio.wait([task])

        self._closing.push_async_callback(end)


async def serve(settings: Settings, *, on_ready: Callable[[Application], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends the grace at once."""
    if settings.server.batch_scheduling:
        _ask_for_batch_scheduling()
    stop = asyncio.Event()
    hurry = asyncio.Event()
    loop = asyncio.get_running_loop()

    def signalled() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled)
    application = await Application.start(settings)
    _look_for_garbage_less_often()
    if on_ready is not None:
        on_ready(application)
    await stop.wait()
    draining = asyncio.ensure_future(application.stop())
    impatient = asyncio.ensure_future(hurry.wait())
    await asyncio.wait([draining, impatient], return_when=asyncio.FIRST_COMPLETED)
    if not draining.done():
        draining.cancel()
        await asyncio.wait([draining])
        await application.stop(0.0)
    impatient.cancel()


def _ask_for_batch_scheduling() -> None:
    """Let the kernel treat this thread, and those that it starts, as work that interrupts no other thread by waking.

    A call crosses three threads of gRPC before it reaches the event loop, and each wake-up would otherwise interrupt
    that loop in the middle of another call: seven times a call when all share a core (measured). See sched(7).
    """
    if not hasattr(os, "SCHED_BATCH"):
        return
    try:
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError as error:  # a sandbox may forbid it, and musl has neither
        _log.info(
            "server.scheduling_unchanged",
            error=str(error),
            effect="an exact hit takes more of the processor",
            hint="Set server.batch_scheduling to false where it shall not be tried.",
        )


def _look_for_garbage_less_often() -> None:
    """What a server consists of stays, and what a request leaves behind is freed without the collector, but for cycles.

    With Python's own thresholds an exact hit costs a twentieth more.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)


async def _open_tasks(settings: TaskSettings, embedder: Embedder) -> Tasks:
    texts = exemplar_texts(settings)
    # A cut exemplar stands for all that begins like it.
    problems = [
        f"tasks.exemplars: the embedding model can't read all of {text[:60]!r}: it is too long, or has characters that "
        "the model doesn't know"
        for text in texts
        if not embedder.fits(text)
    ]
    if problems:
        raise SettingsError(problems)
    try:
        return Tasks(settings, await embedder.embed(texts) if texts else None)
    except (EmbeddingFailedError, OverloadedError) as error:
        raise StartError(
            f"The exemplars of tasks can't be embedded: {error}",
            reason="EXEMPLARS_NOT_EMBEDDED",
            hint="Mend the embedding model, or raise embedding.max_queue above their number.",
        ) from error


def _host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _int32(value: float) -> int:
    """The options of gRPC are C ints; what is beyond them is as good as without end."""
    return min(int(value), 2**31 - 1)


def _known_models(settings: Settings) -> set[str]:
    routes = settings.upstream.routes
    names = (name for route in routes for name in (route.alias, *(place.model for place in route.destinations)))
    return {name for name in names if name and name != "*"}
