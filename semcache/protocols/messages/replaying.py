"""Replays a whole message as the events that a provider would have streamed."""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from semcache.protocols.messages.reading import calls_tool
from semcache.protocols.wire import dump, text_pieces

_CUMULATIVE = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
    "output_tokens_details",
    "server_tool_use",
    "iterations",
    "fallback_credit",
)
"""Parts of a usage that the end of a stream tells again."""
_KNOWN_AT_THE_END = ("stop_reason", "stop_sequence", "stop_details", "container")
"""Fields of a message that its start leaves null."""


class MessageReplay:
    """A message that was read once, and is replayed as events any number of times.

    Attributes:
        size_bytes: bytes that it takes in memory, about: the body and what was read of it.
    """

    def __init__(self, body: bytes) -> None:
        """Read `body`, a message that `read_message` took."""
        text = body.decode("utf-8-sig")
        self.size_bytes: int = len(body) + sys.getsizeof(text)
        self._message: dict[str, Any] = json.loads(text)
        self._id = f"msg_{zlib.crc32(body):08x}"

    def chunks(self, *, include_usage: bool) -> Iterator[bytes]:
        """Yield the JSON of each event that a provider would have streamed, in order.

        Args:
            include_usage: of no effect: the API always tells the usage.
        """
        del include_usage
        message = self._message
        told = message.get("usage")
        usage: Mapping[str, Any] = {"input_tokens": 0, "output_tokens": 0, **(told if isinstance(told, dict) else {})}
        start = {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": "",
            **{name: value for name, value in message.items() if name != "context_management"},
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            **{name: None for name in _KNOWN_AT_THE_END if name in message},
            "usage": {**usage, "output_tokens": 0},
        }
        yield dump({"type": "message_start", "message": start})
        for index, block in enumerate(message["content"]):
            yield from _replay_block(index, block)
        yield dump(_ending(message, usage))
        yield b'{"type":"message_stop"}'


def replay_events(body: bytes) -> Iterator[bytes]:
    """Return the events of a stored message, as `MessageReplay` makes them."""
    return MessageReplay(body).chunks(include_usage=True)


def _ending(message: Mapping[str, Any], usage: Mapping[str, Any]) -> dict[str, Any]:
    calls = any(map(calls_tool, message["content"]))
    delta = {"stop_sequence": None, **{name: message[name] for name in _KNOWN_AT_THE_END if name in message}}
    delta["stop_reason"] = delta.get("stop_reason") or ("tool_use" if calls else "end_turn")
    ending = {
        "type": "message_delta",
        "delta": delta,
        "usage": {name: usage[name] for name in _CUMULATIVE if name in usage},
    }
    if "context_management" in message:
        ending["context_management"] = message["context_management"]
    return ending


def _replay_block(index: int, block: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield a block's start, its deltas and its end."""
    start = dict(block)
    deltas: list[dict[str, Any]] = []
    kind = block.get("type")
    if kind in ("text", "thinking") and isinstance(block.get(kind), str):
        start[kind] = ""
        deltas += [{"type": f"{kind}_delta", kind: piece} for piece in text_pieces(block[kind])]
    if kind == "text" and isinstance(block.get("citations"), list):
        start["citations"] = []
        deltas += [{"type": "citations_delta", "citation": citation} for citation in block["citations"]]
    if kind == "thinking" and isinstance(block.get("signature"), str):
        start["signature"] = ""
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    if str(kind).endswith("tool_use") and isinstance(block.get("input"), dict):
        start["input"] = {}
        pieces = text_pieces(dump(block["input"]).decode()) if block["input"] else ()
        deltas += [{"type": "input_json_delta", "partial_json": piece} for piece in ("", *pieces)]
    yield dump({"type": "content_block_start", "index": index, "content_block": start})
    for delta in deltas:
        yield dump({"type": "content_block_delta", "index": index, "delta": delta})
    yield dump({"type": "content_block_stop", "index": index})
