"""Reads what came of an answer that can't be used, because its upstream charges for it all the same.

An answer is lost when it breaks off, when it comes too late or is too large, and when its JSON can't be read. What is
no answer at all (an error, a page of HTML, nothing) costs nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from semcache.model import LostAnswer
from semcache.protocols.generated import GeneratedText, generated_text, without_repeats
from semcache.protocols.sse import EventParser
from semcache.protocols.usage import completion_usage, find_usage, joined_usage
from semcache.protocols.wire import well_formed

_THOUGHT = ("text", "reasoning", "reasoning_content", "thinking", "summary")
"""Names under which servers send what a model thought, some of them one text under several."""
_TEXT = re.compile(
    rf'"(content|refusal|transcript|arguments|input|{"|".join(_THOUGHT)})"\s*:\s*"((?:[^"\\]|\\.)*)', re.DOTALL
)
"""A text in JSON that is cut: its value goes up to the closing quote, or to the end of what came."""
_ESCAPE = re.compile(r'(\\(?:u[0-9a-fA-F]{4}|["\\/bfnrt]))|\\(?:u[0-9a-fA-F]{0,3})?')
"""A whole escape of JSON, as its group, or one that is cut or unknown."""
_USAGE = re.compile(r'"usage"\s*:\s*(?=\{)')
_MODEL = re.compile(r'"model"\s*:\s*("(?:[^"\\]|\\.)*")')
_MAX_NAME_CHARS = 256
"""Longer than any model's name. Upstreams may send anything, and each ledger line holds it."""
_DECODER = json.JSONDecoder()
_LOOSE_DECODER = json.JSONDecoder(strict=False)
"""Takes line breaks within a text, too."""


@dataclass(slots=True)
class ReceivedBody:
    """What a target has sent of one answer.

    Attributes:
        begun: whether the head came, with a status of success.
        ended: whether the body came to its end.
        declared_bytes: the length that the head gives the body; 0 where it gives none.
        pieces: the body, as far as it came; of a stream, up to the first chunk that was passed on.
        chunks: the chunks of a stream that were passed on. They are shared with whoever reads them, not copied.
    """

    begun: bool = False
    ended: bool = False
    declared_bytes: int = 0
    pieces: list[bytes] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class LostForm:
    """How the lost answers of one protocol are read.

    Attributes:
        answers: whether a JSON object, whole or of a chunk, has a part of an answer or a usage.
        mark: what stands in the JSON of an answer and not in that of an error.
        chunks: returns the lost answer of a stream that broke off after these chunks.
        generated: returns all text that the JSON object of an answer has generated.
    """

    answers: Callable[[Mapping[str, Any]], bool]
    mark: str
    chunks: Callable[[Iterable[bytes], str], LostAnswer]
    generated: Callable[[Mapping[str, Any]], str]


def read_lost(received: ReceivedBody, target_model: str) -> LostAnswer | None:
    """Return the lost chat completion in what a target has sent; None when there is none that would be charged.

    Args:
        received: what has come.
        target_model: the model that the target was asked for.
    """
    return read_lost_of(_COMPLETION, received, target_model)


def read_lost_of(form: LostForm, received: ReceivedBody, target_model: str) -> LostAnswer | None:
    """Return the lost answer in what a target has sent; None when there is no answer that would be charged.

    Args:
        form: of the protocol.
        received: what has come.
        target_model: the model that the target was asked for.
    """
    if received.chunks:
        return form.chunks(received.chunks, target_model)
    if not received.begun:
        return None
    body = b"".join(received.pieces)
    start = body[:256].lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"{"):
        return _of_a_body(form, body, received, target_model)
    if start.startswith((b"data:", b"event:", b"id:", b":")):
        parser = EventParser()
        events = [event for event in (*parser.feed(body), *parser.finish()) if event.data.strip()]
        answers = [event.data for event in events if event.name != b"error" and _is_charged(form, event.data)]
        if answers or not (events or received.ended):
            return form.chunks(answers, target_model)
        return None
    if start or received.ended:  # HTML or plain text is no answer, and neither is nothing at all.
        return None
    return form.chunks([], target_model)


