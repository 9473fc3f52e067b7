"""What every gRPC call goes through: credentials, admission, reading the message, and the status of what fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import NoReturn, TypeVar, cast

import grpc
from google.protobuf.message import DecodeError, Message

from semcache.errors import InvalidRequestError, SemcacheError
from semcache.request import RequestMemo
from semcache.request.memo import AnyCall
from semcache.server.admission import Admission, Admitted
from semcache.server.auth import NO_CREDENTIALS, Caller, Credentials
from semcache.server.certificates import common_names
from semcache.server.grpc.roles import ROLES
from semcache.server.grpc.status import DETAILS_KEY, code_of, sentence_of, status_of
from semcache.settings import Role

In = TypeVar("In", bound=Message)
Asked = TypeVar("Asked")
Context = grpc.aio.ServicerContext[bytes, bytes]
Reader = Callable[[bytes, str], Asked]
"""Turns a message's bytes and the caller's tenant into what a handler takes."""


class Calls:
    """Wraps handlers into gRPC methods.

    Messages are parsed here. gRPC itself would answer undecodable bytes with UNKNOWN and no reason.
    """

    def __init__(self, admission: Admission, memo: RequestMemo) -> None:
        self._admission = admission
        self._memo = memo

    def unary(
        self, kind: type[In], handle: Callable[[In, Caller], Awaitable[Message]]
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Return a method with one request and one response; `handle` gets the message and the caller."""

        async def respond(message: In, caller: Caller) -> bytes:
            return (await handle(message, caller)).SerializeToString()

        return self._unary(kind, _each_time(kind), respond)

    def repeating(
        self, kind: type[In], read: Callable[[In, str], AnyCall], handle: Callable[[AnyCall, Caller], Awaitable[bytes]]
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Return a method with one request and one response, whose requests come again byte for byte.

        Args:
            kind: the request's type.
            read: turns a message and its tenant into a call, which is remembered; it may depend on nothing else.
            handle: turns the call and its caller into the response's bytes.
        """
        return self._unary(kind, self.remembering(kind, read), handle)

    def streaming(
        self, kind: type[In], handle: Callable[[In, Caller], AsyncIterator[Message]]
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Return a method with one request and a stream of responses; `handle` gets the message and the caller."""
        return self._streaming(kind, _each_time(kind), handle)

    def repeating_streaming(
        self,
        kind: type[In],
        read: Callable[[In, str], AnyCall],
        handle: Callable[[AnyCall, Caller], AsyncIterator[Message]],
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Return a method with one request and a stream of responses, whose requests come again byte for byte.

        Args:
            kind: the request's type.
            read: turns a message and its tenant into a call, which is remembered; it may depend on nothing else.
            handle: turns the call and its caller into responses.
        """
        return self._streaming(kind, self.remembering(kind, read), handle)

    def remembering(self, kind: type[In], read: Callable[[In, str], AnyCall]) -> Reader[AnyCall]:
        """Return a reader that looks a message up in the memo before it calls `read`."""
        memo = self._memo
        reader_id = object()

        def reader(raw: bytes, tenant: str) -> AnyCall:
            key = (tenant, reader_id, raw)
            found = memo.find(key)
            if found is not None:
                return cast("AnyCall", found)  # The key names this reader, so `read` made it.
            call = read(_parsed(raw, kind), tenant)
            memo.remember(key, call)
            return call

        return reader

    def _unary(
        self, kind: type[Message], read: Reader[Asked], handle: Callable[[Asked, Caller], Awaitable[bytes]]
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        needs = ROLES[kind]

        async def method(raw: bytes, context: Context) -> bytes:
            try:
                with self._enter(raw, context, needs) as caller:
                    return await handle(read(raw, caller.tenant), caller)
            except SemcacheError as error:
                failure = error
            # Outside the block: abort ends the call by raising.
            return await _abort(context, failure)

        return grpc.unary_unary_rpc_method_handler(method)

    def _streaming(
        self, kind: type[Message], read: Reader[Asked], handle: Callable[[Asked, Caller], AsyncIterator[Message]]
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        needs = ROLES[kind]

        async def method(raw: bytes, context: Context) -> AsyncIterator[bytes]:
            try:
                with self._enter(raw, context, needs) as caller:
                    responses = handle(read(raw, caller.tenant), caller)
                    async with aclosing(responses):  # type: ignore[type-var]
                        async for response in responses:
                            yield response.SerializeToString()
                    return
            except SemcacheError as error:
                failure = error
            await _abort(context, failure)

        return grpc.unary_stream_rpc_method_handler(method)

    def _enter(self, raw: bytes, context: Context, needs: Role) -> Admitted:
        admission = self._admission
        try:
            credentials = self._credentials(context) if admission.reads_headers else NO_CREDENTIALS
            remaining_s: float | None = context.time_remaining()  # The stubs leave out that it may be None.
        except Exception as error:
            admission.raise_for_caller(error)
            raise
        return admission.enter(credentials, len(raw), remaining_s, needs=needs)

    def _credentials(self, context: Context) -> Credentials:
        names = _verified_names(context.auth_context()) if self._admission.reads_certificates else ()
        return Credentials.from_headers(context.invocation_metadata() or (), names)


def _verified_names(auth_context: Mapping[str, Iterable[bytes]]) -> tuple[str, ...]:
    """Return the common names of the client's certificate; none if TLS has not verified it against the client CA.

    Raises:
        UnauthenticatedError: INVALID_CERTIFICATE_NAME.
    """
    return next((common_names(pem) for pem in auth_context.get("x509_pem_cert", ())), ())


async def _abort(context: Context, failure: SemcacheError) -> NoReturn:
    details = status_of(failure).SerializeToString()
    await context.abort(code_of(failure), sentence_of(failure), ((DETAILS_KEY, details),))


def _each_time(kind: type[In]) -> Reader[In]:
    return lambda raw, _: _parsed(raw, kind)


def _parsed(raw: bytes, kind: type[In]) -> In:
    try:
        return kind.FromString(raw)
    except DecodeError as error:
        raise InvalidRequestError(
            f"The bytes are no {kind.DESCRIPTOR.full_name}.", reason="UNDECODABLE", hint="Check the client's proto."
        ) from error
