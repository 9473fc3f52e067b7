"""Health and reflection: calls that need no key, so that their streams are bounded for each address and overall."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any, cast

import grpc
from grpc_health.v1 import health, health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from semcache.errors import OverLimitError
from semcache.server.call_counts import CallCounts
from semcache.server.grpc.status import abort, left

STREAMS = 1000
"""Streams of health and reflection at once: each takes about 30 kB, and none has shown a key."""
STREAMS_OF_AN_ADDRESS = 100
"""Those of one address: a proxy in front of a fleet of clients opens one for each."""
_RETRY_S = 30.0


Answers = AsyncGenerator[reflection_pb2.ServerReflectionResponse, None]


class OpenStreams:
    """Counts the streams that are open without a key."""

    def __init__(self) -> None:
        self._by_address: dict[str, int] = {}
        self._total = 0

    @contextmanager
    def opened(self, peer: str) -> Iterator[None]:
        """Count a stream for as long as the block runs.

        Raises:
            OverLimitError: TOO_MANY_STREAMS, of this address or overall.
        """
        address = peer.rpartition(":")[0]
        streams = self._by_address.get(address, 0)
        if self._total >= STREAMS or streams >= STREAMS_OF_AN_ADDRESS:
            whose = "The server" if self._total >= STREAMS else "This address"
            raise OverLimitError(
                f"{whose} has as many streams of health and reflection open as it may.",
                reason="TOO_MANY_STREAMS",
                retry_after_s=_RETRY_S,
                hint="Close some, or ask with Check instead of Watch.",
            )
        self._by_address[address] = streams + 1
        self._total += 1
        try:
            yield
        finally:
            self._total -= 1
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]


class Health(health.aio.HealthServicer):
    """The health service of gRPC, with bounded watches and counted calls."""

    def __init__(self, streams: OpenStreams, counts: CallCounts) -> None:
        """Nothing is set yet but the server as a whole."""
        super().__init__()
        self._streams = streams
        self._checks, self._watches = counts.of("Check"), counts.of("Watch")

    async def Check(  # noqa: N802 - gRPC's name
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> health_pb2.HealthCheckResponse:
        """Answer what a service's state is; NOT_FOUND for one that isn't here."""
        code = ""
        self._checks.start()
        try:
            response: health_pb2.HealthCheckResponse = await super().Check(request, context)
            code = "OK"
        except grpc.aio.AbortError:
            code = "NOT_FOUND"
            raise
        else:
            return response
        finally:
            self._checks.end(code or left(context))

    async def Watch(  # noqa: N802 - gRPC's name
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        """Tell a service's state now and each time that it changes, until the client leaves."""
        code = ""
        self._watches.start()
        try:
            with self._streams.opened(context.peer()):
                await super().Watch(request, context)
        except OverLimitError as error:
            code = "RESOURCE_EXHAUSTED"
            await abort(context, error)
        finally:
            self._watches.end(code or left(context))


class Reflection(reflection.aio.ReflectionServicer):
    """Server reflection, with bounded streams and counted calls."""

    def __init__(self, streams: OpenStreams, counts: CallCounts, service_names: Iterable[str]) -> None:
        """`service_names` are the full names of the services that it tells of."""
        super().__init__(service_names=service_names)
        self._streams = streams
        self._calls = counts.of("ServerReflectionInfo")

    async def ServerReflectionInfo(  # type: ignore[override]  # noqa: N802 - gRPC's name; its stub says coroutine
        self,
        request_iterator: AsyncIterable[reflection_pb2.ServerReflectionRequest],
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> AsyncIterator[reflection_pb2.ServerReflectionResponse]:
        """Answer each request of a stream."""
        code = ""
        self._calls.start()
        try:
            with self._streams.opened(context.peer()):
                answers = cast("Answers", super().ServerReflectionInfo(request_iterator, context))
                async with aclosing(answers):
                    async for response in answers:
                        yield response
            code = "OK"
        except OverLimitError as error:
            code = "RESOURCE_EXHAUSTED"
            await abort(context, error)
        finally:
            self._calls.end(code or left(context))
