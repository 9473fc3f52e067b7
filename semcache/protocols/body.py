"""Edits a caller's JSON body for a target, and leaves every byte as it is that needn't change.

A body that is parsed and written again loses its spacing, its escapes and the spelling of its numbers. The provider's
prompt cache then no longer knows it. So only the spans of the few values that must change are replaced.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import NoReturn

from semcache.errors import InvalidRequestError

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")
_INCLUDE_USAGE = '{"include_usage":true}'


@dataclass(frozen=True, slots=True)
class _Member:
    """One member of a JSON object: the positions of its key and its value in the text, and the value."""

    key_start: int
    value_start: int
    value_end: int
    value: object


def edit_body(body: bytes, *, model: str, stream: bool, asks_usage: bool = True) -> bytes:
    """Return the body as a target gets it: with the target's model in place of the alias.

    A streamed call asks for its usage, so that its cost is known, unless the caller said that it doesn't want it. A
    plain call gets no `stream_options`, which providers refuse there. A byte order mark is left out, since JSON has
    none.

    Args:
        body: the caller's JSON.
        model: the model that the target is asked for.
        stream: whether the answer comes as a stream of chunks.
        asks_usage: whether a streamed call may ask for its usage where the caller said nothing about it.

    Raises:
        InvalidRequestError: the body is no JSON object, or names a key twice.
    """
    fields = _directed(body, model=model, stream=stream)
    if not stream:
        fields.drop("stream_options")
        return fields.edited().encode()
    options = fields.value("stream_options")
    if asks_usage and options is None:
        fields.set("stream_options", _INCLUDE_USAGE)
    elif asks_usage and isinstance(options, dict) and options.get("include_usage") is None:
        inner = _Object(fields.text, fields.start_of("stream_options"))
        inner.set("include_usage", "true")
        fields.adopt(inner)
    return fields.edited().encode()


def edit_directions(body: bytes, *, model: str, stream: bool, asks_usage: bool = True) -> bytes:
    """Return the body as a target gets it whose protocol tells the usage of streams unasked.

    The target's model takes the place of the alias, and `stream` says how the answer comes. Nothing else changes.

    Args:
        body: the caller's JSON.
        model: the model that the target is asked for.
        stream: whether the answer comes as a stream of events.
        asks_usage: of no effect.

    Raises:
        InvalidRequestError: the body is no JSON object, or names a key twice.
    """
    del asks_usage
    return _directed(body, model=model, stream=stream).edited().encode()


def with_model(body: bytes, model: str) -> bytes:
    """Return the body with another model; every other byte stays, but for a byte order mark.

    Raises:
        InvalidRequestError: the body is no JSON object, or names a key twice.
    """
    fields = _Object(body.decode("utf-8-sig"))
    if fields.value("model") != model:
        fields.set("model", json.dumps(model, ensure_ascii=False))
    return fields.edited().encode()


def without_field(body: bytes, name: str) -> bytes:
    """Return the body without one of its fields; every other byte stays, but for a byte order mark.

    Raises:
        InvalidRequestError: the body is no JSON object, or names a key twice.
    """
    fields = _Object(body.decode("utf-8-sig"))
    fields.drop(name)
    return fields.edited().encode()


def _directed(body: bytes, *, model: str, stream: bool) -> _Object:
    """Return the body with the changes that name the target's model and say whether the answer is streamed."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        _refuse("The body is not UTF-8.")
    fields = _Object(text)
    if fields.value("model") != model:
        fields.set("model", json.dumps(model, ensure_ascii=False))
    if stream and fields.value("stream") is not True:
        fields.set("stream", "true")
    elif not stream and fields.value("stream"):
        fields.set("stream", "false")
    return fields


class _Object:
    """The JSON object that starts at or after `start`, and the changes to make in it."""

    def __init__(self, text: str, start: int = 0) -> None:
        self.text = text
        self._start = _skip(text, start)
        self._members = _members(text, self._start)
        self._edits: list[tuple[int, int, str]] = []
        self._additions: list[str] = []
        self._kept = len(self._members)

    def value(self, name: str) -> object:
        """Return the member's value; None when there is no such member."""
        member = self._members.get(name)
        return None if member is None else member.value

    def start_of(self, name: str) -> int:
        """Return the position where the member's value starts."""
        return self._members[name].value_start

    def set(self, name: str, literal: str) -> None:
        """Set a member's value, a JSON literal. A member that is missing is added at the object's end."""
        member = self._members.get(name)
        if member is None:
            self._additions.append(f'"{name}":{literal}')
        else:
            self._edits.append((member.value_start, member.value_end, literal))

    def drop(self, name: str) -> None:
        """Remove a member and one of the commas around it. At most one member of an object may be dropped."""
        dropped = self._members.get(name)
        if dropped is None:
            return
        self._kept -= 1
        ordered = list(self._members.values())
        position = ordered.index(dropped)
        if position > 0:
            self._edits.append((ordered[position - 1].value_end, dropped.value_end, ""))
        else:
            end = ordered[1].key_start if len(ordered) > 1 else dropped.value_end
            self._edits.append((dropped.key_start, end, ""))

    def adopt(self, inner: _Object) -> None:
        """Make the changes of an object that lies within this one."""
        self._edits += inner.changes()

    def changes(self) -> list[tuple[int, int, str]]:
        """Return the replacements as (start, end, text), in order and without overlaps."""
        edits = list(self._edits)
        if self._additions:
            last = max((member.value_end for member in self._members.values()), default=None)
            comma = "," if self._kept else ""
            end = self._start + 1 if last is None else last
            edits.append((end, end, comma + ",".join(self._additions)))
        return sorted(edits, key=lambda edit: edit[:2])

    def edited(self) -> str:
        """Return the whole text with the changes made."""
        parts, position = [], 0
        for start, end, replacement in self.changes():
            parts += [self.text[position:start], replacement]
            position = end
        return "".join([*parts, self.text[position:]])


def _members(text: str, start: int) -> dict[str, _Member]:
    """Return the members of the JSON object that starts at or after `start`, in their order."""
    try:
        return _scan(text, start)
    except RecursionError:
        _refuse("The JSON is nested too deeply.")
    except (ValueError, StopIteration, IndexError):
        _refuse("The body is no JSON object.")


def _scan(text: str, start: int) -> dict[str, _Member]:
    members: dict[str, _Member] = {}
    position = _expect(text, _skip(text, start), "{")
    position = _skip(text, position)
    if text[position] == "}":
        return members
    while True:
        key_start = position
        _expect(text, key_start, '"')
        key, position = _DECODER.raw_decode(text, key_start)
        position = _expect(text, _skip(text, position), ":")
        value_start = _skip(text, position)
        value, value_end = _DECODER.raw_decode(text, value_start)
        if key in members:
            # Of two equal keys, some readers take the first and some the last.
            _refuse(f"The JSON names {key[:40]!r} twice.", "DUPLICATE_KEY")
        members[key] = _Member(key_start, value_start, value_end, value)
        position = _skip(text, value_end)
        if text[position] == "}":
            return members
        position = _skip(text, _expect(text, position, ","))


def _skip(text: str, position: int) -> int:
    space = _SPACE.match(text, position)
    return space.end() if space else position


def _expect(text: str, position: int, character: str) -> int:
    if text[position] != character:
        raise ValueError(character)
    return position + 1


def _refuse(message: str, reason: str = "INVALID_JSON") -> NoReturn:
    raise InvalidRequestError(message, reason=reason)
