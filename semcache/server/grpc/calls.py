"""What every gRPC call goes through: credentials, admission, reading the message, and the status of what fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from functools import partial
from math import inf
from typing import Any, Generic, TypeVar, cast

import grpc
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message

from semcache.errors import InvalidRequestError, OverLimitError, SemcacheError
from semcache.long_work import LongWork
from semcache.request import RequestMemo
from semcache.request.memo import MAX_MESSAGE_BYTES, AnyCall
from semcache.server.admission import Admission, Admitted
from semcache.server.auth import NO_CREDENTIALS, Caller, Credentials
from semcache.server.call_counts import CallCounts
from semcache.server.certificates import common_names
from semcache.server.grpc.roles import ALWAYS_SERVED, ROLES
from semcache.server.grpc.status import abort, code_of, left
from semcache.server.shedding import Shedding
from semcache.settings import Role, Settings
from semcache.wire.counting import check_fields

In = TypeVar("In", bound=Message)
Asked = TypeVar("Asked")
Context = grpc.aio.ServicerContext[bytes, bytes]
READ_S = 10.0
"""Seconds within which a call's message must have come: a message of 4 MiB over a slow line."""
_EXPIRED = -inf
Reader = Callable[[bytes, str], Asked]
"""Turns a message's bytes and the caller's tenant into what a handler takes."""


class _Reading(Generic[Asked]):
    """How the messages of one method are read, and which of its calls may be refused for load."""

    def __init__(
        self, kind: type[Message], read: Reader[Asked], holds: Callable[[Asked], Awaitable[bool]] | None
    ) -> None:
        self.read = read
        self.holds = holds
        self.may_be_refused = kind not in ALWAYS_SERVED


