"""Measures how long a new call waits before the front sees it, and reports that to the shedding."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

import grpc
import structlog

from semcache.server.call_counts import CallCounts
from semcache.server.shedding import Shedding

_log = structlog.get_logger(__name__)

PROBE = "/semcache.internal.Front/Probe"
"""The method that a probe calls. It does nothing, and it isn't counted as a call."""
_CALM_S = 0.1
"""Seconds between two beats. A probe costs about three exact hits, so ten a second take 1/200 of a busy core."""
_TENSE_S = 0.02
"""Seconds between two beats while the delay is near its target or above: the controller needs it as it is now."""
_CALLS_A_PROBE = 16
"""Calls for each probe at least, while the delay is short: what probes cost is a small part of what calls do, however
slow the machine is. Fewer calls than these wait for nobody."""
_CALLS_A_TENSE_PROBE = 4
_RATE_S = 0.5
"""Seconds over which the rate of calls is averaged."""

Probe = Callable[[], Awaitable[object]]


class Heartbeat:
    """Beats on the event loop.

    gRPC queues calls before Python sees them, and tells neither how many nor for how long. It hands over one call at a
    time, each after several turns of the loop, so that this queue grows while each turn stays short: the loop's own lag
    doesn't show it. So a probe is sent through the same queue as the callers' calls, and the time until its answer is
    the front's delay. While no calls come, no probe is sent.

    Args:
        probe: sends one call through gRPC's queue and waits for its answer.
        counts: tells whether calls come.
        shedding: gets the delay at each beat.
        on_beat: called at each beat.
        monotonic: seconds.
        sleep: waits until the next beat.
    """

    def __init__(
        self,
        *,
        probe: Probe,
        counts: CallCounts,
        shedding: Shedding,
        on_beat: Callable[[], None],
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._probe = probe
        self._counts = counts
        self._shedding = shedding
        self._on_beat = on_beat
        self._monotonic = monotonic
        self._sleep = sleep
        self._started = self._probed = 0
        self._calls_per_s = 0.0
        self._sent_s = 0.0
        self._measured_s = 0.0
        self._pending: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Beat until this is cancelled."""
        try:
            while True:
                period_s = _TENSE_S if self._shedding.tense else _CALM_S
                slept_s = self._monotonic()
                await self._sleep(period_s)
                elapsed_s = self._monotonic() - slept_s
                self.beat(elapsed_s, lag_s=elapsed_s - period_s)
        finally:
            if self._pending is not None:
                self._pending.cancel()

    def beat(self, elapsed_s: float, *, lag_s: float) -> None:
        """Report the delay that is known now, and send the next probe.

        Args:
            elapsed_s: seconds since the last beat.
            lag_s: by how much this beat is late: a loop that is held up answers nobody.
        """
        self._on_beat()
        if elapsed_s <= 0:  # A clock that stands still, as a test's may, tells no rate.
            return
        started, self._started = self._started, self._counts.started
        weight = min(1.0, elapsed_s / _RATE_S)
        self._calls_per_s += weight * ((self._started - started) / elapsed_s - self._calls_per_s)
        # A probe on its way has waited so long already, whenever its answer comes.
        waited_s = self._monotonic() - self._sent_s if self._pending is not None else 0.0
        self._shedding.report(max(self._measured_s, waited_s, lag_s), elapsed_s, self._calls_per_s)
        if self._pending is not None:
            return
        calls = self._started - self._probed
        if calls >= (_CALLS_A_TENSE_PROBE if self._shedding.tense else _CALLS_A_PROBE):
            self._probed = self._started
            self._sent_s = self._monotonic()
            self._pending = asyncio.get_running_loop().create_task(self._measure())
        elif started == self._started:
            self._measured_s = 0.0

    async def _measure(self) -> None:
        try:
            await self._probe()
        except grpc.aio.AioRpcError as error:  # gRPC's queue is full, or the server stops.
            _log.debug("server.probe_failed", code=error.code().name)
        finally:
            self._measured_s = self._monotonic() - self._sent_s
            self._pending = None


class FrontDoor:
    """A second way into the server, for the probes: a socket file in a folder that only this user can enter.

    The port of the callers can't be used: it may ask for a client's certificate.
    """

    def __init__(self, folder: Path) -> None:
        """`open` makes one."""
        self._folder = folder
        self._channel = grpc.aio.insecure_channel(
            f"unix:{folder}/front", [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
        )
        self._call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(PROBE)

    @classmethod
    def open(cls, server: grpc.aio.Server) -> Self | None:
        """Let a server that hasn't started listen for probes too; None where no socket file can be made."""
        try:
            folder = Path(tempfile.mkdtemp(prefix="semcache-"))
        except OSError as error:
            _log.warning("server.probes_off", error=str(error))
            return None
        try:
            server.add_insecure_port(f"unix:{folder}/front")
        except RuntimeError as error:
            shutil.rmtree(folder, ignore_errors=True)
            _log.warning("server.probes_off", error=str(error))
            return None
        return cls(folder)

    async def probe(self) -> None:
        """Send a probe and wait for its answer.

        Raises:
            grpc.aio.AioRpcError: gRPC refused it.
        """
        await self._call(b"")

    async def close(self) -> None:
        """Close the connection and remove the socket file."""
        await self._channel.close()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)


class OtherMethods(grpc.GenericRpcHandler):
    """Answers the probe, and every method that no service has, which it counts."""

    def __init__(self, counts: CallCounts) -> None:
        """`counts` counts the calls of unknown methods as those of `other`."""
        self._calls = counts.of("other")
        self._probed: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_unary_rpc_method_handler(self._answer)
        self._unknown: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_unary_rpc_method_handler(self._refuse)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Return what answers a call."""
        return self._probed if handler_call_details.method == PROBE else self._unknown

    async def _answer(self, _: object, __: object) -> bytes:
        return b""

    async def _refuse(self, _: object, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        self._calls.start()
        self._calls.end("UNIMPLEMENTED")
        return await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
