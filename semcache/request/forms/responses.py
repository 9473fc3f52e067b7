"""OpenAI's responses: https://platform.openai.com/docs/api-reference/responses/create."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from semcache.request.fields import (
    Field,
    Role,
    either,
    end_user,
    ignored,
    is_boolean,
    is_integer,
    is_list,
    is_number,
    is_object,
    is_string,
    is_strings,
    partition,
)
from semcache.request.forms.form import (
    BodyForm,
    Conversation,
    Demands,
    Wishes,
    part_types,
    read_content,
    refuse,
)
from semcache.request.wishes import output_limit, wants_web_search

FIELDS: Mapping[str, Field] = {
    "input": Field(Role.KEY, either(is_string, is_list)),
    "model": partition(is_string),
    # Instructions beside the input.
    "instructions": partition(is_string),
    "tools": partition(is_list),
    "tool_choice": partition(either(is_string, is_object)),
    "parallel_tool_calls": partition(is_boolean),
    "max_tool_calls": partition(is_integer),
    "text": partition(is_object),
    "include": partition(is_strings),
    # What the provider keeps of earlier turns, or of a prompt.
    "previous_response_id": partition(is_string),
    "conversation": partition(either(is_string, is_object)),
    "prompt": partition(is_object),
    # A response that isn't kept can't be continued by its id, so it must not answer a request whose response is.
    "store": partition(is_boolean),
    # Sampling, length, and how the model works.
    "temperature": partition(is_number),
    "top_p": partition(is_number),
    "top_logprobs": partition(is_integer),
    "max_output_tokens": partition(is_integer),
    "reasoning": partition(is_object),
    "truncation": partition(is_string),
    "context_management": partition(is_list),
    "image": partition(is_object),
    "moderation": partition(is_object),
    "access_programs": partition(is_object),
    "background": partition(is_boolean),
    "background_options": partition(is_object),
    # `prewarm` prepares the prompt cache and generates nothing.
    "prompt_cache_options": partition(is_object),
    # Who asks, of the caller's own users.
    "user": end_user(),
    "safety_identifier": end_user(),
    # Bookkeeping between the caller and the provider, without effect on the answer. An end user that `metadata` names
    # counts as one that `user` names.
    "metadata": ignored(),
    "service_tier": ignored(),
    "prompt_cache_key": ignored(),
    "prompt_cache_retention": ignored(),
    # How the answer is sent: plain and streamed requests share one cache.
    "stream": ignored(),
    "stream_options": ignored(),
}

_TEXT_PARTS = {"assistant": "output_text"}
"""The type of a text part by role; that of any other role is `input_text`."""
_ABOUT_THE_CACHE = "prompt_cache_breakpoint"
"""A field of parts that is about the provider's prompt cache alone."""
_COMPARABLE_PARTS = frozenset({"text", "refusal"})
_IMAGE_PARTS = frozenset({"input_image", "input_file"})
_OF_A_ROLE = frozenset({"refusal", *_IMAGE_PARTS, "input_audio"})
"""Types of parts, beside text, that keep their name. A part of any other type is kept within one of the type `other`,
so that it is never taken for text."""

_CALLS = frozenset(
    f"{kind}_call"
    for kind in (
        "apply_patch",
        "code_interpreter",
        "computer",
        "custom_tool",
        "file_search",
        "function",
        "image_generation",
        "local_shell",
        "mcp",
        "shell",
        "tool_search",
        "web_search",
    )
) | {"mcp_list_tools", "mcp_approval_request", "program"}
_OUTPUTS = frozenset(
    f"{kind}_call_output" for kind in ("apply_patch", "computer", "custom_tool", "function", "local_shell", "shell")
) | {"mcp_approval_response", "program_output", "tool_search_output"}
_REFERENCE = "item_reference"
_MORE_TOOLS = "additional_tools"
_ROLES: Mapping[str, str] = {
    **dict.fromkeys((*_CALLS, "reasoning", "compaction", _REFERENCE), "assistant"),
    **dict.fromkeys(_OUTPUTS, "tool"),
    _MORE_TOOLS: "developer",
}
"""Whose turn an item is that isn't a message, by its type. Of an item of another type the meaning isn't known."""
_NO_TEXT = frozenset(
    {"id", "type", "status", "call_id", "image_url", "file_data", "encrypted_content", "result", "fingerprint"}
)
"""Fields of items that hold no text that a model reads as such: names, images, and what only the provider can read."""

_CALLERS_TOOLS = frozenset(
    {"function", "custom", "computer", "computer_use_preview", "local_shell", "apply_patch", "tool_search"}
)
"""Tools that the caller runs, so that the request has all that their results say; `tool_search` searches its tools."""


@dataclass(frozen=True, slots=True)
class _InputItem:
    """One item of the input as a message: its message, the characters of its texts, and whether its form is known."""

    message: Mapping[str, Any]
    chars: int
    is_known: bool = True


def _read(fields: Mapping[str, Any]) -> Conversation:
    """Return the conversation: a text is one user message; an item that is no message is the field `item` of one.

    Such a message has no field `content`, which every other one has. The input may be missing where what was said
    before is kept at the provider.

    Raises:
        InvalidRequestError: INVALID_PARAMETER, EMPTY_MESSAGES, INVALID_MESSAGE, UNKNOWN_ROLE.
    """
    items = _items(fields)
    messages = [item.message for item in items]
    instructions = fields.get("instructions")
    chars = sum(item.chars for item in items) + (len(instructions) if isinstance(instructions, str) else 0)
    return Conversation(messages, chars, not all(item.is_known for item in items))


