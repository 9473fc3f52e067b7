"""Parse and check the body of a request, whatever its protocol."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from semcache.model import ApiProtocol, is_deeper
from semcache.request.forms import FORMS, BodyForm, Demands, Wishes
from semcache.request.forms.form import refuse
from semcache.settings import LimitSettings

MAX_MODEL_CHARS = 256
"""Longest model name that is accepted, longer than any real one: each ledger line holds the name."""
_LONG_BYTES = 1_024
"""Bytes of a body beyond which reading and keying it may take over two milliseconds."""


@dataclass(frozen=True, slots=True)
class ParsedBody:
    """A parsed body.

    Attributes:
        form: how its protocol is read.
        fields: every field that is set, including the messages and the ignored fields.
        alias: the model that is asked for.
        messages: objects with a role each (`forms.form.Conversation`).
        prompt_chars: characters of all messages.
        wishes: what it asks of the size and the form of its answer.
        demands: what decides about its tiers; an odd body has none.
        is_odd: whether a value has a form whose meaning semcache doesn't know. Such a body may be forwarded, but only
            its `alias` and its keys may be relied on.
    """

    form: BodyForm
    fields: Mapping[str, Any]
    alias: str
    messages: Sequence[Mapping[str, Any]]
    prompt_chars: int
    wishes: Wishes
    demands: Demands
    is_odd: bool = False


def parse_body(body: bytes, limits: LimitSettings, protocol: ApiProtocol = ApiProtocol.CHAT) -> ParsedBody:
    """Parse and check a raw body.

    It refuses only what has no clear meaning or can't be routed. Whether a role is known, a value in range or a message
    empty is the upstream's to say.

    Raises:
        InvalidRequestError: the body is wrong. Its reason names the problem: INVALID_JSON, TOO_MANY_VALUES,
            JSON_TOO_DEEP, DUPLICATE_KEY, INVALID_PARAMETER, NO_MODEL, EMPTY_MESSAGES, INVALID_MESSAGE, UNKNOWN_ROLE or
            PROMPT_TOO_LONG.
    """
    form = FORMS[protocol]
    fields = {name: value for name, value in decode_json(body, limits, "The request").items() if value is not None}
    alias = fields.get("model", "")
    if not isinstance(alias, str):
        refuse("model must be a string.", "INVALID_PARAMETER", field="model")
    if not alias:
        refuse("The request names no model.", "NO_MODEL", hint='Set "model" to an alias that the server routes.')
    if len(alias) > MAX_MODEL_CHARS:
        refuse(f"model must have at most {MAX_MODEL_CHARS} characters.", "INVALID_PARAMETER", field="model")
    conversation = form.read(fields)
    if conversation.chars > limits.prompt_chars:
        refuse(
            f"The messages hold {conversation.chars} characters; the limit is {limits.prompt_chars}.",
            "PROMPT_TOO_LONG",
            hint="Shorten the conversation or raise limits.prompt_chars.",
        )
    is_odd = conversation.is_odd or any(
        name in form.fields and not form.fields[name].check(value) for name, value in fields.items()
    )
    demands = Demands() if is_odd else form.demands(fields, conversation)
    return ParsedBody(
        form, fields, alias, conversation.messages, conversation.chars, form.wishes(fields), demands, is_odd
    )


def is_long(body: bytes) -> bool:
    """Return whether reading and keying a body may take so long that the event loop shouldn't wait for it."""
    return len(body) > _LONG_BYTES


def check_values(body: bytes, limits: LimitSettings, what: str) -> None:
    """Check that a JSON text doesn't have more than `limits.values` values, without reading it.

    Args:
        body: the text.
        limits: the limit.
        what: what the text is, for the error: "The request".

    Raises:
        InvalidRequestError: TOO_MANY_VALUES.
    """
    if has_more_values(body, limits.values):
        refuse(
            f"{what} has more than {limits.values} JSON values.",
            "TOO_MANY_VALUES",
            hint="Send fewer messages, parts and fields, or raise limits.values.",
        )


def has_more_values(text: bytes, most: int) -> bool:
    """Return whether a JSON text has more than `most` values, without reading it.

    Each value but the first of its list or object follows a comma, and each list or object has a bracket. Only those
    outside of strings count.
    """
    # A value takes two bytes at least. Most long texts have few commas even within their strings.
    if len(text) <= 2 * most or _marks(text) <= most:
        return False
    plain = text.replace(rb"\\", b"").replace(rb"\"", b"")
    # A value has two strings at most: its name, and itself. So the split makes no more pieces than are allowed.
    return plain.count(b'"') > 4 * most or _marks(b"".join(plain.split(b'"')[::2])) > most


def _marks(text: bytes) -> int:
    return text.count(b",") + text.count(b"[") + text.count(b"{")


def message_text(message: Mapping[str, Any]) -> str:
    """Return the text of a message, its text parts joined by newlines."""
    return "\n".join(texts_of(message))


def texts_of(message: Mapping[str, Any]) -> list[str]:
    """Return the texts of a message that isn't odd: its content, or its text parts."""
    content = message.get("content")
    if isinstance(content, str):
        return [content]
    return [part["text"] for part in content or () if part["type"] == "text"]


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
        refuse("The body is not UTF-8.", "INVALID_JSON")
    except RecursionError:
        refuse(f"The JSON is nested deeper than {depth_limit} levels.", "JSON_TOO_DEEP")
    except json.JSONDecodeError as error:
        refuse(f"The body is not JSON: {error.msg} at byte {error.pos}.", "INVALID_JSON")
    except ValueError:
        refuse("The JSON holds an integer of thousands of digits.", "INVALID_JSON")
    if not isinstance(value, dict):
        refuse("The body must be a JSON object.", "INVALID_JSON")
    if is_deeper(value, body, depth_limit):
        refuse(f"The JSON is nested deeper than {depth_limit} levels.", "JSON_TOO_DEEP")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Two parsers may disagree about which of two equal keys counts. Then the cache would store the upstream's answer
    # under another question.
    value = dict(pairs)
    if len(value) != len(pairs):
        refuse("The JSON names a key twice in one object.", "DUPLICATE_KEY")
    return value


def _no_constant(name: str) -> NoReturn:
    refuse(f"The JSON holds {name}, which is no JSON number.", "INVALID_JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):  # Two such numbers would have one key.
        refuse(f"The JSON holds the number {digits[:40]}, which is too large.", "INVALID_PARAMETER")
    return value
