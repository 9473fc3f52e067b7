"""From typed chat requests to the bytes of OpenAI requests: fields in one order, raw JSON fields unchanged."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Sequence
from typing import Literal, NoReturn, get_args

from semcache.errors import InvalidRequestError
from semcache.request import check_values
from semcache.settings import LimitSettings
from semcache.v1 import semcache_pb2 as pb

_JSON_WHITESPACE = " \t\r\n"
_EXACT_FLOAT_INT = 2**53

# The types that `json.loads` gives for each kind. Objects become tuples of pairs, which keep repeated names visible.
_OBJECT = ("a JSON object", (tuple,))
_ARRAY = ("a JSON array", (list,))
_STRING_OR_OBJECT = ("a JSON string or object", (str, tuple))

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

_Scalar = Literal[
    "temperature",
    "top_p",
    "max_tokens",
    "max_completion_tokens",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "n",
    "user",
    "logprobs",
    "top_logprobs",
    "parallel_tool_calls",
    "reasoning_effort",
]
_SCALARS: tuple[_Scalar, ...] = get_args(_Scalar)
"""Optional fields whose JSON is that of the message's value, in the order in which they are written."""

_Member = tuple[str, str]
"""A member of a JSON object: its name, and its value as JSON text."""


def chat_body(chat: pb.ChatRequest, limits: LimitSettings) -> bytes:
    """Return the request body of `chat` as UTF-8. Equal messages give equal bytes.

    This checks only that the result is JSON, and that no raw field has more values than `limits` allow. The keying
    checks whether the request makes sense, as it does for raw bodies.

    Raises:
        InvalidRequestError: a raw field isn't JSON of its kind, repeats a field or has too many values, a number isn't
            finite, or a content part is empty.
    """
    if chat.ByteSize() > 2 * limits.values:  # A value takes two bytes at least.
        for raw in _raw_fields(chat):
            check_values(raw, limits, "The request")
    return _object(_chat_members(chat), chat.extra_json, "chat.extra_json").encode()


def text_body(prompt: pb.TextPrompt) -> bytes:
    """Return the request body of one user message. `chat_body` would give the same bytes for it.

    Raises:
        InvalidRequestError: EMPTY_MESSAGE: the message's field `text` was never set, or holds nothing.
    """
    if not prompt.text.strip():
        raise InvalidRequestError(
            "The prompt's text is empty.",
            reason="EMPTY_MESSAGE",
            hint="Set text.text; a conversation with an empty turn goes into chat or openai_json.",
        )
    return (
        f'{{"model":{_encode(prompt.model)},"messages":[{{"role":"user","content":{_encode(prompt.text)}}}]}}'.encode()
    )


def _raw_fields(chat: pb.ChatRequest) -> Iterator[bytes]:
    yield from (chat.tools_json, chat.tool_choice_json, chat.response_format_json, chat.extra_json)
    for message in chat.messages:
        yield message.extra_json
        for part in message.parts.parts:
            yield part.raw_json


def _chat_members(chat: pb.ChatRequest) -> Iterator[_Member]:
    yield "model", _encode(chat.model)
    yield "messages", _array([_message(message, f"chat.messages[{i}]") for i, message in enumerate(chat.messages)])
    for name in _SCALARS:
        if chat.HasField(name):
            value: float | str = getattr(chat, name)
            yield name, _number(value, f"chat.{name}") if isinstance(value, float) else _encode(value)
    if chat.stop:
        yield "stop", _encode(list(chat.stop))
    for field, raw, kind in (
        ("tools", chat.tools_json, _ARRAY),
        ("tool_choice", chat.tool_choice_json, _STRING_OR_OBJECT),
        ("response_format", chat.response_format_json, _OBJECT),
    ):
        if raw:
            yield field, _raw(raw, f"chat.{field}_json", kind)[0]


def _message(message: pb.ChatMessage, field: str) -> str:
    return _object(_message_members(message, field), message.extra_json, f"{field}.extra_json")


def _message_members(message: pb.ChatMessage, field: str) -> Iterator[_Member]:
    yield "role", _encode(message.role)
    content = message.WhichOneof("content")
    if content == "text":
        yield "content", _encode(message.text)
    elif content == "parts":
        parts = message.parts.parts
        yield "content", _array([_part(part, f"{field}.parts.parts[{i}]") for i, part in enumerate(parts)])
    if message.name:
        yield "name", _encode(message.name)
    if message.tool_calls:
        yield "tool_calls", _array([_tool_call(call) for call in message.tool_calls])
    if message.tool_call_id:
        yield "tool_call_id", _encode(message.tool_call_id)


def _part(part: pb.ContentPart, field: str) -> str:
    kind = part.WhichOneof("part")
    if kind == "text":
        return f'{{"type":"text","text":{_encode(part.text)}}}'
    if kind == "image_url":
        detail = f',"detail":{_encode(part.image_url.detail)}' if part.image_url.detail else ""
        return f'{{"type":"image_url","image_url":{{"url":{_encode(part.image_url.url)}{detail}}}}}'
    if kind == "raw_json":
        return _raw(part.raw_json, f"{field}.raw_json", _OBJECT)[0]
    raise InvalidRequestError(f"{field} is empty.", hint="Set text, image_url or raw_json.")


def _tool_call(call: pb.ToolCall) -> str:
    function = f'{{"name":{_encode(call.name)},"arguments":{_encode(call.arguments)}}}'
    return f'{{"id":{_encode(call.id)},"type":"function","function":{function}}}'


def _object(members: Iterator[_Member], extra_json: bytes, field: str) -> str:
    """Return a JSON object of `members`, followed by the members of `extra_json` as they were sent."""
    written = dict(members)
    inside = [f'"{name}":{value}' for name, value in written.items()]
    if extra_json:
        text, pairs = _raw(extra_json, field, _OBJECT)
        _refuse_repeated([name for name, _ in pairs], written, field)
        if pairs:
            inside.append(text.strip(_JSON_WHITESPACE)[1:-1])
    return "{" + ",".join(inside) + "}"


def _array(items: Sequence[str]) -> str:
    return "[" + ",".join(items) + "]"


def _refuse_repeated(names: Sequence[str], written: Collection[str], field: str) -> None:
    seen = set(written)
    for name in names:
        if name in seen:
            raise InvalidRequestError(f"{field} gives {name!r} a second time.", hint="Set each field in one place.")
        seen.add(name)


def _number(value: float, field: str) -> str:
    """Return a number as callers write it, 0 and not 0.0, so that typed and raw requests have equal keys."""
    if not math.isfinite(value):
        raise InvalidRequestError(f"{field} is {value}, which JSON can't express.", hint="Send a finite number.")
    return str(int(value)) if value.is_integer() and abs(value) < _EXACT_FLOAT_INT else repr(value)


def _raw(raw: bytes, field: str, kind: tuple[str, tuple[type, ...]]) -> tuple[str, Sequence[tuple[str, object]]]:
    """Return the text of a raw JSON field, and the name-value pairs if it is an object."""
    name, types = kind
    try:
        text = raw.decode()
        value = json.loads(text, object_pairs_hook=tuple, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise InvalidRequestError(f"{field} is nested too deeply.", hint="Flatten it.") from error
    except ValueError as error:
        raise InvalidRequestError(f"{field} is not JSON: {error}.", hint=f"Send {name} as UTF-8 text.") from error
    if not isinstance(value, types):
        raise InvalidRequestError(f"{field} is not {name}.", hint=f"Send {name} as UTF-8 text.")
    return text, value if isinstance(value, tuple) else ()


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")
