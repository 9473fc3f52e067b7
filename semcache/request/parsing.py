"""Parse and check the body of a chat-completions request. A body that passes has only one meaning."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from semcache.errors import InvalidRequestError
from semcache.request.fields import FIELDS, MESSAGE_ROLES
from semcache.settings import LimitSettings

MAX_MODEL_CHARS = 256
"""Longest model name that is accepted, longer than any real one: each ledger line holds the name."""


@dataclass(frozen=True, slots=True)
class ChatBody:
    """A parsed body. `fields` holds every field that is set, including the messages and the ignored fields."""

    fields: Mapping[str, Any]
    alias: str
    messages: Sequence[Mapping[str, Any]]
    prompt_chars: int


def parse_body(body: bytes, limits: LimitSettings) -> ChatBody:
    """Parse and check a raw chat-completions body.

    Raises:
        InvalidRequestError: the body is wrong. Its reason names the problem: INVALID_JSON, JSON_TOO_DEEP,
            DUPLICATE_KEY, INVALID_PARAMETER, NO_MODEL, EMPTY_MESSAGES, INVALID_MESSAGE, UNKNOWN_ROLE, EMPTY_MESSAGE or
            PROMPT_TOO_LONG.
    """
    fields = _decode(body, limits.json_depth)
    for name, value in fields.items():
        field = FIELDS.get(name)
        if field is not None and value is not None and not field.check(value):
            _refuse(f"{name} must be {field.wanted}.", "INVALID_PARAMETER", field=name)
    alias = fields.get("model")
    if not alias or not isinstance(alias, str):
        _refuse("The request names no model.", "NO_MODEL", hint='Set "model" to an alias that the server routes.')
    if len(alias) > MAX_MODEL_CHARS:
        _refuse(f"model must have at most {MAX_MODEL_CHARS} characters.", "INVALID_PARAMETER", field="model")
    messages = fields.get("messages")
    if not messages:
        _refuse("The request has no messages.", "EMPTY_MESSAGES", hint="Send at least one message.")
    prompt_chars = sum(_check_message(position, message) for position, message in enumerate(messages))
    if prompt_chars > limits.prompt_chars:
        _refuse(
            f"The messages hold {prompt_chars} characters; the limit is {limits.prompt_chars}.",
            "PROMPT_TOO_LONG",
            hint="Shorten the conversation or raise limits.prompt_chars.",
        )
    return ChatBody({k: v for k, v in fields.items() if v is not None}, alias, messages, prompt_chars)


def message_text(message: Mapping[str, Any]) -> str:
    """Return the text of a message, its text parts joined by newlines."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content or () if part["type"] == "text")


def _decode(body: bytes, depth_limit: int) -> dict[str, Any]:
    try:
        value = json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except UnicodeDecodeError:
        _refuse("The body is not UTF-8.", "INVALID_JSON")
    except RecursionError:
        _refuse(f"The JSON is nested deeper than {depth_limit} levels.", "JSON_TOO_DEEP")
    except json.JSONDecodeError as error:
        _refuse(f"The body is not JSON: {error.msg} at byte {error.pos}.", "INVALID_JSON")
    except ValueError:
        _refuse("The JSON holds an integer of thousands of digits.", "INVALID_JSON")
    if not isinstance(value, dict):
        _refuse("The body must be a JSON object.", "INVALID_JSON")
    # The number of brackets is an upper bound of the depth and cheap to count, so few requests need the walk.
    if body.count(b"[") + body.count(b"{") > depth_limit and _depth(value) > depth_limit:
        _refuse(f"The JSON is nested deeper than {depth_limit} levels.", "JSON_TOO_DEEP")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Two parsers may disagree about which of two equal keys counts. Then the cache would store the upstream's answer
    # under another question.
    value = dict(pairs)
    if len(value) != len(pairs):
        _refuse("The JSON names a key twice in one object.", "DUPLICATE_KEY")
    return value


def _no_constant(name: str) -> NoReturn:
    _refuse(f"The JSON holds {name}, which is no JSON number.", "INVALID_JSON")


def _depth(value: object) -> int:
    deepest, pending = 0, [(value, 1)]
    while pending:
        item, depth = pending.pop()
        deepest = max(deepest, depth)
        children = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
        pending.extend((child, depth + 1) for child in children if isinstance(child, dict | list))
    return deepest


def _check_message(position: int, message: object) -> int:
    where = f"messages[{position}]"
    if not isinstance(message, dict):
        _refuse(f"{where} must be an object.", "INVALID_MESSAGE")
    role = message.get("role")
    if not isinstance(role, str) or role not in MESSAGE_ROLES:
        known = ", ".join(sorted(MESSAGE_ROLES))
        _refuse(f"{where} has the unknown role {str(role)[:40]!r}.", "UNKNOWN_ROLE", hint=f"Known roles: {known}.")
    content = message.get("content")
    if isinstance(content, str):
        if not content.strip() and role == "user":
            _refuse(f"{where} is empty.", "EMPTY_MESSAGE")
        return len(content)
    if content is None:
        if role == "user" or (role != "assistant" and role not in {"tool", "function"}):
            _refuse(f"{where} has no content.", "EMPTY_MESSAGE")
        return 0
    if not isinstance(content, list) or not content:
        _refuse(f"{where}.content must be a string or a list of parts.", "INVALID_MESSAGE")
    return sum(_check_part(f"{where}.content[{number}]", part) for number, part in enumerate(content))


def _check_part(where: str, part: object) -> int:
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        _refuse(f"{where} must be an object with a type.", "INVALID_MESSAGE")
    if part["type"] != "text":
        return 0
    text = part.get("text")
    if not isinstance(text, str):
        _refuse(f"{where}.text must be a string.", "INVALID_MESSAGE")
    return len(text)


def _refuse(message: str, reason: str, *, hint: str = "", field: str = "") -> NoReturn:
    raise InvalidRequestError(message, reason=reason, hint=hint, metadata={"field": field} if field else None)
