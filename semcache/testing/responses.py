"""Bodies and streams of OpenAI's responses, as a provider writes them, for tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from semcache.model import Usage, text_of

_REASONS: Mapping[str, str] = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Why a response is incomplete, by the finish reason that a chat would have."""
_ENDS = frozenset({"stop", "tool_calls"})
_DELTA = "response.output_text.delta"


def response_body(
    text: str,
    *,
    model: str = "scripted",
    finish_reason: str = "stop",
    usage: Usage | None = None,
    tool_calls: Sequence[Mapping[str, Any]] = (),
    response_id: str = "resp_scripted",
) -> bytes:
    """Return a `response` JSON as a provider writes it.

    Args:
        text: the text of its message.
        model: the model that it names.
        finish_reason: why it ended, in the words of a chat; another word is its status.
        usage: its usage; None: it has none.
        tool_calls: the calls of tools in place of the message, as a chat has them.
        response_id: its id.
    """
    incomplete = _REASONS.get(finish_reason)
    status = "completed" if finish_reason in _ENDS else "incomplete" if incomplete else finish_reason
    return json.dumps(
        {
            "id": response_id,
            "object": "response",
            "created_at": 1_700_000_000,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": {"reason": incomplete} if incomplete else None,
            "instructions": None,
            "max_output_tokens": None,
            "model": model,
            "output": [_call(number, call) for number, call in enumerate(tool_calls)] or [_message(text, status)],
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None},
            "store": True,
            "temperature": 1.0,
            "text": {"format": {"type": "text"}},
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "truncation": "disabled",
            "usage": None if usage is None else _usage(usage),
            "user": None,
            "metadata": {},
        },
        ensure_ascii=False,
    ).encode()


def input_text(fields: Mapping[str, Any]) -> str:
    """Return the text of the last user message of a request's `input`; empty when there is none."""
    value: Any = fields.get("input") or []
    if isinstance(value, str):
        return value
    for item in reversed(value):
        if isinstance(item, dict) and item.get("role") == "user":
            content = item.get("content")
            parts = content if isinstance(content, list) else [content]
            return "".join(map(_text_of_input, parts))
    return ""


def in_pieces(events: Sequence[bytes], pieces: Sequence[str]) -> list[bytes]:
    """Return a replayed stream in which the text comes in these pieces; the sequence numbers rise by one."""
    values = [json.loads(event) for event in events]
    first = next(position for position, value in enumerate(values) if value["type"] == _DELTA)
    whole = [value for value in values if value["type"] != _DELTA]
    cut = [*whole[:first], *({**values[first], "delta": piece} for piece in pieces), *whole[first:]]
    return [
        json.dumps({**value, "sequence_number": number}, ensure_ascii=False).encode()
        for number, value in enumerate(cut)
    ]


def _text_of_input(part: object) -> str:
    if isinstance(part, dict) and part.get("type") == "input_text":
        return str(part["text"])
    return text_of(part)


def _message(text: str, status: str) -> dict[str, Any]:
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
    return {"id": "msg_scripted", "type": "message", "status": status, "role": "assistant", "content": [part]}


def _call(number: int, call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    return {
        "id": f"fc_{number}",
        "type": "function_call",
        "status": "completed",
        "arguments": function["arguments"],
        "call_id": call["id"],
        "name": function["name"],
    }


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_input_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
