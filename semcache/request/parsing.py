"""Parse and check the body of a chat-completions request."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from semcache.errors import InvalidRequestError
from semcache.model import is_deeper
from semcache.request.fields import FIELDS
from semcache.settings import LimitSettings

MAX_MODEL_CHARS = 256
"""Longest model name that is accepted, longer than any real one: each ledger line holds the name."""
_LONG_BYTES = 1_024
"""Bytes of a body beyond which reading and keying it may take over two milliseconds."""


@dataclass(frozen=True, slots=True)
class ChatBody:
    """A parsed body.

    Attributes:
        fields: every field that is set, including the messages and the ignored fields.
        alias: the model that is asked for.
        messages: the messages: objects with a role each.
        prompt_chars: characters of all messages.
        is_odd: whether a value has a form whose meaning semcache doesn't know. Such a body may be forwarded, but only
            its `alias` and its keys may be relied on.
    """

    fields: Mapping[str, Any]
    alias: str
    messages: Sequence[Mapping[str, Any]]
    prompt_chars: int
    is_odd: bool = False


def parse_body(body: bytes, limits: LimitSettings) -> ChatBody:
    """Parse and check a raw chat-completions body.

    It refuses only what has no clear meaning or can't be routed. Whether a role is known, a value in range or a message
    empty is the upstream's to say.

    Raises:
        InvalidRequestError: the body is wrong. Its reason names the problem: INVALID_JSON, TOO_MANY_VALUES,
            JSON_TOO_DEEP, DUPLICATE_KEY, INVALID_PARAMETER, NO_MODEL, EMPTY_MESSAGES, INVALID_MESSAGE, UNKNOWN_ROLE or
            PROMPT_TOO_LONG.
    """
    fields = {name: value for name, value in decode_json(body, limits, "The request").items() if value is not None}
    alias, messages = fields.get("model", ""), fields.get("messages", [])
    if not isinstance(alias, str):
        _refuse("model must be a string.", "INVALID_PARAMETER", field="model")
    if not alias:
        _refuse("The request names no model.", "NO_MODEL", hint='Set "model" to an alias that the server routes.')
    if len(alias) > MAX_MODEL_CHARS:
        _refuse(f"model must have at most {MAX_MODEL_CHARS} characters.", "INVALID_PARAMETER", field="model")
    if not isinstance(messages, list):
        _refuse("messages must be a list of messages.", "INVALID_PARAMETER", field="messages")
    if not messages:
        _refuse("The request has no messages.", "EMPTY_MESSAGES", hint="Send at least one message.")
    is_odd = any(name in FIELDS and not FIELDS[name].check(value) for name, value in fields.items())
    prompt_chars = 0
    for position, message in enumerate(messages):
        _check_message(position, message)
        chars, is_known = _read_content(message.get("content"))
        prompt_chars += chars
        is_odd = is_odd or not is_known
    if prompt_chars > limits.prompt_chars:
        _refuse(
            f"The messages hold {prompt_chars} characters; the limit is {limits.prompt_chars}.",
            "PROMPT_TOO_LONG",
            hint="Shorten the conversation or raise limits.prompt_chars.",
        )
    return ChatBody(fields, alias, messages, prompt_chars, is_odd)


def is_long(body: bytes) -> bool:
    """Return whether reading and keying a body may take so long that the event loop shouldn't wait for it."""
    return len(body) > _LONG_BYTES


def check_values(body: bytes, limits: LimitSettings, what: str) -> None:
    """Check that a JSON text doesn't have more than `limits.values` values, without reading it.

    Each value but the first of its list or object follows a comma, and each list or object has a bracket. Only those
    outside of strings count.

    Args:
        body: the text.
        limits: the limit.
        what: what the text is, for the error: "The request".

    Raises:
        InvalidRequestError: TOO_MANY_VALUES.
    """
    # A value takes two bytes at least. Most long bodies have few commas even within their strings.
    if len(body) <= 2 * limits.values or _marks(body) <= limits.values:
        return
    plain = body.replace(rb"\\", b"").replace(rb"\"", b"")
    # A value has two strings at most: its name, and itself. So the split makes no more pieces than are allowed.
    if plain.count(b'"') > 4 * limits.values or _marks(b"".join(plain.split(b'"')[::2])) > limits.values:
        _refuse(
            f"{what} has more than {limits.values} JSON values.",
            "TOO_MANY_VALUES",
            hint="Send fewer messages, parts and fields, or raise limits.values.",
        )


def _marks(text: bytes) -> int:
    return text.count(b",") + text.count(b"[") + text.count(b"{")


def message_text(message: Mapping[str, Any]) -> str:
    """Return the text of a message, its text parts joined by newlines."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content or () if part["type"] == "text")


def decode_json(body: bytes, limits: LimitSettings, what: str) -> dict[str, Any]:
    """Return a JSON object that can be read in one way alone.

    Args:
        body: the text.
        limits: of its values and its depth.
        what: what the text is, for the error: "The request".

    Raises:
        InvalidRequestError: TOO_MANY_VALUES, INVALID_JSON, JSON_TOO_DEEP, DUPLICATE_KEY, or INVALID_PARAMETER for a
            number without end.
    """
    check_values(body, limits, what)
    depth_limit = limits.json_depth
    try:
        # A byte order mark is no JSON, but some editors and libraries write it, and it has no meaning.
        text = body.decode("utf-8-sig")
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
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
    if is_deeper(value, body, depth_limit):
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


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):  # Two such numbers would have one key.
        _refuse(f"The JSON holds the number {digits[:40]}, which is too large.", "INVALID_PARAMETER")
    return value


def _check_message(position: int, message: object) -> None:
    where = f"messages[{position}]"
    if not isinstance(message, dict):
        _refuse(f"{where} must be an object.", "INVALID_MESSAGE")
    role = message.get("role")
    if not isinstance(role, str) or not role:
        _refuse(f"{where} has no role.", "UNKNOWN_ROLE", hint="A role is a string, such as user.")


def _read_content(content: object) -> tuple[int, bool]:
    """Return the characters of a message's content, and whether its form is known: null, a string, or parts."""
    if isinstance(content, str):
        return len(content), True
    if content is None:
        return 0, True
    if not isinstance(content, list):
        return len(json.dumps(content)), False
    chars, is_known = 0, True
    for part in content:
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            chars += len(json.dumps(part))
            is_known = False
        elif part["type"] == "text":
            text = part.get("text")
            chars += len(text if isinstance(text, str) else json.dumps(text))
            is_known = is_known and isinstance(text, str)
    return chars, is_known


def _refuse(message: str, reason: str, *, hint: str = "", field: str = "") -> NoReturn:
    raise InvalidRequestError(message, reason=reason, hint=hint, metadata={"field": field} if field else None)
