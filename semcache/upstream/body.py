"""Edits of a caller's JSON body on its way to a target: every byte that needn't change stays as it was.

A body that is parsed and written again loses its spacing, its escapes and the spelling of its numbers, and with them
the provider's prompt cache. So only the spans of the few values that must change are found and replaced.
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
    """One member of a JSON object: where its key and its value lie in the text, and what the value is."""

    key_start: int
    value_start: int
    value_end: int
    value: object


def edit_body(body: bytes, *, model: str, stream: bool) -> bytes:
    """The body as a target gets it: `model` in place of the alias, plain or streamed as semcache asks for it.

    A streamed call always asks for the usage, since every dollar counts; a plain one may not carry `stream_options`.

    Raises:
        InvalidRequestError: the body is no JSON object, or names a key twice.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        _refuse("The body is not UTF-8.")
    fields = _Object(text)
    if fields.value("model") != model:
        fields.set("model", json.dumps(model, ensure_ascii=False))
    if not stream:
        if fields.value("stream"):
            fields.set("stream", "false")
        fields.drop("stream_options")
        return fields.edited().encode()
    if fields.value("stream") is not True:
        fields.set("stream", "true")
    options = fields.value("stream_options")
    if options is None:
        fields.set("stream_options", _INCLUDE_USAGE)
    elif isinstance(options, dict) and options.get("include_usage") is not True:
        inner = _Object(text, fields.start_of("stream_options"))
        inner.set("include_usage", "true")
        fields.take(inner)
    return fields.edited().encode()


class _Object:
    """The JSON object that starts at or after `start`, and the changes that it is to get."""

    def __init__(self, text: str, start: int = 0) -> None:
        self._text = text
        self._start = _skip(text, start)
        self._members = _members(text, self._start)
        self._edits: list[tuple[int, int, str]] = []
        self._additions: list[str] = []
        self._kept = len(self._members)

    def value(self, name: str) -> object:
        """The member's value; None when there is none."""
        member = self._members.get(name)
        return None if member is None else member.value

    def start_of(self, name: str) -> int:
        """Where the member's value starts."""
        return self._members[name].value_start

    def set(self, name: str, literal: str) -> None:
        """Give a member a value; one that is missing is added at the object's end."""
        member = self._members.get(name)
        if member is None:
            self._additions.append(f'"{name}":{literal}')
        else:
            self._edits.append((member.value_start, member.value_end, literal))

    def drop(self, name: str) -> None:
        """Take a member out, with one of the commas around it. One member at most may be dropped."""
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

    def take(self, other: _Object) -> None:
        """Make the changes of an object within this one too."""
        self._edits += other.changes()

    def changes(self) -> list[tuple[int, int, str]]:
        """What replaces what: (start, end, text), in order and without overlaps."""
        edits = list(self._edits)
        if self._additions:
            last = max((member.value_end for member in self._members.values()), default=None)
            comma = "," if self._kept else ""
            end = self._start + 1 if last is None else last
            edits.append((end, end, comma + ",".join(self._additions)))
        return sorted(edits, key=lambda edit: edit[:2])

    def edited(self) -> str:
        """The whole text with the changes made."""
        parts, position = [], 0
        for start, end, replacement in self.changes():
            parts += [self._text[position:start], replacement]
            position = end
        return "".join([*parts, self._text[position:]])


def _members(text: str, start: int) -> dict[str, _Member]:
    """The members of the JSON object that starts at or after `start`, in their order."""
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
            # Two readers may disagree about which of two equal keys counts.
            _refuse(f"The JSON names {key[:40]!r} twice.", "DUPLICATE_KEY")
        members[key] = _Member(key_start, value_start, value_end, value)
        position = _skip(text, value_end)
        if text[position] == "}":
            return members
        position = _skip(text, _expect(text, position, ","))


def _skip(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position


def _expect(text: str, position: int, character: str) -> int:
    if text[position] != character:
        raise ValueError(character)
    return position + 1


def _refuse(message: str, reason: str = "INVALID_JSON") -> NoReturn:
    raise InvalidRequestError(message, reason=reason)
