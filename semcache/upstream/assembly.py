"""Assembles a stream's chunks into the one `chat.completion` that a plain call would have returned."""

from __future__ import annotations

from typing import Any

from semcache.upstream.usage import find_usage, joined_usage
from semcache.upstream.wire import dump, read_json, refuse, well_formed

_OF_A_CHUNK = frozenset({"object", "choices", "usage"})
_OF_A_CHOICE = frozenset({"index", "delta", "finish_reason", "logprobs", "message"})
_MAX_INDEX = 4096
"""Choices, and tool calls, of one answer: no provider sends more, and each one takes memory."""


class _Choice:
    """One choice, put together from the parts that each chunk brings."""

    def __init__(self) -> None:
        self.finish_reason: str | None = None
        self._texts: dict[str, list[str]] = {}
        self._fields: dict[str, Any] = {}
        self._calls: dict[int, _ToolCall] = {}
        self._function = _ToolCall()
        self._logprobs: dict[str, Any] = {}
        self._extra: dict[str, Any] = {}

    def add(self, choice: dict[str, Any], chunk: bytes) -> None:
        delta = choice.get("delta")
        if delta is not None and not isinstance(delta, dict):
            refuse("a chunk whose delta is no object", chunk)
        for name, value in (delta or {}).items():
            if value is not None:
                self._add_field(name, value, chunk)
        finish_reason = choice.get("finish_reason")
        if isinstance(finish_reason, str) and finish_reason:
            self.finish_reason = finish_reason
        logprobs = choice.get("logprobs")
        if isinstance(logprobs, dict):
            for name, value in logprobs.items():
                _extend(self._logprobs, name, value)
        for name, value in choice.items():
            if name not in _OF_A_CHOICE and value is not None:
                self._extra[name] = value

    def message(self) -> dict[str, Any]:
        """Return the message; its `content` is null when the stream had none."""
        texts = {name: well_formed("".join(parts)) for name, parts in self._texts.items()}
        fields = {name: value for name, value in self._fields.items() if name != "role"}
        message = {
            "role": self._fields.get("role", "assistant"),
            "content": texts.pop("content", None),
            **texts,
            **fields,
        }
        if self._calls:
            message["tool_calls"] = [call.assembled() for _, call in sorted(self._calls.items())]
        if self._function.seen:
            message["function_call"] = self._function.function()
        return message

    def assembled(self, index: int) -> dict[str, Any]:
        """Return the choice as a completion has it."""
        return {
            "index": index,
            "message": self.message(),
            "logprobs": self._logprobs or None,
            "finish_reason": self.finish_reason,
            **self._extra,
        }

    def _add_field(self, name: str, value: object, chunk: bytes) -> None:
        if name == "tool_calls":
            for position, part in enumerate(value if isinstance(value, list) else [value]):
                if not isinstance(part, dict):
                    refuse("a chunk whose tool call is no object", chunk)
                self._calls.setdefault(_index(part, position, chunk), _ToolCall()).add(part, part.get("function"))
        elif name == "function_call":
            self._function.add({}, value)
        elif name == "role":
            self._fields.setdefault("role", value)
        elif isinstance(value, str):
            self._texts.setdefault(name, []).append(value)
        else:
            _extend(self._fields, name, value)


class _ToolCall:
    """One tool call, or the older function call, put together from the parts that each chunk brings."""

    def __init__(self) -> None:
        self.seen = False
        self._name = ""
        self._arguments: list[str] = []
        self._fields: dict[str, Any] = {}

    def add(self, part: dict[str, Any], function: object) -> None:
        self.seen = True
        for name, value in part.items():
            if name not in {"index", "function"} and value is not None:
                self._fields.setdefault(name, value)
        if isinstance(function, dict):
            self._name = self._name or str(function.get("name") or "")
            self._arguments.append(str(function.get("arguments") or ""))

    def function(self) -> dict[str, str]:
        return {"name": self._name, "arguments": well_formed("".join(self._arguments))}

    def assembled(self) -> dict[str, Any]:
        return {**self._fields, "function": self.function()} if self._name or self._arguments else dict(self._fields)


class Assembler:
    """Takes chunks, and returns one completion."""

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._choices: dict[int, _Choice] = {}
        self._usage: Any = None

    def add(self, chunk: bytes) -> None:
        """Add one chunk.

        Args:
            chunk: a `chat.completion.chunk` JSON.

        Raises:
            UpstreamError: it is no such JSON, or it reports an error.
        """
        value = read_json(chunk, "a chunk")
        choices = value.get("choices")
        if not isinstance(choices, list | None):
            refuse("a chunk whose choices are no list", chunk)
        for position, choice in enumerate(choices or ()):
            if not isinstance(choice, dict):
                refuse("a chunk whose choice is no object", chunk)
            self._choices.setdefault(_index(choice, position, chunk), _Choice()).add(choice, chunk)
        for name, part in value.items():
            if name not in _OF_A_CHUNK and part not in (None, ""):
                self._head.setdefault(name, part)
        self._usage = joined_usage(self._usage, find_usage(value))

    @property
    def is_complete(self) -> bool:
        """Whether there is a choice, and every choice has its finish reason."""
        return bool(self._choices) and all(choice.finish_reason for choice in self._choices.values())

    def completion(self) -> bytes:
        """Return the `chat.completion` JSON of what was added."""
        body = {
            **self._head,
            "object": "chat.completion",
            "choices": [choice.assembled(index) for index, choice in sorted(self._choices.items())],
        }
        if self._usage is not None:
            body["usage"] = self._usage
        return dump(body)


def _index(part: dict[str, Any], default: int, chunk: bytes) -> int:
    index = part.get("index", default)
    if type(index) is not int or not 0 <= index < _MAX_INDEX:
        refuse("a chunk with an impossible index", chunk)
    return index


def _extend(fields: dict[str, Any], name: str, value: object) -> None:
    """Set a field: a list is added to the list that is there; any other value replaces it."""
    if not isinstance(value, list):
        fields[name] = value
    elif isinstance(fields.get(name), list):
        fields[name].extend(value)
    else:
        fields[name] = list(value)
