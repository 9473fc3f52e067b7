"""Reads what a logged request says beside its messages: the settings that decide its answer, and its instructions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from semcache.evaluation.records.messages import ChatMessage, is_empty, with_instructions, with_system
from semcache.evaluation.records.objects import value_in
from semcache.evaluation.records.record import Record, plain, refuse
from semcache.request.fields import Role
from semcache.request.forms.chat import FIELDS

_NESTED = ("modelparameters", "invocationparams", "optionalparams", "proxyserverrequest", "requestbody", "request")
"""Plain names of objects that hold the settings beside a prompt, as Langfuse, LangSmith and LiteLLM export them."""
_SYSTEM = ("systemprompt", "system", "systemmessage", "systeminstruction")
"""Plain names of a system's instructions, best first."""
_BARE = frozenset({"model", "input", "messages", "instructions", *_SYSTEM, "stream", "streamoptions"})
"""Plain names of a request's fields that are read elsewhere, or that say how its answer is sent."""
_BOOKKEEPING = frozenset({"id", "requestid", "traceid", "sessionid", "timestamp", "createdat", "created", "starttime"})
"""Plain names that a log adds to a request. As settings, they would keep two equal requests apart."""
_LONGEST_SCALAR = 24
"""Characters of the longest number or boolean in a cell: longer text without a bracket is prose."""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


_DECIDING = {name: field.check for name, field in FIELDS.items() if field.role in {Role.PARTITION, Role.END_USER}}
_EXTENSIONS: Mapping[str, Callable[[object], bool]] = {
    "top_k": _is_number,
    "min_p": _is_number,
    "repetition_penalty": _is_number,
    "thinking": _is_object,
    "chat_template_kwargs": _is_object,
    "extra_body": _is_object,
    "guided_json": lambda value: isinstance(value, str | dict),
    "max_output_tokens": _is_number,
    "stop_sequences": lambda value: isinstance(value, list),
    "reasoning": _is_object,
    "text": _is_object,
}
"""Settings of other APIs and servers, with the checks of their values: some data sets use the names for texts."""
_CHECKS = {plain(name): (name, check) for name, check in {**_DECIDING, **_EXTENSIONS}.items() if name != "model"}


def settings_beside(record: Record) -> dict[str, Any]:
    """Return the settings among a record's fields, under the names of the chat API.

    A record of a log or a data set has other fields too, so that only known names with values of their types count.
    A table's cell writes such a value as JSON.
    """
    settings: dict[str, Any] = {}
    for fields in _places(record):
        for key, value in fields.items():
            name, check = _CHECKS.get(plain(str(key)), ("", _is_number))
            read = _typed(value, check) if name and name not in settings else None
            if read is not None:
                settings[name] = read
    if "messages" not in record.fields:
        settings.pop("n", None)  # In a table of prompts, `n` numbers the rows.
    return _as_chat(settings)


def settings_in(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return all fields of a whole request but its messages and how its answer is sent: any may decide the answer."""
    kept = {name: value for name, value in request.items() if plain(name) not in _BARE | _BOOKKEEPING}
    return _as_chat(kept)


def instructed(record: Record, messages: list[ChatMessage]) -> list[ChatMessage]:
    """Return the messages after the instructions that stand beside them in a record.

    Raises:
        InvalidRequestError: BAD_FILE: the instructions are neither a text nor parts with text.
    """
    system = next((text for text in (_instructions(record, name) for name in _SYSTEM) if text), "")
    return with_instructions(with_system(messages, system), _instructions(record, "instructions"))


def _instructions(record: Record, name: str) -> str:
    value = record.fields.get(name)
    if is_empty(value):
        return ""
    if isinstance(value, str):
        parts = _value_in(value)
        text = _text_of(parts) if isinstance(parts, list | dict) else ""
        return text or value
    if not isinstance(value, list | dict):
        return ""
    text = _text_of(value)
    if not text:
        hint = 'Write a text, or parts such as {"type": "text", "text": "Be brief."}.'
        refuse(record.where, f"has a {name} that is neither a text nor parts with text", hint)
    return text


def _text_of(value: Any) -> str:
    """Return the text of instructions in parts, one part a line; empty if a part has none."""
    if isinstance(value, dict):
        inner = next((value[name] for name in ("parts", "content", "text") if name in value), None)
        return _text_of(inner)
    if isinstance(value, list):
        texts = [_text_of(part) for part in value]
        return "\n".join(texts) if all(texts) else ""
    return value if isinstance(value, str) else ""


def _places(record: Record) -> Iterator[Mapping[Any, Any]]:
    yield record.fields
    for name in _NESTED:
        value = record.fields.get(name)
        parsed = _value_in(value) if isinstance(value, str) else value
        if isinstance(parsed, dict):
            yield parsed


def _typed(value: Any, check: Callable[[object], bool]) -> Any:
    """Return a value of the type that a check knows, also out of JSON text; None if it is of another type or empty."""
    parsed = _value_in(value) if isinstance(value, str) else None
    items = (parsed, value) if isinstance(parsed, list | dict) else (value, parsed)
    fitting = (item for item in items if not is_empty(item) and _is_finite(item) and check(item))
    return next(fitting, None)


def _value_in(text: str) -> Any:
    """Return the value that a cell writes as JSON; None for prose."""
    bare = text.strip()
    return value_in(bare) if bare.startswith(("{", "[")) or len(bare) <= _LONGEST_SCALAR else None


def _is_finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _as_chat(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with the chat API's names for those of OpenAI's Responses and Anthropic's Messages."""
    chat = {name: value for name, value in settings.items() if name not in {"reasoning", "text"}}
    for theirs, ours in (("max_output_tokens", "max_completion_tokens"), ("stop_sequences", "stop")):
        if theirs in chat:
            chat.setdefault(ours, chat.pop(theirs))
    reasoning, text = settings.get("reasoning"), settings.get("text")
    if isinstance(reasoning, dict) and reasoning.get("effort"):
        chat.setdefault("reasoning_effort", reasoning["effort"])
    if isinstance(text, dict) and text.get("verbosity"):
        chat.setdefault("verbosity", text["verbosity"])
    if isinstance(text, dict) and isinstance(text.get("format"), dict):
        chat.setdefault("response_format", _nested(text["format"], "json_schema"))
    if isinstance(chat.get("tools"), list):
        chat["tools"] = [_nested(tool, "function") if isinstance(tool, dict) else tool for tool in chat["tools"]]
    return chat


def _nested(value: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return a tool or a format as the chat API nests it: the Responses API writes its fields beside its type."""
    if value.get("type") != kind or kind in value:
        return value
    return {"type": kind, kind: {name: item for name, item in value.items() if name != "type"}}
