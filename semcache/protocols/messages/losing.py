"""Reads what came of a message that can't be used, because its upstream charges for it all the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from semcache.model import LostAnswer
from semcache.protocols.counts import Counts
from semcache.protocols.lost import LostForm, lost_of, read_leniently
from semcache.protocols.messages.reading import text_of_message
from semcache.protocols.usage import find_usage, joined_usage

_PIECES = ("text", "thinking", "partial_json")
"""Fields of a delta that hold a piece of what the model generates."""


def _read_events(events: Iterable[bytes], target_model: str) -> LostAnswer:
    """Return the lost answer of a stream that broke off after these events; what can't be read is passed over.

    A message's start counts a few tokens of output, as many as were generated then. So its count of them is left out.

    Args:
        events: the JSON of each.
        target_model: the model that the target was asked for.
    """
    model: object = None
    usage: Counts | None = None
    said: list[str] = []
    for event in events:
        value = read_leniently(event.decode("utf-8", "replace"))
        if not isinstance(value, dict):
            continue
        message = value.get("message")
        if value.get("type") == "message_start" and isinstance(message, dict):
            model = message.get("model")
            usage = {name: count for name, count in _usage(message).items() if name != "output_tokens"}
        elif value.get("type") == "message_delta":
            usage = joined_usage(usage, _usage(value))
        elif value.get("type") == "content_block_start":
            said.append(text_of_message({"content": [value.get("content_block")]}))
        elif isinstance(delta := value.get("delta"), dict):
            said += [delta[name] for name in _PIECES if isinstance(delta.get(name), str)]
    return lost_of({"model": model, "usage": usage}, "".join(said), target_model)


def _usage(holder: Mapping[str, Any]) -> Counts:
    usage = holder.get("usage")
    return usage if isinstance(usage, dict) else {}


def _answers(value: Mapping[str, Any]) -> bool:
    """Return whether an event or an answer has a part of a message, and isn't an error."""
    return isinstance(value.get("message"), dict) or bool(value.get("content")) or find_usage(value) is not None


LOST_MESSAGE = LostForm(answers=_answers, mark='"content"', chunks=_read_events, generated=text_of_message)
