"""`/semcache/v1/…`: the calls of the gRPC service as JSON, by protobuf's own mapping, so that both say the same.

A POST has its message as the body. A GET has the message's fields as its query: `?namespace=helpdesk&limit=10`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from starlette.types import ASGIApp

from semcache.errors import InvalidRequestError, SemcacheError
from semcache.long_work import LongWork
from semcache.request import decode_json, is_long
from semcache.server.auth import Caller
from semcache.server.grpc.calls import method_name
from semcache.server.grpc.roles import ALWAYS_SERVED, ROLES
from semcache.server.grpc.service import Service
from semcache.server.http.call import ErrorEvent, HttpCall, no_error_event
from semcache.server.http.calls import Handler, HttpCalls
from semcache.settings import LimitSettings
from semcache.v1 import semcache_pb2 as pb
from semcache.wire.http_failures import JSON_TYPE
from semcache.wire.http_vendors import openai_error

In = TypeVar("In", bound=Message)
_LINES = (b"content-type", b"application/x-ndjson")
_PIECE_BYTES = 64 * 1024


class Management:
    """Makes the endpoints.

    Args:
        service: its methods answer.
        calls: what every call goes through.
        limits: of the JSON.
        long_work: reads long bodies.
    """

    def __init__(self, service: Service, calls: HttpCalls, limits: LimitSettings, long_work: LongWork) -> None:
        self._calls = calls
        self._long_work = long_work
        self._limits = limits
        self.posts: dict[str, ASGIApp] = {
            "/semcache/v1/verdicts": self._unary(pb.ReportVerdictRequest, service.report_verdict),
            "/semcache/v1/invalidate": self._unary(pb.InvalidateRequest, service.invalidate),
            "/semcache/v1/explain": self._unary(pb.ExplainRequest, service.explain),
        }
        """Endpoints by path, for POST."""
        self.gets: dict[str, ASGIApp] = {
            "/semcache/v1/entries": self._streaming(pb.ListEntriesRequest, service.list_entries),
            "/semcache/v1/stats": self._unary(pb.GetStatsRequest, service.get_stats),
            "/semcache/v1/savings": self._unary(pb.GetSavingsRequest, service.get_savings),
        }
        """Endpoints by path, for GET."""

    def _unary(self, kind: type[In], handle: Callable[[In, Caller], Awaitable[Message]]) -> ASGIApp:
        async def answer(call: HttpCall, caller: Caller) -> None:
            response = await handle(await self._asked(call, kind, caller), caller)
            await call.reply(HTTPStatus.OK, [(b"content-type", JSON_TYPE)], _json(response))

        return self._endpoint(kind, answer, no_error_event)

    def _streaming(self, kind: type[In], handle: Callable[[In, Caller], AsyncIterator[Message]]) -> ASGIApp:
        """Return an endpoint that answers with one message a line."""

        async def answer(call: HttpCall, caller: Caller) -> None:
            lines: list[bytes] = []
            size = 0
            message = await self._asked(call, kind, caller)
            async with aclosing(handle(message, caller)) as responses:  # type: ignore[type-var]
                async for response in responses:
                    lines.append(_json(response) + b"\n")
                    size += len(lines[-1])
                    if size >= _PIECE_BYTES:
                        if not call.started:
                            await call.begin_stream([_LINES])
                        await call.write(b"".join(lines))
                        lines, size = [], 0
            if not call.started:
                await call.begin_stream([_LINES])
            await call.end_stream(b"".join(lines))

        return self._endpoint(kind, answer, _error_line)

    def _endpoint(self, kind: type[Message], answer: Handler, error_event: ErrorEvent) -> ASGIApp:
        return self._calls.endpoint(
            answer,
            method=method_name(kind),
            needs=ROLES[kind],
            error_event=error_event,
            refused="none" if kind in ALWAYS_SERVED else "any call",
        )

    async def _asked(self, call: HttpCall, kind: type[In], caller: Caller) -> In:
        if is_long(call.body):
            return await self._long_work.run(caller.tenant, partial(self._read, call, kind))
        return self._read(call, kind)

    def _read(self, call: HttpCall, kind: type[In]) -> In:
        message = kind()
        try:
            if call.scope["method"] == "POST":
                return json_format.ParseDict(decode_json(call.body, self._limits, "The message"), message)
            return json_format.ParseDict(_query(call.scope["query_string"], message), message)
        except json_format.ParseError as error:
            name = kind.DESCRIPTOR.full_name
            raise InvalidRequestError(f"The JSON is no {name}: {error}.", reason="INVALID_PARAMETER") from error


def _query(query: bytes, message: Message) -> dict[str, Any]:
    """Return a query as the JSON of a message: repeated fields as lists, flags as booleans."""
    known = message.DESCRIPTOR.fields
    fields = {field.json_name: field for field in known} | {field.name: field for field in known}
    value: dict[str, Any] = {}
    for name, text in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        field = fields.get(name)
        item: Any = text
        if field is not None and field.type == FieldDescriptor.TYPE_BOOL:
            item = {"true": True, "false": False}.get(text.lower(), text)
        if field is not None and field.is_repeated:
            value.setdefault(name, []).append(item)
        elif name in value:
            raise InvalidRequestError(f"The query has {name[:64]!r} twice.", reason="INVALID_PARAMETER")
        else:
            value[name] = item
    return value


def _error_line(error: SemcacheError, call: HttpCall) -> bytes:
    """Return an error as the last line of an answer of lines, where a message has another field than `error`."""
    return openai_error(error, call.request_id.decode()) + b"\n"


def _json(message: Message) -> bytes:
    return json_format.MessageToJson(message, indent=None, ensure_ascii=False).encode()
