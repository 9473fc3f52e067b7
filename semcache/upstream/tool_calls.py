"""Puts tool calls together from a stream's pieces, also where their indexes are missing or all the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from semcache.upstream.wire import refuse, well_formed

MAX_INDEX = 4096
"""Choices, and tool calls, of one answer: no provider sends more, and each one takes memory."""


class ToolCall:
    """One tool call, or the older function call, put together from the parts that each chunk brings."""

    def __init__(self, index: int = 0) -> None:
        self.index = index
        self.seen = False
        self.name = ""
        self._arguments: list[str] = []
        self._fields: dict[str, Any] = {}

    @property
    def call_id(self) -> object:
        """The id that the upstream gave it; None before one has come."""
        return self._fields.get("id")

    @property
    def has_arguments(self) -> bool:
        """Whether any arguments have come."""
        return any(self._arguments)

    @property
    def is_whole(self) -> bool:
        """Whether the arguments are a whole JSON object, which nothing can follow."""
        # Most pieces show by their end that more follows, and the others would cost a whole reading each.
        if not self._arguments or not self._arguments[-1].rstrip().endswith("}"):
            return False
        try:
            json.loads("".join(self._arguments))
        except (ValueError, RecursionError):
            return False
        return True

    def add(self, part: dict[str, Any], function: object) -> None:
        """Add a part: its fields as far as they are new, the function's name, and a piece of its arguments."""
        self.seen = True
        for name, value in part.items():
            if name not in {"index", "function"} and value not in (None, ""):
                self._fields.setdefault(name, value)
        if isinstance(function, dict):
            name = _text(function.get("name"))
            # Some upstreams repeat the name with each piece of the arguments, others send the name itself in pieces.
            if name != self.name and not self.has_arguments:
                self.name += name
            self._arguments.append(_text(function.get("arguments")))

    def function(self) -> dict[str, str]:
        """Return the function's name and arguments."""
        return {"name": well_formed(self.name), "arguments": well_formed("".join(self._arguments))}

    def assembled(self) -> dict[str, Any]:
        """Return the call as a completion has it."""
        return {**self._fields, "function": self.function()} if self.name or self._arguments else dict(self._fields)


class ToolCalls:
    """The tool calls of one message.

    Which call a part belongs to:

    1. A part under an index that is new begins a call.
    2. A part with a known id belongs to that id's call. Without an id it belongs to its index, and without an index to
       the call that came last.
    3. It begins a call all the same when it has another id than that call, or is a second whole call.

    A part with another id is a piece of the same call while that call's arguments aren't whole and the part names no
    function: some upstreams make up an id for each piece.
    """

    def __init__(self) -> None:
        self._calls: list[ToolCall] = []
        self._by_index: dict[int, ToolCall] = {}
        self._by_id: dict[str, ToolCall] = {}
        self._last: Sequence[ToolCall] = ()
        """The calls of the delta before, by position."""

    def __bool__(self) -> bool:
        """Whether there is any call."""
        return bool(self._calls)

    def add(self, value: object, chunk: bytes) -> None:
        """Add the parts of one delta.

        Args:
            value: what the delta's `tool_calls` holds.
            chunk: the chunk's bytes, for an error.

        Raises:
            UpstreamError: a part is no object, its index is impossible, or there are too many calls.
        """
        parts = value if isinstance(value, list) else [value]
        calls: list[ToolCall] = []
        for position, part in enumerate(parts):
            if not isinstance(part, dict):
                refuse("a chunk whose tool call is no object", chunk)
            index = part.get("index")
            if index is not None:
                check_index(index, chunk)
            call = self._continued(part, index, position, len(parts))
            # Two parts of one delta that nothing tells apart are two calls.
            twice = call in calls and index is None and part.get("id") in (None, "")
            if call is None or twice or _begins(part, call):
                call = self._begin(index, chunk)
            call.add(part, part.get("function"))
            if call.call_id is not None:
                self._by_id[str(call.call_id)] = call
            calls.append(call)
        self._last = calls or self._last

    def assembled(self) -> list[dict[str, Any]]:
        """Return the calls by their index, those of one index in the order in which they began."""
        return [call.assembled() for call in sorted(self._calls, key=lambda call: call.index)]

    def _continued(self, part: dict[str, Any], index: int | None, position: int, count: int) -> ToolCall | None:
        """Return the call that a part continues unless it begins one; None where there is no such call."""
        if index is not None and index not in self._by_index:
            return None
        call_id = part.get("id")
        if call_id not in (None, "") and str(call_id) in self._by_id:
            return self._by_id[str(call_id)]
        if index is not None:
            return self._by_index[index]
        # Of several parts without an index, each continues the call at its own position in the delta before.
        if 1 < count == len(self._last):
            return self._last[position]
        return self._last[-1] if self._last else None

    def _begin(self, index: int | None, chunk: bytes) -> ToolCall:
        if len(self._calls) >= MAX_INDEX:
            refuse("a chunk with too many tool calls", chunk)
        call = ToolCall(len(self._calls) if index is None else index)
        self._calls.append(call)
        self._by_index[call.index] = call
        return call


def check_index(index: object, chunk: bytes) -> int:
    """Return the index of a choice or of a tool call.

    Raises:
        UpstreamError: it is impossible.
    """
    if type(index) is not int or not 0 <= index < MAX_INDEX:
        refuse("a chunk with an impossible index", chunk)
    return index


def _begins(part: dict[str, Any], call: ToolCall) -> bool:
    """Whether a part begins a call, rather than continues the one that it would belong to."""
    function = part.get("function")
    fields = function if isinstance(function, dict) else {}
    name, arguments = _text(fields.get("name")), _text(fields.get("arguments"))
    call_id = part.get("id")
    if call_id not in (None, "", call.call_id):
        if call.call_id is not None:
            return bool(name) or call.is_whole
        return bool(name) and call.is_whole  # Otherwise the id of the call comes late.
    if not name or not call.name:
        return False
    if name != call.name:
        return call.has_arguments or bool(arguments)
    return bool(arguments) and call.is_whole


def _text(value: object) -> str:
    """Return a name, or a piece of arguments; some upstreams send the arguments as the object that they mean."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
