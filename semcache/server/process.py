"""The process around a server: its signals, its place in the kernel's schedule, and Python's garbage collector."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable
from typing import Unpack

import structlog

from semcache.server.app import Application
from semcache.server.compose import Replacements
from semcache.settings import Settings

_log = structlog.get_logger(__name__)
_YOUNG_OBJECTS = 10_000
"""Objects made and not freed before the collector looks at the young ones; Python's own number is 700 or 2,000.

With Python's own numbers an exact hit costs a twentieth more.
"""

_SWITCH_S = 0.0005
"""Seconds for which a thread in Python keeps the event loop waiting; Python's own number is 0.005.

An exact hit waits for the interpreter several times, so with Python's number it would take 20 ms and more beside a
thread that computes. `benchmarks/README.md` has the measurement.
"""


async def serve(
    settings: Settings,
    *,
    on_ready: Callable[[Application], None] | None = None,
    **replacements: Unpack[Replacements],
) -> None:
    """Serve until SIGTERM or SIGINT, or until the store fails for good, then drain.

    A second signal ends the grace at once.

    Args:
        settings: the whole tree.
        on_ready: called once the server answers.
        replacements: ports to use instead of the configured ones.

    Raises:
        StartError, StoreUnusableError, ModelMissingError, SettingsError: the server can't start.
        SemcacheError: the store failed for good, and the server has stopped.
    """
    if settings.server.batch_scheduling:
        _ask_for_batch_scheduling()
    sys.setswitchinterval(_SWITCH_S)
    stop = asyncio.Event()
    hurry = asyncio.Event()
    loop = asyncio.get_running_loop()

    def signalled() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled)
    application = await Application.start(settings, **replacements)
    _collect_garbage_less_often()
    if on_ready is not None:
        on_ready(application)
    application.store_failure.add_done_callback(lambda _: stop.set())
    await stop.wait()
    draining = asyncio.ensure_future(application.stop())
    impatient = asyncio.ensure_future(hurry.wait())
    await asyncio.wait([draining, impatient], return_when=asyncio.FIRST_COMPLETED)
    if not draining.done():
        draining.cancel()
        await asyncio.wait([draining])
        await application.stop(0.0)
    impatient.cancel()
    if application.store_failure.done():
        raise application.store_failure.result()


def _ask_for_batch_scheduling() -> None:
    """Ask the kernel to let a thread of this process that wakes wait for the one that runs. See sched(7), SCHED_BATCH.

    A call crosses three threads of gRPC before it reaches the event loop. When all share a core, each wake-up would
    otherwise interrupt the loop in the middle of another call; `benchmarks/README.md` has the measurement.
    """
    if not hasattr(os, "SCHED_BATCH"):
        return
    try:
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError as error:  # A sandbox may forbid both calls, and musl implements neither.
        _log.info(
            "server.scheduling_unchanged",
            error=str(error),
            effect="an exact hit takes more of the processor",
            hint="Set server.batch_scheduling to false where it shall not be tried.",
        )


def _collect_garbage_less_often() -> None:
    """Exempt the server's own objects from garbage collection, and look for garbage less often.

    The server's parts stay as long as the process. What a request leaves behind is freed without the collector, except
    for reference cycles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)