def _items(fields: Mapping[str, Any]) -> Sequence[_InputItem]:
    value = fields.get("input", [])
    if isinstance(value, str):
        return [_InputItem({"role": "user", "content": value}, len(value))]
    if not isinstance(value, list):
        refuse("input must be a text or a list of items.", "INVALID_PARAMETER", field="input")
    if value:
        return [_item(f"input[{position}]", item) for position, item in enumerate(value)]
    if not any(fields.get(name) for name in ("prompt", "conversation", "previous_response_id")):
        refuse("The request has no input.", "EMPTY_MESSAGES", hint="Send a text or at least one item.", field="input")
    return [_InputItem({"role": "developer", "content": None}, 0)]


def _item(where: str, item: object) -> _InputItem:
    if not isinstance(item, dict):
        refuse(f"{where} must be an object.", "INVALID_MESSAGE")
    kind = item.get("type")
    if kind is None:
        # Only a message has a role, and a reference may leave its type out.
        kind = _REFERENCE if "role" not in item and isinstance(item.get("id"), str) else "message"
    if kind == "message":
        return _message(where, item)
    role = _ROLES.get(kind) if isinstance(kind, str) else None
    return _InputItem({"role": role or "tool", "item": {**item, "type": kind}}, _chars(item), role is not None)


def _message(where: str, item: Mapping[str, Any]) -> _InputItem:
    role = item.get("role")
    if not isinstance(role, str) or not role:
        refuse(f"{where} has no role.", "UNKNOWN_ROLE", hint="A role is a string, such as user.")
    content = item.get("content")
    if isinstance(content, list):
        content = [_part(part, _TEXT_PARTS.get(role, "input_text")) for part in content]
    chars, is_known = read_content(content)
    rest = {name: value for name, value in item.items() if name not in {"type", "content"}}
    return _InputItem({**rest, "content": content}, chars, is_known)


def _part(part: object, text_type: str) -> object:
    """Return a part under the name that parts of its kind have in every protocol; no two parts become one."""
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        return part
    kind = part["type"]
    if kind == text_type:
        rest = {name: value for name, value in part.items() if name != _ABOUT_THE_CACHE}
        return {**rest, "type": "text"}
    return part if kind in _OF_A_ROLE else {"type": "other", "part": part}


def _chars(value: object) -> int:
    """Return the characters of all texts of an item."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list):
        return sum(_chars(item) for item in value)
    if isinstance(value, dict):
        return sum(_chars(item) for name, item in value.items() if name not in _NO_TEXT)
    return 0


def _wishes(fields: Mapping[str, Any]) -> Wishes:
    return Wishes(output_limit(fields, ("max_output_tokens",)))


def _demands(fields: Mapping[str, Any], conversation: Conversation) -> Demands:
    items = [message["item"] for message in conversation.messages if "content" not in message]
    beside_text = part_types(conversation.messages) - _COMPARABLE_PARTS
    must_call_tools = _must_call(fields.get("tool_choice", "auto"))
    return Demands(
        no_tier=_no_tier(fields, items, beside_text - _IMAGE_PARTS),
        exact_alone=_exact_alone(fields, items, beside_text, must_call_tools=must_call_tools),
        must_call_tools=must_call_tools,
        temperature=fields.get("temperature", 0),
    )


def _no_tier(fields: Mapping[str, Any], items: Sequence[Mapping[str, Any]], odd_parts: frozenset[str]) -> str:
    if fields.get("background"):
        return "background"
    # Both may change at the provider while their names stay.
    if fields.get("conversation") or fields.get("prompt"):
        return "kept_elsewhere"
    if fields.get("top_logprobs") or "message.output_text.logprobs" in fields.get("include", ()):
        return "logprobs"
    if odd_parts:
        return "not_text"
    if wants_web_search(fields):
        return "web_search"
    more_tools = [item.get("tools") for item in items if item["type"] == _MORE_TOOLS]
    if any(not _are_callers(tools) for tools in (fields.get("tools", []), *more_tools)):
        return "server_tools"
    return "server_tools" if any(item["type"] == "mcp_approval_response" for item in items) else ""


def _exact_alone(
    fields: Mapping[str, Any],
    items: Iterable[Mapping[str, Any]],
    beside_text: frozenset[str],
    *,
    must_call_tools: bool,
) -> str:
    types = {item["type"] for item in items}
    # A response and an item never change under their id, but nobody here knows what they say.
    if fields.get("previous_response_id") or _REFERENCE in types:
        return "continues_elsewhere"
    if must_call_tools or types & (_CALLS | _OUTPUTS):
        return "tool_calls"
    if beside_text:
        return "images"
    return "moderation" if fields.get("moderation") else ""


def _are_callers(tools: object) -> bool:
    """Return whether the caller runs all of these tools, so that no answer rests on what isn't in the request."""
    if not isinstance(tools, list):
        return False
    return all(isinstance(tool, dict) and _is_callers(tool) for tool in tools)


def _is_callers(tool: Mapping[str, Any]) -> bool:
    kind = tool.get("type")
    if kind == "namespace":
        return _are_callers(tool.get("tools"))
    if kind == "shell":  # It runs at the caller's or in a container of the provider.
        environment = tool.get("environment")
        return isinstance(environment, dict) and environment.get("type") == "local"
    return isinstance(kind, str) and kind in _CALLERS_TOOLS


def _must_call(choice: str | Mapping[str, Any]) -> bool:
    if isinstance(choice, str):
        return choice not in {"auto", "none"}
    return not (choice.get("type") == "allowed_tools" and choice.get("mode") == "auto")


FORM = BodyForm(FIELDS, frozenset({"text"}), _read, _wishes, _demands)
