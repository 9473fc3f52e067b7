"""OpenAI's chat completions: https://platform.openai.com/docs/api-reference/chat/create."""

from __future__ import annotations

from collections.abc import Mapping
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
from semcache.request.forms.form import BodyForm, Conversation, Demands, Wishes, part_types, read_messages
from semcache.request.wishes import choices, output_limit, wants_usage, wants_web_search

_COMPARABLE_PARTS = frozenset({"text", "refusal"})
_IMAGE_PARTS = frozenset({"image_url"})

FIELDS: Mapping[str, Field] = {
    "messages": Field(Role.KEY, is_list),
    "model": partition(is_string),
    # Instructions beside the messages.
    "tools": partition(is_list),
    "tool_choice": partition(either(is_string, is_object)),
    "parallel_tool_calls": partition(is_boolean),
    "functions": partition(is_list),
    "function_call": partition(either(is_string, is_object)),
    "response_format": partition(is_object),
    "prediction": partition(is_object),
    "web_search_options": partition(is_object),
    # Sampling and length.
    "temperature": partition(is_number),
    "top_p": partition(is_number),
    "max_tokens": partition(is_integer),
    "max_completion_tokens": partition(is_integer),
    "stop": partition(either(is_string, is_strings)),
    "seed": partition(is_integer),
    "presence_penalty": partition(is_number),
    "frequency_penalty": partition(is_number),
    "logit_bias": partition(is_object),
    "n": partition(is_integer),
    "logprobs": partition(either(is_boolean, is_integer)),
    "top_logprobs": partition(is_integer),
    "reasoning_effort": partition(is_string),
    "verbosity": partition(is_string),
    "modalities": partition(is_strings),
    "audio": partition(is_object),
    "moderation": partition(is_object),
    # Who asks, of the caller's own users.
    "user": end_user(),
    "safety_identifier": end_user(),
    # Bookkeeping between the caller and the provider, without effect on the answer. An end user that `metadata` names
    # counts as one that `user` names.
    "metadata": ignored(),
    "store": ignored(),
    "service_tier": ignored(),
    "prompt_cache_key": ignored(),
    "prompt_cache_retention": ignored(),
    "prompt_cache_options": ignored(),
    # How the answer is sent: plain and streamed requests share one cache.
    "stream": ignored(),
    "stream_options": ignored(),
}


def _read(fields: Mapping[str, Any]) -> Conversation:
    return read_messages(fields.get("messages", []))


def _wishes(fields: Mapping[str, Any]) -> Wishes:
    return Wishes(output_limit(fields, ("max_completion_tokens", "max_tokens")), wants_usage(fields), choices(fields))


def _demands(fields: Mapping[str, Any], conversation: Conversation) -> Demands:
    beside_text = part_types(conversation.messages) - _COMPARABLE_PARTS
    must_call_tools = fields.get("tool_choice", "auto") not in ("auto", "none")
    return Demands(
        no_tier=_no_tier(fields, beside_text - _IMAGE_PARTS),
        exact_alone=_exact_alone(fields, conversation, beside_text, must_call_tools=must_call_tools),
        must_call_tools=must_call_tools,
        temperature=fields.get("temperature", 0),
    )


def _no_tier(fields: Mapping[str, Any], odd_parts: frozenset[str]) -> str:
    if fields.get("n", 1) > 1:
        return "several_choices"
    if fields.get("logprobs") or fields.get("top_logprobs"):
        return "logprobs"
    if "audio" in fields or set(fields.get("modalities", ())) - {"text"} or odd_parts:
        return "not_text"
    return "web_search" if wants_web_search(fields) else ""


def _exact_alone(
    fields: Mapping[str, Any], conversation: Conversation, beside_text: frozenset[str], *, must_call_tools: bool
) -> str:
    # What a tool or an image says is compared by no model of texts, so only an equal conversation is the same.
    if must_call_tools or _called_tools(conversation):
        return "tool_calls"
    if beside_text:
        return "images"
    return "moderation" if fields.get("moderation") else ""


def _called_tools(conversation: Conversation) -> bool:
    """Return whether a tool was called in an earlier turn."""
    return any(
        message["role"] in {"tool", "function"} or message.get("tool_calls") or message.get("function_call")
        for message in conversation.messages
    )


FORM = BodyForm(FIELDS, frozenset({"response_format"}), _read, _wishes, _demands)
