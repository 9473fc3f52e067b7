"""Assembles a stream's events into the one `message` that a plain call would have returned."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from semcache.model import is_deeper
from semcache.protocols.counts import Counts
from semcache.protocols.messages.reading import read_event
from semcache.protocols.usage import joined_usage
from semcache.protocols.wire import MAX_LEVELS, dump, no_constant, refuse, well_formed

_GROWING: Mapping[object, str] = {"text_delta": "text", "thinking_delta": "thinking"}
"""Kinds of deltas that bring a piece of a text, and the field that has it in the delta and in the block."""
_WHOLE: Mapping[object, tuple[str, ...]] = {
    "signature_delta": ("signature",),
    "compaction_delta": ("content", "encrypted_content"),
}
"""Kinds of deltas that bring whole values, and their fields."""
_OF_A_DELTA_EVENT = frozenset({"type", "delta", "usage"})


class _Block:
    """One block of the content, put together from its start and its deltas."""

    def __init__(self, start: Mapping[str, Any]) -> None:
        self._fields = dict(start)
        self._texts: dict[str, list[str]] = {}
        self._input: list[str] = []
        self._is_mergeable = True

    @property
    def is_sound(self) -> bool:
        """Whether every delta was understood, and a tool's input is JSON."""
        return self._is_mergeable and (not self._input or self._read_input() is not None)

    def add(self, delta: Mapping[str, Any]) -> None:
        kind = delta.get("type")
        if not isinstance(kind, str):
            self._is_mergeable = False
        elif kind in _GROWING:
            self._append(self._texts.setdefault(_GROWING[kind], []), delta.get(_GROWING[kind]))
        elif kind == "input_json_delta":
            self._append(self._input, delta.get("partial_json"))
        elif kind == "citations_delta":
            if not isinstance(self._fields.get("citations"), list):
                self._is_mergeable = self._is_mergeable and not self._fields.get("citations")
                self._fields["citations"] = []
            self._fields["citations"].append(delta.get("citation"))
        elif kind in _WHOLE:
            self._fields |= {name: delta[name] for name in _WHOLE[kind] if delta.get(name) is not None}
        else:
            self._is_mergeable = False

    def assembled(self) -> dict[str, Any]:
        """Return the block as a plain answer has it. An input that is no JSON is the text that came."""
        block = dict(self._fields)
        for name, pieces in self._texts.items():
            begun = block.get(name)
            block[name] = well_formed("".join([begun if isinstance(begun, str) else "", *pieces]))
        text = "".join(self._input)
        if text.strip():
            read = self._read_input()
            block["input"] = well_formed(text) if read is None else read[0]
        return block

    def _append(self, pieces: list[str], piece: object) -> None:
        if isinstance(piece, str):
            pieces.append(piece)
        else:
            self._is_mergeable = False

    def _read_input(self) -> tuple[object] | None:
        """Return the value of a tool's input, alone in a tuple; None where it is no JSON."""
        text = "".join(self._input)
        if not text.strip():
            return ({},)
        try:
            value = json.loads(text, parse_constant=no_constant)
        except (ValueError, RecursionError):
            return None
        return None if is_deeper(value, text.encode("utf-8", "replace"), MAX_LEVELS) else (value,)


class MessageAssembler:
    """Takes events, and returns one message."""

    def __init__(self) -> None:
        self._message: dict[str, Any] | None = None
        self._blocks: dict[int, _Block] = {}
        self._usage: Counts | None = None
        self._is_over = False

    def add(self, chunk: bytes) -> None:
        """Add one event. Events of an unknown type are passed over, since the API may get new ones.

        Args:
            chunk: the event's JSON.

        Raises:
            UpstreamError: it is no such JSON, or it reports an error.
        """
        event = read_event(chunk, "an event")
        kind = event.get("type")
        if kind == "message_start":
            self._start(event.get("message"), chunk)
        elif kind == "content_block_start":
            self._start_block(event, chunk)
        elif kind == "content_block_delta":
            block, delta = self._blocks.get(_index(event, chunk)), event.get("delta")
            if block is None or not isinstance(delta, dict):
                refuse("a delta without its block", chunk)
            block.add(delta)
        elif kind == "message_delta":
            self._change(event, chunk)
        elif kind == "message_stop":
            self._begun(chunk)
            self._is_over = True

    def finish(self) -> None:
        """End the stream at a [DONE], which this protocol doesn't have: only `message_stop` makes a message whole."""

    @property
    def is_complete(self) -> bool:
        """Whether the message's last event has come."""
        return self._is_over

    @property
    def is_over(self) -> bool:
        """Whether the message's last event has come."""
        return self._is_over

    @property
    def flaw(self) -> str:
        """Why the message isn't stored: not_mergeable when a delta was of an unknown form, or ""."""
        return "" if all(block.is_sound for block in self._blocks.values()) else "not_mergeable"

    def whole(self) -> bytes:
        """Return the `message` JSON of what was added."""
        message = {**(self._message or {}), "content": [block.assembled() for _, block in sorted(self._blocks.items())]}
        if self._usage is not None:
            message["usage"] = self._usage
        return dump(message)

    def _start(self, message: object, chunk: bytes) -> None:
        if not isinstance(message, dict) or self._message is not None:
            refuse("a start of a message that isn't one", chunk)
        self._message = message
        self._usage = _counts(message.get("usage"))

    def _start_block(self, event: Mapping[str, Any], chunk: bytes) -> None:
        self._begun(chunk)
        index, start = _index(event, chunk), event.get("content_block")
        if not isinstance(start, dict) or index in self._blocks:
            refuse("a start of a block that isn't one", chunk)
        self._blocks[index] = _Block(start)

    def _change(self, event: Mapping[str, Any], chunk: bytes) -> None:
        """Take what a message's end tells: why it ended, its usage, and whatever stands beside them."""
        message, delta = self._begun(chunk), event.get("delta")
        beside = {name: value for name, value in event.items() if name not in _OF_A_DELTA_EVENT}
        for name, value in {**beside, **(delta if isinstance(delta, dict) else {})}.items():
            if value is not None or name not in message:
                message[name] = value
        self._usage = joined_usage(self._usage, _counts(event.get("usage")))

    def _begun(self, chunk: bytes) -> dict[str, Any]:
        if self._message is None:
            refuse("an event before the message's start", chunk)
        return self._message


def _counts(usage: object) -> Counts | None:
    return usage if isinstance(usage, dict) else None


def _index(event: Mapping[str, Any], chunk: bytes) -> int:
    index = event.get("index")
    if type(index) is not int or index < 0:
        refuse("an event without the index of its block", chunk)
    return index
