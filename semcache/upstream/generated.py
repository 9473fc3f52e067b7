"""All text that a completion has, for an estimate of its tokens."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from semcache.model import text_of
from semcache.upstream.wire import well_formed

_OF_A_MESSAGE = ("content", "reasoning_content", "reasoning", "thinking", "refusal")


def generated_text(completion: Mapping[str, Any]) -> str:
    """Return all text of a completion or a chunk: of every choice, with reasoning and calls of tools."""
    choices = completion.get("choices")
    texts = [
        text
        for choice in (choices if isinstance(choices, list) else ())
        if isinstance(choice, dict)
        for text in _texts(choice.get("message") or choice.get("delta"))
    ]
    return well_formed("".join(texts))


def text_of_answer(body: bytes) -> str:
    """Return all text of a `chat.completion` JSON that was read before."""
    return generated_text(json.loads(body.decode("utf-8-sig")))


def _texts(message: object) -> Iterator[str]:
    if not isinstance(message, dict):
        return
    for name in _OF_A_MESSAGE:
        yield text_of(message.get(name))
    calls = message.get("tool_calls")
    functions = [call.get("function") for call in (calls if isinstance(calls, list) else ()) if isinstance(call, dict)]
    for function in (*functions, message.get("function_call")):
        if isinstance(function, dict):
            yield from (part for name in ("name", "arguments") if isinstance(part := function.get(name), str))