def _is_charged(form: LostForm, chunk: bytes) -> bool:
    value = read_leniently(chunk.decode("utf-8", "replace"))
    return isinstance(value, dict) and form.answers(value)


def _answers(value: Mapping[str, Any]) -> bool:
    """Return whether a chunk or a completion has a part of an answer or a usage, and isn't an error."""
    return bool(value.get("choices")) or find_usage(value) is not None


def read_chunks(chunks: Iterable[bytes], target_model: str) -> LostAnswer:
    """Return the lost answer of a stream that broke off after these chunks; what can't be read is passed over.

    Args:
        chunks: `chat.completion.chunk` JSON.
        target_model: the model that the target was asked for.
    """
    whole: dict[str, Any] = {}
    usage: Mapping[str, Any] | None = None
    generated = GeneratedText()
    for chunk in chunks:
        value = read_leniently(chunk.decode("utf-8", "replace"))
        if isinstance(value, dict):
            usage = joined_usage(usage, find_usage(value))
            generated.add(value)
            whole = {**value, **whole}
    return lost_of({**whole, "usage": usage}, generated.text(), target_model)


def _of_a_body(form: LostForm, body: bytes, received: ReceivedBody, target_model: str) -> LostAnswer | None:
    text = body.decode("utf-8", "replace")
    value = read_leniently(text)
    if isinstance(value, dict):
        # What has no answer is an error, or something that nobody charges for.
        return lost_of(value, form.generated(value), target_model) if form.answers(value) else None
    if '"error"' in text and form.mark not in text:
        return None
    cut: dict[str, Any] = {}
    if (name := _MODEL.search(text)) is not None:
        cut["model"] = read_leniently(name[1])
    for found in _USAGE.finditer(text):
        try:
            cut["usage"], _ = _DECODER.raw_decode(text, found.end())
        except (ValueError, RecursionError):
            continue  # The cut goes through the usage.
    came = _text_that_came(text)
    lost = lost_of(cut, came, target_model)
    if received.declared_bytes <= len(body):
        return lost
    whole_chars = len(came) * received.declared_bytes // max(1, len(body))
    return LostAnswer(lost.model, lost.usage, lost.text, whole_chars, target_model)


def lost_of(answer: Mapping[str, Any], text: str, target_model: str) -> LostAnswer:
    """Return the lost answer whose JSON object has this model and usage.

    Args:
        answer: the object, as far as it came.
        text: all text that came.
        target_model: the model that the target was asked for, which counts where the answer names none.
    """
    model = answer.get("model")
    named = well_formed(model) if isinstance(model, str) and model else target_model
    return LostAnswer(named[:_MAX_NAME_CHARS], completion_usage(answer), text, len(text), target_model)


def read_leniently(text: str) -> object:
    """Return the value of a JSON text in which numbers may be NaN or infinite; None for what is no JSON."""
    try:
        value: object = json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return None
    return value


def _text_that_came(text: str) -> str:
    """Return all texts of a completion's JSON that is cut, each thought once."""
    said: list[str] = []
    thoughts: dict[str, list[str]] = {}
    for name, part in _TEXT.findall(text):
        (thoughts.setdefault(name, []) if name in _THOUGHT else said).append(_unescaped(part))
    return "".join([*without_repeats(["".join(parts) for parts in thoughts.values()]), *said])


def _unescaped(text: str) -> str:
    """Return a text of JSON without its escapes; one that is cut at the end is dropped."""
    value: object = _LOOSE_DECODER.decode(f'"{_ESCAPE.sub(_whole_escape, text)}"')
    return well_formed(str(value))


def _whole_escape(found: re.Match[str]) -> str:
    return found[1] or ""


_COMPLETION = LostForm(answers=_answers, mark='"choices"', chunks=read_chunks, generated=generated_text)
