"""Turn what LangChain looks up, a prompt and a model's parameters, into the chat completions body that semcache keys.

LangChain passes two strings:

- `prompt`: of a chat model the messages as LangChain's JSON, of a completion model the text itself.
- `llm_string`: the model with all parameters of the call.

In the body, the text of each message stands where OpenAI has it. So the semantic tier compares the last message if a
person wrote it, and the server's rules for wording, tools and turns see what they know. Whatever else LangChain passed
is part of a digest, in a field that semcache doesn't know. An unknown field is part of both of its keys: requests that
differ in it never share an answer. A digest, because a model's parameters may hold headers and addresses.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

FIELD = "langchain"
"""The field of bodies and messages that holds what OpenAI's format has no place for."""
VERSION = 1
"""Of this translation. Answers of another version are never found."""

_ROLES: Mapping[str, str] = {
    "AIMessage": "assistant",
    "AIMessageChunk": "assistant",
    "FunctionMessage": "function",
    "FunctionMessageChunk": "function",
    "HumanMessage": "user",
    "HumanMessageChunk": "user",
    "SystemMessage": "system",
    "SystemMessageChunk": "system",
    "ToolMessage": "tool",
    "ToolMessageChunk": "tool",
}
_SPEAKERS = frozenset({"ChatMessage", "ChatMessageChunk"})
"""Classes that name their role themselves."""
_NO_INFLUENCE = frozenset({"usage_metadata"})
"""What no model is ever sent. LangChain notes a cost of 0 there when an answer comes from a cache, so a conversation
after a hit would have other keys than the same one after a miss."""


def request_body(prompt: str, llm_string: str, model: str) -> bytes:
    """Return the chat completions body that stands for a lookup.

    Args:
        prompt: as LangChain passes it.
        llm_string: as LangChain passes it.
        model: the alias under which semcache counts the request; it needs no route.
    """
    form, messages = _messages(prompt)
    known = {"version": VERSION, "form": form, "llm": _digest(llm_string)}
    return json.dumps({"model": model, "messages": messages, FIELD: known}, separators=(",", ":")).encode()


def _messages(prompt: str) -> tuple[str, list[dict[str, Any]]]:
    """Return the name of the prompt's form, and its messages in OpenAI's."""
    try:
        value = json.loads(prompt)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, list) or not value or not all(_is_constructed(item) for item in value):
        return "text", [{"role": "user", "content": prompt}]
    messages = [_message(item) for item in value]
    known = [message for message in messages if message is not None]
    if len(known) == len(messages):
        return "messages", known
    # Without a text to compare, semcache serves equal requests alone.
    return "unknown", [{"role": "user", "content": "", FIELD: _digest(prompt)}]


def _is_constructed(item: object) -> bool:
    """Whether a value of JSON is an object of a class, as LangChain writes it."""
    return (
        isinstance(item, dict)
        and item.get("lc") == 1
        and item.get("type") == "constructor"
        and isinstance(item.get("id"), list)
        and bool(item["id"])
        and isinstance(item.get("kwargs"), dict)
    )


def _message(item: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a message in OpenAI's form; None for a class whose meaning isn't known here."""
    name, kwargs = item["id"][-1], item["kwargs"]
    role = kwargs.get("role") if name in _SPEAKERS else _ROLES.get(name)
    if not isinstance(role, str) or not role:
        return None
    content = kwargs.get("content")
    shown: str | list[dict[str, Any]]
    beside: list[object] = []
    if isinstance(content, str):
        shown = content
    elif isinstance(content, list):
        parts = [_part(part) for part in content]
        shown, beside = [part for part, _ in parts], [rest for _, rest in parts]
    else:
        return None
    rest = {key: value for key, value in kwargs.items() if key not in _NO_INFLUENCE | {"content"}}
    return {"role": role, "content": shown, FIELD: _digest(_canonical([item["id"], rest, beside]))}


def _part(part: object) -> tuple[dict[str, Any], object]:
    """Return a part of a message's content in OpenAI's form, and what it has beside its text.

    What isn't text stands as an image. semcache serves a conversation with an image to an equal one alone, whatever the
    image is; an audio or a file would keep it from the cache. Its digest stands for its content, which isn't sent.
    """
    if isinstance(part, str):
        return {"type": "text", "text": part}, "string"
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}, {key: value for key, value in part.items() if key != "text"}
    digest = _digest(_canonical(part))
    return {"type": "image_url", "image_url": {"url": f"urn:sha256:{digest}"}}, digest


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
