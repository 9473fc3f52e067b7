"""The gRPC channels of the two clients: what one client does differently from the other, written by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Protocol

import grpc

from semcache.client.connection import CHANNEL_OPTIONS, Connection
from semcache.v1 import semcache_pb2 as pb
from semcache.v1 import semcache_pb2_grpc as pb_grpc

if TYPE_CHECKING:  # The generated module defines this class in its type stub only.
    from semcache.v1.semcache_pb2_grpc import SemanticCacheServiceAsyncStub


class AsyncFrames(Protocol):
    """The part of a streaming call on an asyncio channel that a client uses."""

    def __aiter__(self) -> AsyncIterator[pb.CompleteStreamResponse]: ...

    def cancel(self) -> object:
        """End the call."""


class SyncFrames(Protocol):
    """The part of a streaming call on a blocking channel that a client uses; gRPC has no public type for it."""

    def __iter__(self) -> Iterator[pb.CompleteStreamResponse]: ...

    def cancel(self) -> object:
        """End the call."""


class AsyncChannel:
    """An asyncio channel, opened by the first call and again by the first call after `close`.

    A channel belongs to the event loop that runs when it is made; a client may be constructed before any loop runs.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._channel: grpc.aio.Channel | None = None
        self._opened: SemanticCacheServiceAsyncStub | None = None

    @property
    def stub(self) -> SemanticCacheServiceAsyncStub:
        """Return the stub for the service's methods; open the channel if it is closed.

        Raises:
            InvalidRequestError: BAD_CERTIFICATE.
        """
        if self._opened is None:
            credentials = self._connection.credentials()
            if credentials is None:
                self._channel = grpc.aio.insecure_channel(self._connection.address, CHANNEL_OPTIONS)
            else:
                self._channel = grpc.aio.secure_channel(self._connection.address, credentials, CHANNEL_OPTIONS)
            self._opened = pb_grpc.SemanticCacheServiceStub(self._channel)
        return self._opened

    async def close(self) -> None:
        """Close the channel if it is open."""
        if self._channel is not None:
            await self._channel.close()
            self._channel = self._opened = None


class SyncChannel:
    """A blocking channel, made at once because threads share it: two first calls then can't make two channels.

    Raises:
        InvalidRequestError: BAD_CERTIFICATE.
    """

    def __init__(self, connection: Connection) -> None:
        credentials = connection.credentials()
        if credentials is None:
            self._channel = grpc.insecure_channel(connection.address, CHANNEL_OPTIONS)
        else:
            self._channel = grpc.secure_channel(connection.address, credentials, CHANNEL_OPTIONS)
        self.stub = pb_grpc.SemanticCacheServiceStub(self._channel)

    def close(self) -> None:
        """Close the channel; calls on it raise afterwards."""
        self._channel.close()
