"""What each protocol says of its requests, so that keys and rules need to know none of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from semcache.errors import InvalidRequestError
from semcache.request.fields import Field


@dataclass(frozen=True, slots=True)
class Demands:
    """What decides about the tiers that a request may use, beside the text that is compared.

    Attributes:
        no_tier: why it may use no tier whatever the settings are, a stable token of `NO_TIER`; empty when it may.
        exact_alone: why it may use the exact tier alone, a stable token of `EXACT_ALONE`; empty when nothing says so.
        must_call_tools: whether it demands an answer that calls a tool.
        temperature: of the sampling; 0 where it isn't set.
        is_function: whether the answer is a function of the request, so that no wording makes it unrepeatable.
    """

    no_tier: str = ""
    exact_alone: str = ""
    must_call_tools: bool = False
    temperature: float = 0.0
    is_function: bool = False


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a request asks of the size and the form of its answer. A value of an odd type or size counts as unset.

    Attributes:
        output_limit: the caller's own limit on output tokens; None when unset.
        include_usage: whether a streaming caller wants the chunk that tells the usage alone.
        choices: how many answers the caller wants at once.
    """

    output_limit: int | None = None
    include_usage: bool = True
    choices: int = 1


NO_TIER = ("several_choices", "logprobs", "not_text", "web_search", "server_tools", "kept_elsewhere", "background")
"""Why a request may use no tier, as far as its protocol's form says it."""
EXACT_ALONE = ("tool_calls", "images", "embeddings", "moderation", "continues_elsewhere")
"""Why a request may use the exact tier alone, as far as its protocol's form says it."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a body's messages say.

    Attributes:
        messages: objects with a `role` each, the last one of which may be compared by meaning. A content is null, a
            string, or a list of parts, in which a part of type "text" has a `text`.
        chars: characters of everything that a model reads of them.
        is_odd: whether a value has a form whose meaning semcache doesn't know.
    """

    messages: Sequence[Mapping[str, Any]]
    chars: int
    is_odd: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class BodyForm:
    """How the requests of one protocol are read; there is one object of each.

    Attributes:
        fields: the table of its fields.
        with_schemas: known fields that hold a schema of the answer, in which the order of properties counts.
        read: returns the conversation of a body's fields; raises InvalidRequestError where they are none.
        wishes: returns what any fields ask for.
        demands: returns what decides about the tiers; neither the fields nor the conversation are odd.
    """

    fields: Mapping[str, Field]
    with_schemas: frozenset[str]
    read: Callable[[Mapping[str, Any]], Conversation]
    wishes: Callable[[Mapping[str, Any]], Wishes]
    demands: Callable[[Mapping[str, Any], Conversation], Demands]


def read_messages(messages: object) -> Conversation:
    """Return the conversation of a field `messages`.

    Raises:
        InvalidRequestError: INVALID_PARAMETER, EMPTY_MESSAGES, INVALID_MESSAGE, UNKNOWN_ROLE.
    """
    if not isinstance(messages, list):
        refuse("messages must be a list of messages.", "INVALID_PARAMETER", field="messages")
    if not messages:
        refuse("The request has no messages.", "EMPTY_MESSAGES", hint="Send at least one message.")
    total, is_odd = 0, False
    for position, message in enumerate(messages):
        _check_message(position, message)
        chars, is_known = read_content(message.get("content"))
        total += chars
        is_odd = is_odd or not is_known
    return Conversation(messages, total, is_odd)


def read_content(content: object) -> tuple[int, bool]:
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


def part_types(messages: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """Return the types of all parts of a conversation that isn't odd."""
    return frozenset(
        part["type"] for message in messages if isinstance(message.get("content"), list) for part in message["content"]
    )


def refuse(message: str, reason: str, *, hint: str = "", field: str = "") -> NoReturn:
    """Raise the InvalidRequestError of a body; `field` names the field that is wrong."""
    raise InvalidRequestError(message, reason=reason, hint=hint, metadata={"field": field} if field else None)


def _check_message(position: int, message: object) -> None:
    where = f"messages[{position}]"
    if not isinstance(message, dict):
        refuse(f"{where} must be an object.", "INVALID_MESSAGE")
    role = message.get("role")
    if not isinstance(role, str) or not role:
        refuse(f"{where} has no role.", "UNKNOWN_ROLE", hint="A role is a string, such as user.")
