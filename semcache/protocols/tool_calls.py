"""Puts tool calls together from a stream's pieces, also where their indexes are missing or all the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from semcache.protocols.wire import refuse, well_formed

MAX_INDEX = 4096
"""Choices, and tool calls, of one answer: no provider sends more, and each one takes memory."""
_MAX_DIGITS = 9


class ToolCall:
    """One tool call, or the older function call, put together from the parts that each chunk brings."""

    def __init__(self, index: int = 0) -> None:
        self.index = index
        self.seen = False
        self.name = ""
        self._arguments: list[str] = []
        self._is_custom = False
        self._is_readable = True
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
    def is_sound(self) -> bool:
        """Whether all was read, and the arguments are JSON, or there are none. A custom tool takes any text."""
        if not self._is_readable:
            return False
        return self._is_custom or not self.has_arguments or _is_json("".join(self._arguments))

    @property
    def is_whole(self) -> bool:
        """Whether the arguments are a whole JSON object, which nothing can follow."""
        # Most pieces show by their end that more follows, and the others would cost a whole reading each.
        if self._is_custom or not self._arguments or not self._arguments[-1].rstrip().endswith("}"):
            return False
        return _is_json("".join(self._arguments))

    @property
    def is_placeholder(self) -> bool:
        """Whether the arguments are an empty object, which may stand for those that come later."""
        return not self._is_custom and "".join(self._arguments).split() in (["{}"], ["{", "}"])

    def is_repeated_by(self, piece: str) -> bool:
        """Whether a piece takes the place of the arguments that have come, rather than follows them.

        Some upstreams send {} first, and others send all that they have with each piece. No JSON object goes on with
        the beginning of one.
        """
        if self._is_custom or not self.has_arguments or not piece.lstrip().startswith("{"):
            return False
        return piece.startswith("".join(self._arguments)) or self.is_whole

    def add(self, part: dict[str, Any], function: object) -> None:
        """Add a part: its fields as far as they are new, the tool's name, and a piece of its arguments.

        Args:
            part: the part of a tool call; empty for the older function call.
            function: what names the function; None for a custom tool, which the part itself has. Of anything but an
                object nothing is read, and the call isn't sound.
        """
        self.seen = True
        self._is_readable = self._is_readable and isinstance(function, dict | None)
        self._is_readable = self._is_readable and isinstance(part.get("custom"), dict | None)
        for name, value in part.items():
            if name not in {"index", "function", "custom"} and value not in (None, ""):
                self._fields.setdefault(name, value)
        self._is_custom = self._is_custom or (not isinstance(function, dict) and isinstance(part.get("custom"), dict))
        name, piece = _named({**part, "function": function})
        # Some upstreams repeat the name with each piece of the arguments, others send the name itself in pieces, or as
        # much of it as they have.
        if name != self.name and not self.has_arguments:
            self.name = name if name.startswith(self.name) else self.name + name
        if self.is_repeated_by(piece):
            self._arguments = []
        self._arguments.append(piece)

    def function(self) -> dict[str, str]:
        """Return the function's name and arguments."""
        return {"name": well_formed(self.name), "arguments": well_formed("".join(self._arguments))}

    def assembled(self) -> dict[str, Any]:
        """Return the call as a completion has it."""
        if self._is_custom:
            custom = {"name": well_formed(self.name), "input": well_formed("".join(self._arguments))}
            return {**self._fields, "custom": custom}
        return {**self._fields, "function": self.function()} if self.name or self.has_arguments else dict(self._fields)


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

    @property
    def is_sound(self) -> bool:
        """Whether each call could be put together."""
        return all(call.is_sound for call in self._calls)

    def add(self, value: object, chunk: bytes) -> None:
        """Add the parts of one delta.

        Args:
            value: what the delta's `tool_calls` holds.
            chunk: the chunk's bytes, for an error.

        Raises:
            UpstreamError: a part is no object, its index is too large, or there are too many calls.
        """
        parts = value if isinstance(value, list) else [value]
        calls: list[ToolCall] = []
        for position, part in enumerate(parts):
            if not isinstance(part, dict):
                refuse("a chunk whose tool call is no object", chunk)
            index = read_index(part.get("index"), chunk)
            call = self._continued(part, index, position, len(parts))
            # Two parts of one delta that nothing tells apart are two calls.
            twice = call in calls and index is None and part.get("id") in (None, "")
            if call is None or twice or _begins(part, index, call):
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


def read_index(index: object, chunk: bytes) -> int | None:
    """Return the index of a choice or of a tool call; None where there is none, or one that can't be an index.

    Raises:
        UpstreamError: it is too large.
    """
    if isinstance(index, str) and index.isascii() and index.isdecimal():
        index = int(index[:_MAX_DIGITS])
    if isinstance(index, float) and index.is_integer():
        index = int(index)
    return check_index(index, chunk) if type(index) is int and index >= 0 else None


def check_index(index: int, chunk: bytes) -> int:
    """Return an index.

    Raises:
        UpstreamError: it is too large.
    """
    if index >= MAX_INDEX:
        refuse("a chunk with an impossible index", chunk)
    return index


def _begins(part: dict[str, Any], index: int | None, call: ToolCall) -> bool:
    """Whether a part begins a call, rather than continues the one that it would belong to."""
    name, arguments = _named(part)
    call_id = part.get("id")
    if call_id not in (None, "", call.call_id):
        if call.call_id is not None:
            return bool(name) or call.is_whole
        return bool(name) and call.is_whole  # Otherwise the id of the call comes late.
    if not name or not call.name:
        return False
    if name != call.name:
        # Nothing but its name can tell such a part from the call before.
        is_bare = index is None and call.call_id is None and not name.startswith(call.name)
        return call.has_arguments or bool(arguments) or is_bare
    # The same call again, with more of its arguments.
    if call.is_repeated_by(arguments) and (call_id not in (None, "") or call.is_placeholder):
        return False
    return bool(arguments) and call.is_whole


def _named(part: dict[str, Any]) -> tuple[str, str]:
    """Return the name of a part's tool, and the piece of its arguments. A custom tool's are its input."""
    for kind, arguments in (("function", "arguments"), ("custom", "input")):
        fields = part.get(kind)
        if isinstance(fields, dict):
            return _text(fields.get("name")), _text(fields.get(arguments))
    return "", ""


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _text(value: object) -> str:
    """Return a name, or a piece of arguments; some upstreams send the arguments as the object that they mean."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
