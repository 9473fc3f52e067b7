"""A real server whose event loop has a thread of its own and is watched: what it logs, and how long it stands still."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, MutableMapping
from contextlib import AsyncExitStack, suppress
from typing import Any, Self, TypeVar

import grpc
import structlog
import uvloop

from semcache.server.clock import SystemClock
from semcache.settings import Target, UpstreamSettings
from semcache.settings.upstream import BreakerSettings, RetrySettings
from semcache.testing.serving import Served, serving
from semcache.testing.upstream_server import Received, Reply, ScriptedServer, echo
from semcache.upstream import HttpUpstream

Result = TypeVar("Result")

STALL_S = 0.05
"""The longest that the event loop may work without a turn for others."""
_BLOCKED_S = 2.0
"""A beat that comes this late though the loop's thread didn't work: it waited for a lock or a disk. A busy machine
alone makes beats late by tenths of a second."""
_BEAT_S = 0.002
_CALL_S = 30.0
_SERVICE = "/semcache.v1.SemanticCacheService/"
STREAMS = {"CompleteStream", "ListEntries"}


class Heartbeat:
    """Beats on an event loop, and keeps the longest time between two beats.

    Counted is the processor time of the loop's own thread: whatever one turn of the loop did, from gRPC's completions
    to the handlers, without the time that other threads or processes had the processor.
    """

    def __init__(self) -> None:
        self._worked_s = 0.0
        self._late_s = 0.0

    async def beat(self) -> None:
        """Beat until this is cancelled."""
        worked_s, due_s = time.thread_time(), time.monotonic() + _BEAT_S
        while True:
            await asyncio.sleep(_BEAT_S)
            now_s = time.thread_time()
            self._worked_s = max(self._worked_s, now_s - worked_s)
            self._late_s = max(self._late_s, time.monotonic() - due_s)
            worked_s, due_s = now_s, time.monotonic() + _BEAT_S

    def take(self) -> float:
        """Return the longest standstill since the last call, in seconds, and begin anew."""
        stall_s = self._worked_s if self._late_s < _BLOCKED_S else self._late_s
        self._worked_s = self._late_s = 0.0
        return stall_s


class Complaints(logging.Handler):
    """Collects what nobody should see: errors logged with a traceback, by any library, and by the event loop."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.sentences: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Collect a record of the standard library's logging."""
        self.sentences.append(f"{record.name}: {self.format(record)}")

    def of_structlog(self, _: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Collect an event with a traceback, and drop all."""
        if event.get("exc_info"):
            self.sentences.append(str(structlog.processors.format_exc_info(None, "", dict(event))))
        raise structlog.DropEvent

    def of_loop(self, _: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        """Collect an exception that no task's owner has seen."""
        self.sentences.append(f"event loop: {context.get('message')}: {context.get('exception')!r}")

    def take(self) -> list[str]:
        """Return what was collected since the last call."""
        taken, self.sentences = self.sentences, []
        return taken


class Watched:
    """The server, its upstream over a socket, and a channel to it, on a loop in a thread; a context manager.

    Attributes:
        reply: what the upstream answers to the next calls; None: it echoes the prompt.
        heartbeat: of the server's event loop.
        complaints: what was logged.
    """

    def __init__(self) -> None:
        self.reply: Callable[[Received], Reply] | None = None
        self.heartbeat = Heartbeat()
        self.complaints = Complaints()
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="watched", daemon=True)
        self._closing = AsyncExitStack()
        self._served: Served | None = None
        self._beating: asyncio.Task[None] | None = None

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine on the server's loop, and return its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(120)

    def call(self, method: str, raw: bytes) -> grpc.StatusCode:
        """Send bytes as one call's message, read all of the answer, and return the status."""
        return self.run(self._call(method, raw))

    async def _call(self, method: str, raw: bytes) -> grpc.StatusCode:
        assert self._served is not None
        channel = self._served.channel
        try:
            if method in STREAMS:
                async for _ in channel.unary_stream(_SERVICE + method)(raw, timeout=_CALL_S):
                    pass
            else:
                await channel.unary_unary(_SERVICE + method)(raw, timeout=_CALL_S)
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    async def _open(self) -> None:
        self._loop.set_exception_handler(self.complaints.of_loop)
        upstream_server = await self._closing.enter_async_context(ScriptedServer(self._answer, keep_requests=False))
        target = Target(name="t", base_url=upstream_server.base_url, timeout_s=2.0, stall_timeout_s=1.0)
        # One breaker for all inputs would open after the first malicious answers, and let no more in.
        never_open = BreakerSettings(failures=1_000_000, min_samples=1_000_000)
        settings = UpstreamSettings(targets=(target,), breaker=never_open, retry=RetrySettings(max_retries=0))
        upstream: Any = HttpUpstream(settings, SystemClock(), rng=random.Random(0), environ={})
        self._closing.push_async_callback(upstream.close)
        overrides = {"decision": {"threshold": 0.3, "k": 5}, "index": {"flat_products": "float32"}}
        self._served = await self._closing.enter_async_context(serving(overrides, upstream=upstream))
        self._beating = asyncio.create_task(self.heartbeat.beat())

    def _answer(self, received: Received) -> Reply:
        return (self.reply or echo)(received)

    async def _close(self) -> None:
        if self._beating is not None:
            self._beating.cancel()
            with suppress(asyncio.CancelledError):
                await self._beating
        await self._closing.aclose()

    def __enter__(self) -> Self:
        structlog.configure(processors=[self.complaints.of_structlog], cache_logger_on_first_use=False)
        logging.getLogger().addHandler(self.complaints)
        self._thread.start()
        self.run(self._open())
        self.heartbeat.take()
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        logging.getLogger().removeHandler(self.complaints)
        structlog.reset_defaults()
