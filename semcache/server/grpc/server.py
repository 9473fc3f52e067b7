"""The gRPC listener: its options, its port, health and reflection."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from semcache.errors import StartError
from semcache.ports import Clock
from semcache.server.admission import HARD_LIMIT_FACTOR
from semcache.server.call_counts import CallCounts
from semcache.server.ending import end_task
from semcache.server.grpc.calls import Calls
from semcache.server.grpc.heartbeat import FrontDoor, Heartbeat, OtherMethods
from semcache.server.grpc.open_streams import Health, OpenStreams, Reflection
from semcache.server.grpc.resets import Resets
from semcache.server.grpc.service import SERVICE_NAME
from semcache.server.shedding import Shedding
from semcache.server.tls import ReloadingCertificates, files_of
from semcache.settings import ServerSettings, TlsSettings

_UNSEEN_PER_CALL = 16
"""Calls that gRPC may hold before the event loop has seen them, for each that may be in flight: some 10 kB each. Beyond
twice as many it cancels new ones, whoever sent them, without a reason; a few connections can't bring so many about."""


@dataclass(frozen=True, slots=True)
class Front:
    """What stands between the listener and the calls, put together by the composition root.

    Attributes:
        calls: what every call of the API goes through.
        counts: the calls by method and end.
        shedding: refuses calls while the server can't keep up.
        resets: closes connections that reset too many calls.
    """

    calls: Calls
    counts: CallCounts
    shedding: Shedding
    resets: Resets


class Listener:
    """A gRPC server on one port."""

    def __init__(
        self, server: grpc.aio.Server, servicer: Health, host: str, port: int, closing: AsyncExitStack
    ) -> None:
        """`open` makes one."""
        self._server = server
        self._health = servicer
        self._host = host
        self._closing = closing
        self.port = port
        """The port that it listens on, also where the settings asked for any free one."""

    @classmethod
    async def open(cls, settings: ServerSettings, clock: Clock, handler: grpc.GenericRpcHandler, front: Front) -> Self:
        """Listen, and say SERVING.

        Args:
            settings: where and how.
            clock: the time, for certificates that are read again.
            handler: the calls.
            front: what the calls go through; its delay is measured from now on.

        Raises:
            StartError: PORT_IN_USE, or a certificate can't be read.
        """
        server = grpc.aio.server(options=_options(settings))
        server.add_generic_rpc_handlers((handler,))
        streams = OpenStreams()
        servicer = Health(streams, front.counts)
        # gRPC has a queue of their own for these two, so that a check is answered before calls that wait.
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        if settings.reflection:
            names = (SERVICE_NAME, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name)
            reflection_pb2_grpc.add_ServerReflectionServicer_to_server(  # type: ignore[no-untyped-call]
                Reflection(streams, front.counts, (*names, reflection.SERVICE_NAME)), server
            )
        server.add_generic_rpc_handlers((OtherMethods(front.counts),))
        port = front.resets.port = _add_port(server, settings, clock)
        async with AsyncExitStack() as closing:
            door = FrontDoor.open(server)
            await server.start()
            if door is not None:
                closing.push_async_callback(door.close)
                closing.push_async_callback(end_task, asyncio.create_task(_heartbeat(front, door).run()))
            for name in ("", SERVICE_NAME):
                await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
            return cls(server, servicer, settings.host, port, closing.pop_all())

    @property
    def address(self) -> str:
        """Host and port as clients take them."""
        return host_port(self._host, self.port)

    async def say_not_serving(self) -> None:
        """Let the health service say NOT_SERVING from now on."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace_s: float) -> None:
        """Close the port; calls that still run after `grace_s` are cancelled."""
        await self._closing.aclose()
        await self._server.stop(grace_s)


def _heartbeat(front: Front, door: FrontDoor) -> Heartbeat:
    return Heartbeat(
        probe=door.probe,
        counts=front.counts,
        shedding=front.shedding,
        on_beat=front.calls.end_late_readers,
        monotonic=time.monotonic,
    )


def _options(settings: ServerSettings) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", 0),  # A port in use must be an error. With 1 two servers would share it silently.
        ("grpc.max_receive_message_length", _int32(settings.max_message_bytes * HARD_LIMIT_FACTOR)),
        ("grpc.max_send_message_length", -1),
        # Calls of a connection that gRPC holds, those included that the client has reset: gRPC refuses further ones.
        ("grpc.max_concurrent_streams", _int32(settings.max_connection_streams)),
        ("grpc.max_allowed_incoming_connections", _int32(settings.max_connections)),
        ("grpc.server.max_pending_requests", _int32(settings.max_in_flight * _UNSEEN_PER_CALL)),
        ("grpc.server.max_pending_requests_hard_limit", _int32(settings.max_in_flight * _UNSEEN_PER_CALL * 2)),
        ("grpc.keepalive_time_ms", _int32(settings.keepalive_s * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ("grpc.max_connection_age_ms", _int32(settings.max_connections_age_s * 1000)),
        ("grpc.max_connection_age_grace_ms", _int32(settings.grace_s * 1000)),
    ]


def _add_port(server: grpc.aio.Server, settings: ServerSettings, clock: Clock) -> int:
    address = host_port(settings.host, settings.port)
    try:
        if settings.tls.enabled:
            return server.add_secure_port(address, _credentials(settings.tls, clock))
        return server.add_insecure_port(address)
    except RuntimeError as error:
        raise StartError(
            f"{address} can't be listened on: it is in use, or no address of this machine.",
            reason="PORT_IN_USE",
            hint="Set server.port, or 0 for a free one.",
        ) from error


def _credentials(settings: TlsSettings, clock: Clock) -> grpc.ServerCredentials:
    """Return credentials that follow the files."""
    certificates = ReloadingCertificates(settings, clock, _configuration)
    # gRPC asks on its own threads at each handshake. Returning the object that it has changes nothing.
    return grpc.dynamic_ssl_server_credentials(
        certificates.current(),
        certificates.current,
        require_client_authentication=settings.client_ca_file is not None,
    )


def _configuration(settings: TlsSettings) -> grpc.ServerCertificateConfiguration:
    key, certificate, *client_ca = (path.read_bytes() for path in files_of(settings))
    return grpc.ssl_server_certificate_configuration(
        [(key, certificate)], root_certificates=client_ca[0] if client_ca else None
    )


def host_port(host: str, port: int) -> str:
    """Return an address as clients take it; IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _int32(value: float) -> int:
    """Return `value` as a C int, which gRPC's options are; a larger value becomes the largest."""
    return min(int(value), 2**31 - 1)
