"""Reads conversations as programs write them: lists of messages, ShareGPT's turns, text with ChatML's markup."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from semcache.evaluation.records.markup import CHATML, begins_with_markup
from semcache.evaluation.records.record import refuse, skip

ChatMessage = Mapping[str, Any]
_ROLES = {
    "human": "user",
    "prompter": "user",
    "ai": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "chatgpt": "assistant",
    "gpt": "assistant",
    "model": "assistant",
}
"""Other programs' words for the roles of the OpenAI API, which stand for themselves."""
_TYPES = frozenset({"human", "ai", "system"})
"""The types of LangChain's messages, which have no role."""
_TEXT_PARTS = frozenset({"text", "input_text", "output_text"})
"""The types of parts that hold text: OpenAI's Responses have names of their own for them."""
_SAID = frozenset({"content", "value", "tool_calls", "function_call"})
_TURN = re.compile(r"<\|im_start\|>[ \t]*(\w+)[^\S\n]*\n?(.*?)(?:<\|im_end\|>\s*|\Z)", re.DOTALL)


def is_message(value: Any) -> bool:
    """Return whether a value has a role and something said, under any of the names that programs give them."""
    return isinstance(value, dict) and _role(value) is not None and bool(_SAID & value.keys())


def is_role(value: Any) -> bool:
    """Return whether a value is a role of the OpenAI API, or another program's word for one."""
    return isinstance(value, str) and value.casefold() in {*_ROLES, *_ROLES.values(), "system", "developer", "tool"}


def read_message(item: Mapping[str, Any]) -> ChatMessage:
    """Return a message with the OpenAI API's role; whatever else an OpenAI message has is kept."""
    content = item.get("content", item.get("value"))
    if isinstance(content, list):
        content = [{**part, "type": "text"} if _is_text(part) else part for part in content]
    return {**(item if "role" in item else {}), "role": _role(item), "content": content}


def read_messages(where: str, field: str, value: Any) -> list[ChatMessage]:
    """Return the request that a conversation ends with: its messages without the assistant's answer at the end.

    Args:
        where: the file and the line, for messages.
        field: the field of the record, for messages.
        value: a text, which is a user's message, or a list of messages.

    Raises:
        EmptyRecordError: nothing is asked.
        InvalidRequestError: BAD_FILE: it is neither a text nor a list of messages.
    """
    if isinstance(value, str):
        messages = messages_of_text(where, field, value)
    elif isinstance(value, list) and all(map(is_message, value)):
        messages = [read_message(item) for item in value]
    else:
        hint = "Write a text, or a list of messages with role and content."
        refuse(where, f"has a {field} that is neither a text nor a list of messages", hint)
    while messages and messages[-1]["role"] == "assistant":
        messages.pop()
    if not messages or (messages[-1]["role"] == "user" and _says_nothing(messages[-1]["content"])):
        skip(where, f"has no prompt, because nothing is asked in its {field}", "Fill it, or leave the record out.")
    return messages


def messages_of_text(where: str, field: str, text: str) -> list[ChatMessage]:
    """Return the messages of a text with ChatML's markup; a text without markup is one message of a user.

    Raises:
        InvalidRequestError: BAD_FILE: the text begins with the markup of another chat template.
    """
    if text.lstrip().startswith(CHATML):
        turns = list(_TURN.finditer(text.strip()))
        if "".join(turn[0] for turn in turns) == text.strip():
            return [read_message({"role": turn[1], "content": turn[2].strip()}) for turn in turns]
    markup = begins_with_markup(text)
    if markup:
        hint = 'Write the conversation as a list: {"messages": [{"role": "user", "content": "…"}]}.'
        refuse(where, f"has the markup of a chat template in {field} ({markup})", hint)
    return [{"role": "user", "content": text}]


def text_of(message: ChatMessage) -> str | None:
    """Return a message's text, its text parts joined by line feeds; None if it has other parts or no text."""
    content = message["content"]
    if isinstance(content, list):
        texts = [part.get("text") if isinstance(part, dict) else None for part in content]
        if not all(isinstance(text, str) for text in texts):
            return None
        content = "\n".join(map(str, texts))
    return content if isinstance(content, str) and content.strip() else None


def is_empty(value: Any) -> bool:
    """Return whether a value of a field says nothing: null, blank, or an empty list or object, also in quotes."""
    if isinstance(value, str):
        return value.strip() in {"", "{}", "[]", "null"}
    return value is None or (isinstance(value, list | dict) and not value)


def with_system(messages: Sequence[ChatMessage], system: str) -> list[ChatMessage]:
    """Return the messages after the system's instructions, unless these are missing or the messages begin with some."""
    if not system.strip() or messages[0]["role"] in {"system", "developer"}:
        return list(messages)
    return [{"role": "system", "content": system}, *messages]


def with_instructions(messages: Sequence[ChatMessage], instructions: str) -> list[ChatMessage]:
    """Return the messages after a Responses request's instructions, which hold beside a developer's own message."""
    if not instructions.strip() or messages[0].get("content") == instructions:
        return list(messages)
    return [{"role": "system", "content": instructions}, *messages]


def _role(item: Mapping[str, Any]) -> str | None:
    role = item.get("role", item.get("from"))
    if role is None and str(item.get("type")) in _TYPES:
        role = item["type"]
    return _ROLES.get(role.casefold(), role) if isinstance(role, str) else None


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and str(part.get("type")) in _TEXT_PARTS and isinstance(part.get("text"), str)


def _says_nothing(content: Any) -> bool:
    return not content or (isinstance(content, str) and not content.strip())
