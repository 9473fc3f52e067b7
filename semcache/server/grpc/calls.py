"""What every call goes through: who asks, may it enter, can it be read, what becomes of its error."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from functools import lru_cache
from typing import NoReturn, TypeVar

import grpc
import structlog
from google.protobuf.message import DecodeError, Message

from semcache.errors import DeadlineExceededError, InvalidRequestError, OverLimitError, SemcacheError
from semcache.observe.metrics import Metrics
from semcache.server.auth import Authenticator
from semcache.server.gate import Gate
from semcache.server.grpc.status import DETAILS_KEY, code_of, internal_error, status_of

_log = structlog.get_logger(__name__)

In = TypeVar("In", bound=Message)
Asked = TypeVar("Asked")
Context = grpc.aio.ServicerContext[bytes, bytes]

_REMEMBERED_MESSAGES = 4096
_REMEMBERED_BYTES = 4096
"""Of one message; together at most about 40 MB a method."""


class Calls:
    """Wraps handlers into gRPC methods.

    Messages are read here and not by gRPC, which would answer undecodable bytes with UNKNOWN and no reason.
    """

    def __init__(self, authenticator: Authenticator, gate: Gate, metrics: Metrics, max_message_bytes: int) -> None:
        self._authenticator = authenticator
        self._gate = gate
        self._metrics = metrics
        self._max_message_bytes = max_message_bytes

    def unary(
        self, kind: type[In], handle: Callable[[In, str], Awaitable[Message]]
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        """A method with one request and one response; `handle` gets the message and the tenant."""

        async def answered(asked: tuple[In, str]) -> bytes:
            return (await handle(*asked)).SerializeToString()

        return self._unary(lambda raw, tenant: (_parsed(raw, kind), tenant), answered)

    def repeating(
        self, kind: type[In], read: Callable[[In, str], Asked], handle: Callable[[Asked], Awaitable[bytes]]
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        """The same for calls that come again word for word.

        What `read` makes of a message and its tenant hangs on nothing else, and is remembered where the message is
        short: reading one anew takes longer than looking up its answer. `handle` gives the response serialised.
        """

        def reading(raw: bytes, tenant: str) -> Asked:
            return read(_parsed(raw, kind), tenant)

        remembering = lru_cache(_REMEMBERED_MESSAGES)(reading)

        def asked(raw: bytes, tenant: str) -> Asked:
            return remembering(raw, tenant) if len(raw) <= _REMEMBERED_BYTES else reading(raw, tenant)

        return self._unary(asked, handle)

    def _unary(
        self, read: Callable[[bytes, str], Asked], handle: Callable[[Asked], Awaitable[bytes]]
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        async def method(raw: bytes, context: Context) -> bytes:
            try:
                self._gate.enter(tenant := self._authenticator.tenant(context))
                try:
                    self._check(raw, context)
                    return await handle(read(raw, tenant))
                finally:
                    self._gate.leave(tenant)
            except Exception as error:  # noqa: BLE001 - the boundary: everything becomes a status
                failure = self._translate(error)
            # Outside the block: abort ends the call by raising.
            return await self._abort(context, failure)

        return grpc.unary_unary_rpc_method_handler(method)

    def streaming(
        self, kind: type[In], handle: Callable[[In, str], AsyncIterator[Message]]
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        """A method with one request and a stream of responses."""

        async def method(raw: bytes, context: Context) -> AsyncIterator[bytes]:
            try:
                self._gate.enter(tenant := self._authenticator.tenant(context))
                try:
                    self._check(raw, context)
                    responses = handle(_parsed(raw, kind), tenant)
                    async with aclosing(responses):  # type: ignore[type-var]
                        async for response in responses:
                            yield response.SerializeToString()
                    return
                finally:
                    self._gate.leave(tenant)
            except Exception as error:  # noqa: BLE001 - the boundary: everything becomes a status
                failure = self._translate(error)
            await self._abort(context, failure)

        return grpc.unary_stream_rpc_method_handler(method)

    def _check(self, raw: bytes, context: Context) -> None:
        if len(raw) > self._max_message_bytes:
            raise OverLimitError(
                f"The message has {len(raw)} bytes; the limit is {self._max_message_bytes}.",
                reason="MESSAGE_TOO_LARGE",
                hint="Send less, or raise server.max_message_bytes.",
            )
        remaining_s: float | None = context.time_remaining()  # The stubs leave out that it may be None.
        if remaining_s is not None and remaining_s <= 0:
            raise DeadlineExceededError("The call's deadline had passed when it arrived.")

    def _translate(self, error: Exception) -> SemcacheError:
        if isinstance(error, SemcacheError):
            failure = error
        else:
            _log.exception("call.failed_unexpectedly", exc_info=error)
            failure = internal_error()
        self._metrics.call_failed(failure.reason)
        return failure

    async def _abort(self, context: Context, failure: SemcacheError) -> NoReturn:
        details = status_of(failure).SerializeToString()
        await context.abort(code_of(failure), str(failure), ((DETAILS_KEY, details),))


def _parsed(raw: bytes, kind: type[In]) -> In:
    try:
        return kind.FromString(raw)
    except DecodeError as error:
        raise InvalidRequestError(
            f"The bytes are no {kind.DESCRIPTOR.full_name}.", reason="UNDECODABLE", hint="Check the client's proto."
        ) from error
