"""The table of all fields of a chat-completions request: what each does to the keys, and which values it may have.

A field that is missing here counts as `PARTITION`: an unknown parameter may change the answer, so requests with
different values of it never share an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a field does to a request's keys."""

    KEY = "key"
    """Part of the exact key. Only what isn't compared by meaning is part of the partition too (the messages)."""
    PARTITION = "partition"
    """Part of the exact key and of the partition: requests with different values never share an answer."""
    IGNORED = "ignored"
    """In neither key: the field can't change the answer's content, and as part of a key it would prevent hits."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its role, the check of its value, and the allowed values in words. Null means unset and passes."""

    role: Role
    check: Callable[[object], bool]
    wanted: str


def _boolean(value: object) -> bool:
    return isinstance(value, bool)


def _integer(low: int, high: int = 2**63 - 1) -> Callable[[object], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _number(low: float, high: float) -> Callable[[object], bool]:
    return lambda value: isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _string(value: object) -> bool:
    return isinstance(value, str)


def _object(value: object) -> bool:
    return isinstance(value, dict)


def _list(value: object) -> bool:
    return isinstance(value, list)


def _either(*checks: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: any(check(value) for check in checks)


def _strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _partition(check: Callable[[object], bool], wanted: str) -> Field:
    return Field(Role.PARTITION, check, wanted)


def _ignored(check: Callable[[object], bool], wanted: str) -> Field:
    return Field(Role.IGNORED, check, wanted)


_STRING = (_string, "a string")
_BOOLEAN = (_boolean, "a boolean")
_OBJECT = (_object, "an object")

FIELDS: Mapping[str, Field] = {
    "messages": Field(Role.KEY, _list, "a list of messages"),
    "model": _partition(*_STRING),
    # Instructions beside the messages.
    "tools": _partition(_list, "a list of tools"),
    "tool_choice": _partition(_either(_string, _object), "a string or an object"),
    "parallel_tool_calls": _partition(*_BOOLEAN),
    "functions": _partition(_list, "a list of functions"),
    "function_call": _partition(_either(_string, _object), "a string or an object"),
    "response_format": _partition(*_OBJECT),
    "prediction": _partition(*_OBJECT),
    "web_search_options": _partition(*_OBJECT),
    # Sampling and length.
    "temperature": _partition(_number(0, 2), "a number from 0 to 2"),
    "top_p": _partition(_number(0, 1), "a number from 0 to 1"),
    "max_tokens": _partition(_integer(1), "an integer of at least 1"),
    "max_completion_tokens": _partition(_integer(1), "an integer of at least 1"),
    "stop": _partition(_either(_string, _strings), "a string or a list of strings"),
    "seed": _partition(_integer(-(2**63)), "an integer"),
    "presence_penalty": _partition(_number(-2, 2), "a number from -2 to 2"),
    "frequency_penalty": _partition(_number(-2, 2), "a number from -2 to 2"),
    "logit_bias": _partition(*_OBJECT),
    "n": _partition(_integer(1, 128), "an integer from 1 to 128"),
    "logprobs": _partition(*_BOOLEAN),
    "top_logprobs": _partition(_integer(0, 20), "an integer from 0 to 20"),
    "reasoning_effort": _partition(*_STRING),
    "verbosity": _partition(*_STRING),
    "modalities": _partition(_strings, "a list of strings"),
    "audio": _partition(*_OBJECT),
    "moderation": _partition(*_OBJECT),
    # Bookkeeping between the caller and the provider, without effect on the answer.
    "user": _ignored(*_STRING),
    "safety_identifier": _ignored(*_STRING),
    "metadata": _ignored(*_OBJECT),
    "store": _ignored(*_BOOLEAN),
    "service_tier": _ignored(*_STRING),
    "prompt_cache_key": _ignored(*_STRING),
    "prompt_cache_retention": _ignored(*_STRING),
    "prompt_cache_options": _ignored(*_OBJECT),
    # How the answer is sent: plain and streamed requests share one cache.
    "stream": _ignored(*_BOOLEAN),
    "stream_options": _ignored(*_OBJECT),
}

MESSAGE_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
