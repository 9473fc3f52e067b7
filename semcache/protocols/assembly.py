"""Assembles a stream's chunks into the one `chat.completion` that a plain call would have returned."""

from __future__ import annotations

from typing import Any

from semcache.model import finish_text, worse_finish
from semcache.protocols.content import GrowingContent
from semcache.protocols.tool_calls import ToolCall, ToolCalls, check_index, read_index
from semcache.protocols.usage import find_usage, joined_usage
from semcache.protocols.wire import dump, read_json, refuse, well_formed

_OF_A_CHUNK = frozenset({"object", "choices", "usage"})
_OF_A_CHOICE = frozenset({"index", "delta", "finish_reason", "logprobs", "message"})
_EMPTY: tuple[object, ...] = (None, "", [], {})
_GROWING = frozenset({"text", "thinking", "summary", "data", "signature"})
"""Fields of a part that comes in pieces, such as a thought: two equal pieces are two."""


class _Choice:
    """One choice, put together from the parts that each chunk brings."""

    def __init__(self) -> None:
        self.finish_reason: str | None = None
        self._is_mergeable = True
        self._content = GrowingContent()
        self._texts: dict[str, list[str]] = {}
        self._fields: dict[str, Any] = {}
        self._calls = ToolCalls()
        self._function = ToolCall()
        self._logprobs: dict[str, Any] = {}
        self._extra: dict[str, Any] = {}

    @property
    def is_sound(self) -> bool:
        """Whether what came can be put together.

        No field was text in one chunk and something else in another, and the arguments of each call are JSON.
        """
        return self._is_mergeable and self._content.is_sound and self._calls.is_sound and self._function.is_sound

    @property
    def is_finished(self) -> bool:
        """Whether the upstream has said why the choice ended."""
        return self.finish_reason is not None

    def finish(self) -> None:
        """End a choice whose stream said [DONE] and no reason; one that brought nothing stays unfinished."""
        if not self.is_finished and (self._calls or self._function.seen):
            self.finish_reason = "tool_calls"
        elif not self.is_finished and self._content:
            self.finish_reason = "stop"

    def add(self, choice: dict[str, Any], chunk: bytes) -> None:
        delta = choice.get("delta")
        if delta is not None and not isinstance(delta, dict):
            refuse("a chunk whose delta is no object", chunk)
        for name, value in (delta or {}).items():
            if value is not None:
                self._add_field(name, value, chunk)
        # Some upstreams say in their last chunk that they stopped, though the answer was cut or filtered before.
        worse = worse_finish(self.finish_reason or "", finish_text(choice.get("finish_reason")))
        self.finish_reason = worse or None
        logprobs = choice.get("logprobs")
        if isinstance(logprobs, dict):
            for name, value in logprobs.items():
                _append(self._logprobs, name, value)
        for name, value in choice.items():
            is_news = value is not None and not (value in _EMPTY and name in self._extra)
            if is_news and name not in _OF_A_CHOICE:
                _extend(self._extra, name, value)

    def message(self) -> dict[str, Any]:
        """Return the message; its `content` is null when the stream had none."""
        texts = {name: well_formed("".join(parts)) for name, parts in self._texts.items()}
        fields = {name: value for name, value in self._fields.items() if name != "role"}
        message = {
            "role": self._fields.get("role", "assistant"),
            "content": self._content.value(),
            **texts,
            **fields,
        }
        if self._calls:
            message["tool_calls"] = self._calls.assembled()
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
        if name == "content":
            self._content.add(value)
        elif name == "tool_calls":
            self._calls.add(value, chunk)
        elif name == "function_call":
            self._function.add({}, value)
        elif name == "role":
            self._fields.setdefault("role", value)
        elif isinstance(value, str):
            self._is_mergeable = self._is_mergeable and name not in self._fields
            self._texts.setdefault(name, []).append(value)
        else:
            self._is_mergeable = self._is_mergeable and name not in self._texts
            _extend(self._fields, name, value)


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
            named = read_index(choice.get("index"), chunk)
            index = check_index(position, chunk) if named is None else named
            self._choices.setdefault(index, _Choice()).add(choice, chunk)
        for name, part in value.items():
            if name in _OF_A_CHUNK or part in _EMPTY:
                continue
            if isinstance(part, list | dict) and isinstance(part, type(self._head.get(name, part))):
                _extend(self._head, name, part)
            else:
                self._head.setdefault(name, part)
        self._usage = joined_usage(self._usage, find_usage(value))

    def finish(self) -> None:
        """End the stream at its [DONE]: a choice with content that has no finish reason ended by itself.

        Only a server that has sent all it has says [DONE]; a stream that broke off doesn't have it.
        """
        for choice in self._choices.values():
            choice.finish()

    @property
    def is_complete(self) -> bool:
        """Whether there is a choice, and every choice has its finish reason."""
        return bool(self._choices) and all(choice.is_finished for choice in self._choices.values())

    @property
    def flaw(self) -> str:
        """Why the completion isn't stored: not_mergeable when a field came in forms that don't go together, or ""."""
        return "" if all(choice.is_sound for choice in self._choices.values()) else "not_mergeable"

    @property
    def is_over(self) -> bool:
        """Whether the last event has come: never, since a chunk doesn't say that it is the last one."""
        return False

    def whole(self) -> bytes:
        """Return the `chat.completion` JSON of what was added."""
        body = {
            **self._head,
            "object": "chat.completion",
            "choices": [choice.assembled(index) for index, choice in sorted(self._choices.items())],
        }
        if self._usage is not None:
            body["usage"] = self._usage
        return dump(body)


def _extend(fields: dict[str, Any], name: str, value: object) -> None:
    """Set a field.

    - A list that repeats the list that is there replaces it. Of any other list, the items that aren't there are added.
      Pieces of a part and numbers are always added.
    - An object is merged into the object that is there, whose fields stay where the new ones are empty.
    - Any other value replaces the one that is there.
    """
    there = fields.get(name)
    if isinstance(value, list) and isinstance(there, list) and value and not _repeats(value, there):
        there.extend(item for item in value if _is_piece(item) or item not in there)
    elif isinstance(value, dict) and isinstance(there, dict):
        fields[name] = {**there, **{key: item for key, item in value.items() if item not in _EMPTY or key not in there}}
    elif not (value == [] and isinstance(there, list)):
        fields[name] = list(value) if isinstance(value, list) else value


def _append(fields: dict[str, Any], name: str, value: object) -> None:
    """Set a field: a list is added to the list that is there, also where it has the same items."""
    if isinstance(value, list) and isinstance(fields.get(name), list):
        fields[name].extend(value)
    else:
        fields[name] = list(value) if isinstance(value, list) else value


def _repeats(value: list[Any], there: list[Any]) -> bool:
    """Whether a list begins with all items of another, as a list does that is sent anew whenever it has grown."""
    return len(value) > len(there) and value[: len(there)] == there and not any(map(_is_piece, there))


def _is_piece(item: object) -> bool:
    return not _GROWING.isdisjoint(item) if isinstance(item, dict) else not isinstance(item, str)