class Calls:
    """Wraps handlers into gRPC methods.

    Messages are parsed here. gRPC itself would answer undecodable bytes with UNKNOWN and no reason.
    """

    def __init__(
        self,
        admission: Admission,
        memo: RequestMemo,
        counts: CallCounts,
        shedding: Shedding,
        *,
        monotonic: Callable[[], float],
        on_reset: Callable[[str], None],
        long_work: LongWork,
        settings: Settings,
    ) -> None:
        """Make a front without methods yet.

        Args:
            admission: lets calls in.
            memo: remembers messages that come again.
            counts: counts each call by its method and its end.
            shedding: refuses calls while the server can't keep up.
            monotonic: seconds.
            on_reset: gets the peer of each call that its client reset before it was read.
            long_work: reads long messages.
            settings: the limit of a message's values, and how long a stream waits for its reader.
        """
        self._admission = admission
        self._memo = memo
        self._counts = counts
        self._shedding = shedding
        self._monotonic = monotonic
        self._on_reset = on_reset
        self._long_work = long_work
        self._max_fields = settings.limits.values
        self._reader_timeout_s = settings.server.reader_timeout_s
        self._readers: dict[asyncio.Task[Any], float] = {}

    def unary(
        self, kind: type[In], handle: Callable[[In, Caller], Awaitable[Message]]
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Return a method with one request and one response; `handle` gets the message and the caller."""

        async def respond(message: In, caller: Caller) -> bytes:
            return (await handle(message, caller)).SerializeToString()

        return self._unary(kind, self._each_time(kind), respond)

    def repeating(
        self,
        kind: type[In],
        read: Callable[[In, str], AnyCall],
        handle: Callable[[AnyCall, Caller], Awaitable[bytes]],
        holds: Callable[[AnyCall], Awaitable[bool]] | None = None,
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Return a method with one request and one response, whose requests come again byte for byte.

        Args:
            kind: the request's type.
            read: turns a message and its tenant into a call, which is remembered; it may depend on nothing else.
            handle: turns the call and its caller into the response's bytes.
            holds: says whether the call is an exact hit: such a call is never refused for load. None: it may be.
        """
        return self._unary(kind, self.remembering(kind, read), handle, holds)

    def streaming(
        self, kind: type[In], handle: Callable[[In, Caller], AsyncIterator[Message]]
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Return a method with one request and a stream of responses; `handle` gets the message and the caller."""
        return self._streaming(kind, self._each_time(kind), handle)

    def repeating_streaming(
        self,
        kind: type[In],
        read: Callable[[In, str], AnyCall],
        handle: Callable[[AnyCall, Caller], AsyncIterator[Message]],
        holds: Callable[[AnyCall], Awaitable[bool]] | None = None,
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Return a method with one request and a stream of responses, whose requests come again byte for byte.

        Args:
            kind: the request's type.
            read: turns a message and its tenant into a call, which is remembered; it may depend on nothing else.
            handle: turns the call and its caller into responses.
            holds: says whether the call is an exact hit: such a call is never refused for load. None: it may be.
        """
        return self._streaming(kind, self.remembering(kind, read), handle, holds)

    def remembering(self, kind: type[In], read: Callable[[In, str], AnyCall]) -> Reader[AnyCall]:
        """Return a reader that looks a message up in the memo before it calls `read`."""
        memo = self._memo
        reader_id = object()

        def reader(raw: bytes, tenant: str) -> AnyCall:
            key = (tenant, reader_id, raw)
            found = memo.find(key)
            if found is not None:
                return cast("AnyCall", found)  # The key names this reader, so `read` made it.
            call = read(_parsed(raw, kind, self._max_fields), tenant)
            memo.remember(key, call)
            return call

        return reader

    def _unary(
        self,
        kind: type[Message],
        read: Reader[Asked],
        handle: Callable[[Asked, Caller], Awaitable[bytes]],
        holds: Callable[[Asked], Awaitable[bool]] | None = None,
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        needs, counts, reading = ROLES[kind], self._counts.of(method_name(kind)), _Reading(kind, read, holds)

        async def method(_: object, context: Context) -> bytes:
            code, response, failure = "", b"", None
            counts.start()
            try:
                with self._enter(context, needs) as caller:
                    response = await handle(await self._asked(reading, context, caller), caller)
                code = "OK"
            except SemcacheError as error:
                failure = error
                code = code_of(failure).name
            finally:
                counts.end(code or left(context))
            # Outside the block: abort ends the call by raising.
            return response if failure is None else await abort(context, failure)

        # To the peer a call with one message is the same as one with a stream of one. gRPC hands the latter over at
        # once and leaves reading to the method, so that the method counts the call and may refuse it unread.
        return grpc.stream_unary_rpc_method_handler(method)

    def _streaming(
        self,
        kind: type[Message],
        read: Reader[Asked],
        handle: Callable[[Asked, Caller], AsyncIterator[Message]],
        holds: Callable[[Asked], Awaitable[bool]] | None = None,
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        needs, counts, reading = ROLES[kind], self._counts.of(method_name(kind)), _Reading(kind, read, holds)

        async def method(_: object, context: Context) -> None:
            code, failure = "", None
            counts.start()
            try:
                with self._enter(context, needs) as caller:
                    responses = handle(await self._asked(reading, context, caller), caller)
                    async with aclosing(responses):  # type: ignore[type-var]
                        async for response in responses:
                            await self._write(context, response.SerializeToString())
                code = "OK"
            except SemcacheError as error:
                failure = error
                code = code_of(failure).name
            finally:
                counts.end(code or left(context))
            if failure is not None:
                await abort(context, failure)

        return grpc.stream_stream_rpc_method_handler(method)

    async def _asked(self, reading: _Reading[Asked], context: Context, caller: Caller) -> Asked:
        """Return what a call asks for, unless it is refused for load: before it is read, where that can be told.

        Raises:
            OverloadedError: the server can't keep up.
            InvalidRequestError, MessageTooLargeError: as `_message` raises, or the message can't be read.
        """
        refusal = None
        if self._shedding.alert and reading.may_be_refused:
            refusal = self._shedding.refusal(context.time_remaining())
            if refusal is not None and reading.holds is None:
                raise refusal
        asked = await self._read(reading.read, await self._message(context), caller.tenant)
        if refusal is not None and reading.holds is not None and not await reading.holds(asked):
            raise refusal
        return asked

    def _each_time(self, kind: type[In]) -> Reader[In]:
        return lambda raw, _: _parsed(raw, kind, self._max_fields)

    async def _read(self, read: Reader[Asked], raw: bytes, tenant: str) -> Asked:
        """Read a message: a long one, which no memo keeps, on the thread for long work."""
        if len(raw) <= MAX_MESSAGE_BYTES:
            return read(raw, tenant)
        return await self._long_work.run(tenant, partial(read, raw, tenant))

    async def _write(self, context: Context, raw: bytes) -> None:
        """Send one response of a stream; it returns when the reader's side has taken it.

        Raises:
            OverLimitError: READER_STALLED, after `server.reader_timeout_s`.
        """
        try:
            async with asyncio.timeout(self._reader_timeout_s):
                await context.write(raw)
        except TimeoutError as error:
            raise OverLimitError(
                f"The reader of the stream took nothing for {self._reader_timeout_s:g} seconds.",
                reason="READER_STALLED",
                hint="Read the stream as it comes, or raise server.reader_timeout_s.",
            ) from error

    def _enter(self, context: Context, needs: Role) -> Admitted:
        admission = self._admission
        try:
            credentials = self._credentials(context) if admission.reads_headers else NO_CREDENTIALS
            remaining_s: float | None = context.time_remaining()  # The stubs leave out that it may be None.
        except Exception as error:
            admission.raise_for_caller(error)
            raise
        return admission.enter(credentials, remaining_s, needs=needs)

    async def _message(self, context: Context) -> bytes:
        """Return the call's message. A client that resets its call before is counted among those that do.

        Raises:
            InvalidRequestError: the client ended the call without a message, or sent none in time.
            MessageTooLargeError: the message is larger than `server.max_message_bytes`.
        """
        task = asyncio.current_task()
        assert task is not None
        self._readers[task] = self._monotonic()
        try:
            raw: object = await context.read()
        except asyncio.CancelledError:
            if self._readers[task] == _EXPIRED:
                task.uncancel()
                raise InvalidRequestError(
                    f"No message came within {READ_S:g} s.", reason="NO_MESSAGE", hint="Send the message with the call."
                ) from None
            if left(context) == "CANCELLED":
                self._on_reset(context.peer())
            raise
        finally:
            del self._readers[task]
        if not isinstance(raw, bytes):  # It is gRPC's EOF.
            raise InvalidRequestError(
                "The call has no message.", reason="NO_MESSAGE", hint="Send one message with the call."
            )
        self._admission.check_size(len(raw))
        return raw

    def end_late_readers(self) -> None:
        """End the calls whose message hasn't come within `READ_S`: each holds a place among those in flight."""
        oldest_s = self._monotonic() - READ_S
        for task, since_s in list(self._readers.items()):
            if since_s > oldest_s:  # Those that follow began to read later.
                return
            if since_s != _EXPIRED:
                self._readers[task] = _EXPIRED
                task.cancel()

    def _credentials(self, context: Context) -> Credentials:
        names = _verified_names(context.auth_context()) if self._admission.reads_certificates else ()
        return Credentials.from_headers(context.invocation_metadata() or (), names)


def method_name(kind: type[Message]) -> str:
    """Return the name of the method whose request is of this type."""
    return str(kind.DESCRIPTOR.name).removesuffix("Request")


def _verified_names(auth_context: Mapping[str, Iterable[bytes]]) -> tuple[str, ...]:
    """Return the common names of the client's certificate; none if TLS has not verified it against the client CA.

    Raises:
        UnauthenticatedError: INVALID_CERTIFICATE_NAME.
    """
    return next((common_names(pem) for pem in auth_context.get("x509_pem_cert", ())), ())


def _parsed(raw: bytes, kind: type[In], max_fields: int) -> In:
    check_fields(raw, cast("Descriptor", kind.DESCRIPTOR), max_fields)
    try:
        return kind.FromString(raw)
    except DecodeError as error:
        raise InvalidRequestError(
            f"The bytes are no {kind.DESCRIPTOR.full_name}.", reason="UNDECODABLE", hint="Check the client's proto."
        ) from error
