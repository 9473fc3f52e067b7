"""Anthropic's messages: https://platform.claude.com/docs/en/api/messages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from semcache.request.fields import (
    Field,
    Role,
    either,
    end_user,
    ignored,
    is_integer,
    is_list,
    is_number,
    is_object,
    is_string,
    is_strings,
    partition,
)
from semcache.request.forms.form import BodyForm, Conversation, Demands, Wishes, part_types, read_content, read_messages
from semcache.request.wishes import output_limit, wants_web_search

_OWN_WORDS = frozenset({"text", "thinking", "redacted_thinking", "compaction"})
"""Blocks of what was said in the conversation itself. All but texts are the model's, in earlier turns."""
_OF_TOOLS = frozenset({"tool_use", "tool_result"})
_MEDIA = frozenset({"image", "document", "search_result"})
_FILES = frozenset({"container_upload"})
"""Blocks that name a file in a container, which the provider keeps and tools change."""
_OF_SERVER_TOOLS = re.compile(r"(?:server|mcp)_tool_use|\w+_tool_result")
"""Blocks of the tools that the provider has run."""
_TOOLS_OF_THE_CALLER = ("bash_", "text_editor_", "computer_", "browser_", "memory_")
"""How the types of the tools begin that Anthropic defines and the caller runs; `custom` ones are the caller's, too."""


def _counted(content: object) -> object:
    """Return what counts of a content, a system prompt or a list of tools.

    It has no `cache_control`, which is about the provider's prompt cache, and no field that is null. One block of text
    is that text, as the API says.
    """
    if not isinstance(content, list):
        return content
    blocks = [_counted_block(block) for block in content]
    only = blocks[0] if len(blocks) == 1 else None
    if isinstance(only, dict) and only.keys() == {"type", "text"} and isinstance(only["text"], str):
        return only["text"]
    return blocks


def _counted_block(block: object) -> object:
    if not isinstance(block, dict):
        return block
    counted = {name: value for name, value in block.items() if value is not None and name != "cache_control"}
    if counted.get("type") == "tool_result" and "content" in counted:
        counted["content"] = _counted(counted["content"])
    return counted


def _is_system(value: object) -> bool:
    """Whether a JSON value is a system prompt: a string, or a list of blocks of text."""
    if isinstance(value, str):
        return True
    return isinstance(value, list) and all(
        isinstance(block, dict) and block.get("type") == "text" and isinstance(block.get("text"), str)
        for block in value
    )


def _is_objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


FIELDS: Mapping[str, Field] = {
    "messages": Field(Role.KEY, is_list),
    "model": partition(is_string),
    # Instructions beside the messages.
    "system": partition(_is_system, _counted),
    "tools": partition(_is_objects, _counted),
    "tool_choice": partition(is_object),
    "output_config": partition(is_object),
    "output_format": partition(is_object),
    "thinking": partition(is_object),
    "context_management": partition(is_object),
    "compaction": partition(is_object),
    "fallbacks": partition(either(is_string, _is_objects)),
    "thread": partition(is_object),
    "mcp_servers": partition(_is_objects),
    "container": partition(either(is_string, is_object)),
    # Sampling, length and how the answer is computed.
    "max_tokens": partition(is_integer),
    "stop_sequences": partition(is_strings),
    "temperature": partition(is_number),
    "top_k": partition(is_integer),
    "top_p": partition(is_number),
    "speed": partition(is_string),
    # Where the answer is computed. Who asks for a region wants no answer from another.
    "inference_geo": partition(is_string),
    # Who asks, of the caller's own users. The end user that `metadata` names counts as one, too.
    "user_profile_id": end_user(),
    # Who pays, and questions about the provider's prompt cache: whoever sends them wants the provider's own word.
    "billing_policy": partition(is_object),
    "fallback_credit_token": partition(either(is_string, is_object)),
    "diagnostics": partition(is_object),
    # Bookkeeping between the caller and the provider, without effect on the answer.
    "metadata": ignored(),
    "service_tier": ignored(),
    "cache_control": ignored(),
    # How the answer is sent: plain and streamed requests share one cache.
    "stream": ignored(),
}


def _read(fields: Mapping[str, Any]) -> Conversation:
    conversation = read_messages(fields.get("messages", []))
    messages = [
        {**message, "content": _counted(message["content"])} if "content" in message else message
        for message in conversation.messages
    ]
    chars = conversation.chars + read_content(fields.get("system"))[0] + sum(map(_result_chars, messages))
    return Conversation(messages, chars, conversation.is_odd)


def _result_chars(message: Mapping[str, Any]) -> int:
    """Return the characters of a message's results of tools."""
    content = message.get("content")
    return sum(
        read_content(block.get("content"))[0]
        for block in (content if isinstance(content, list) else ())
        if isinstance(block, dict) and block.get("type") == "tool_result"
    )


def _wishes(fields: Mapping[str, Any]) -> Wishes:
    return Wishes(output_limit(fields, ("max_tokens",)))


def _demands(fields: Mapping[str, Any], conversation: Conversation) -> Demands:
    types = part_types(conversation.messages)
    must_call_tools = fields.get("tool_choice", {}).get("type", "auto") not in ("auto", "none")
    exact_alone = ""
    if must_call_tools or types & _OF_TOOLS:
        exact_alone = "tool_calls"
    elif types & _MEDIA:
        exact_alone = "images"
    return Demands(
        no_tier=_no_tier(fields, types - _OWN_WORDS - _OF_TOOLS - _MEDIA),
        # What a tool or an image says is compared by no model of texts, so only an equal conversation is the same.
        exact_alone=exact_alone,
        must_call_tools=must_call_tools,
        temperature=fields.get("temperature", 0),
    )


def _no_tier(fields: Mapping[str, Any], odd_blocks: frozenset[str]) -> str:
    # A tool of the caller may have any name, so what `wants_web_search` reads in names doesn't hold for them.
    kinds = [kind for tool in fields.get("tools", ()) if (kind := _server_tool(tool))]
    beside_tools = {name: value for name, value in fields.items() if name != "tools"}
    if any(kind.startswith("web_") for kind in kinds) or wants_web_search(beside_tools):
        return "web_search"
    if kinds or fields.get("mcp_servers") or any(map(_OF_SERVER_TOOLS.fullmatch, odd_blocks)):
        return "server_tools"
    if "container" in fields or "thread" in fields or odd_blocks & _FILES:
        return "kept_elsewhere"
    return "not_text" if odd_blocks else ""


def _server_tool(tool: Mapping[str, Any]) -> str:
    """Return the type of a tool that the provider runs; empty for a tool of the caller."""
    kind = tool.get("type") or "custom"
    return "" if kind == "custom" or str(kind).startswith(_TOOLS_OF_THE_CALLER) else str(kind)


FORM = BodyForm(FIELDS, frozenset({"output_config", "output_format"}), _read, _wishes, _demands)
