"""Anthropic's messages as a provider writes them, whole and as events."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from semcache.model import Usage

_USAGE = Usage(input_tokens=20, output_tokens=10)


def message_body(
    text: str,
    *,
    model: str = "scripted",
    stop_reason: str = "end_turn",
    usage: Usage | None = _USAGE,
    tool_calls: Sequence[Mapping[str, Any]] = (),
    content: Sequence[Mapping[str, Any]] | None = None,
    message_id: str = "msg_scripted",
) -> bytes:
    """Return a `message` JSON as a provider writes it.

    Args:
        text: the answer's text.
        model: the model that answers.
        stop_reason: why the answer ended.
        usage: its counts; None: it has none.
        tool_calls: blocks of type `tool_use`, in place of the text.
        content: all blocks, in place of the text and the calls.
        message_id: the answer's id.
    """
    body: dict[str, Any] = {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": list(tool_calls or ({"type": "text", "text": text},)) if content is None else list(content),
        "stop_reason": stop_reason,
        "stop_sequence": None,
    }
    if usage is not None:
        body["usage"] = {
            "input_tokens": usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens,
            "cache_creation_input_tokens": usage.cache_write_tokens,
            "cache_read_input_tokens": usage.cached_input_tokens,
            "output_tokens": usage.output_tokens,
            "service_tier": "standard",
        }
    return json.dumps(body, ensure_ascii=False).encode()


def text_events(events: Sequence[bytes], pieces: Sequence[str]) -> list[bytes]:
    """Return the events of a message that is one text, with these pieces in place of those that it came in."""
    texts = [
        json.dumps(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}},
            ensure_ascii=False,
        ).encode()
        for piece in pieces
    ]
    return [*events[:2], *texts, *events[-3:]]
