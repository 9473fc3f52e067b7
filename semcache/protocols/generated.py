"""All text that an upstream has generated, for an estimate of its tokens."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from semcache.protocols.wire import well_formed

_SAID = ("content", "refusal", "audio")
_AMONG_PARTS = "thoughts among the parts of the content"
_THOUGHT = ("reasoning_content", "reasoning", "thinking", "reasoning_details", "thinking_blocks", _AMONG_PARTS)
"""Names that servers have for what a model thought. Some send one text under several of them."""
_IN_A_PART = ("text", "content", "refusal", "transcript")
_IN_A_THOUGHT = ("text", "thinking", "reasoning", "summary", "content")
_CALLED = ("function", "custom")
_OF_A_CALL = ("name", "arguments", "input")
_MAX_DEPTH = 4
"""Parts of parts that are read: Mistral's content has parts of thinking, which have parts of text."""


@dataclass(slots=True)
class _Field:
    """The text of one field, as it comes."""

    pieces: list[str] = dataclasses.field(default_factory=list)
    chars: int = 0

    def append(self, text: str) -> None:
        self.pieces.append(text)
        self.chars += len(text)

    def take(self, text: str) -> None:
        """Put a text in place of what came before, which it begins with; one that doesn't is another piece."""
        if self.chars <= len(text) and text.startswith("".join(self.pieces)):
            self.pieces, self.chars = [], 0
        self.append(text)


_Fields = dict[str, _Field]


class GeneratedText:
    """Puts together what the chunks of one answer, or a whole completion, have generated."""

    def __init__(self) -> None:
        self._deltas: dict[object, _Fields] = {}
        self._messages: dict[object, _Fields] = {}

    def add(self, completion: Mapping[str, Any]) -> None:
        """Add a chunk or a completion.

        A `message` in a chunk mostly has all that came so far; it then takes the place of the earlier one.
        """
        choices = completion.get("choices")
        for position, choice in enumerate(choices if isinstance(choices, list) else ()):
            if not isinstance(choice, dict):
                continue
            index = choice.get("index")
            index = index if isinstance(index, int | str) else position
            for name, text in _texts(choice.get("delta")).items():
                self._deltas.setdefault(index, {}).setdefault(name, _Field()).append(text)
            for name, text in _texts(choice.get("message")).items():
                self._messages.setdefault(index, {}).setdefault(name, _Field()).take(text)

    def text(self) -> str:
        """Return the text of every choice, with its reasoning and calls of tools: each text once."""
        texts = []
        for index in {**self._deltas, **self._messages}:
            pieces, message = (_joined(each.get(index, {})) for each in (self._deltas, self._messages))
            texts.append(max(pieces, message, key=len))
        return well_formed("".join(texts))


def generated_text(completion: Mapping[str, Any]) -> str:
    """Return all text of a completion: of every choice, with reasoning and calls of tools."""
    generated = GeneratedText()
    generated.add(completion)
    return generated.text()


def text_of_answer(body: bytes) -> str:
    """Return all text of a `chat.completion` JSON that was read before."""
    return generated_text(json.loads(body.decode("utf-8-sig")))


def without_repeats(texts: list[str]) -> list[str]:
    """Return the texts without those that are a part of a longer one, blanks aside."""
    kept: dict[str, str] = {}
    for text in sorted(texts, key=len, reverse=True):
        bare = "".join(text.split())
        if not any(bare in longer for longer in kept):
            kept[bare] = text
    return list(kept.values())


def _joined(fields: _Fields) -> str:
    texts = {name: "".join(field.pieces) for name, field in fields.items()}
    thoughts = without_repeats([text for name, text in texts.items() if name in _THOUGHT])
    return "".join([*thoughts, *(text for name, text in texts.items() if name not in _THOUGHT)])


def _texts(message: object) -> Mapping[str, str]:
    """Return the texts of a message or a delta, by the names of their fields; without those that are empty."""
    if not isinstance(message, dict):
        return {}
    texts = {name: "".join(_read(message.get(name), _IN_A_PART)) for name in _SAID}
    texts |= {name: "".join(_read(message.get(name), _IN_A_THOUGHT)) for name in _THOUGHT}
    content = message.get("content")
    thoughts = [part for part in (content if isinstance(content, list) else (content,)) if _is_thought(part)]
    texts[_AMONG_PARTS] = "".join(_read(thoughts, _IN_A_THOUGHT))
    calls = message.get("tool_calls")
    calls = [*(calls if isinstance(calls, list) else ()), {"function": message.get("function_call")}]
    texts["calls"] = "".join(_of_call(call.get(kind)) for call in calls if isinstance(call, dict) for kind in _CALLED)
    return {name: text for name, text in texts.items() if text}


def _of_call(function: object) -> str:
    values = [function.get(name) for name in _OF_A_CALL] if isinstance(function, dict) else []
    return "".join(
        value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for value in values
        if value not in (None, "")
    )


def _is_thought(part: object) -> bool:
    kind = part.get("type") if isinstance(part, dict) else None
    return isinstance(kind, str) and ("thinking" in kind or "reasoning" in kind)


def _read(value: object, names: tuple[str, ...], depth: int = 0) -> Iterator[str]:
    """Yield the texts of a field, and of its parts under these names; thoughts among the parts of an answer aren't."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and depth < _MAX_DEPTH:
        for part in value:
            yield from _read(part, names, depth + 1)
    elif isinstance(value, dict) and depth < _MAX_DEPTH and (names is _IN_A_THOUGHT or not _is_thought(value)):
        for name in names:
            yield from _read(value.get(name), names, depth + 1)
