"""The table of all fields of a chat-completions request: what each does to the keys, and the types of its values.

A field that is missing here counts as `PARTITION`: an unknown parameter may change the answer, so requests with
different values of it never share an answer.
"""

from __future__ import annotations

import re
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
    END_USER = "end_user"
    """Names the end user. As `PARTITION` where `cacheability.per_end_user` is set, otherwise as `IGNORED`."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its role, and the check of its value's type.

    A value of another type isn't refused, since some upstream may know its meaning: the request is forwarded, and uses
    no tier. The upstream says which values are in range. Null means unset.
    """

    role: Role
    check: Callable[[object], bool]


def _boolean(value: object) -> bool:
    return isinstance(value, bool)


def is_integer(value: object) -> bool:
    """Whether a JSON value is an integer; 1.0 is one, as every provider reads it."""
    return type(value) is int or (isinstance(value, float) and value.is_integer())


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


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


def _partition(check: Callable[[object], bool]) -> Field:
    return Field(Role.PARTITION, check)


def _ignored() -> Field:
    return Field(Role.IGNORED, lambda _: True)


def _end_user() -> Field:
    return Field(Role.END_USER, lambda _: True)


FIELDS: Mapping[str, Field] = {
    "messages": Field(Role.KEY, _list),
    "model": _partition(_string),
    # Instructions beside the messages.
    "tools": _partition(_list),
    "tool_choice": _partition(_either(_string, _object)),
    "parallel_tool_calls": _partition(_boolean),
    "functions": _partition(_list),
    "function_call": _partition(_either(_string, _object)),
    "response_format": _partition(_object),
    "prediction": _partition(_object),
    "web_search_options": _partition(_object),
    # Sampling and length.
    "temperature": _partition(_number),
    "top_p": _partition(_number),
    "max_tokens": _partition(is_integer),
    "max_completion_tokens": _partition(is_integer),
    "stop": _partition(_either(_string, _strings)),
    "seed": _partition(is_integer),
    "presence_penalty": _partition(_number),
    "frequency_penalty": _partition(_number),
    "logit_bias": _partition(_object),
    "n": _partition(is_integer),
    "logprobs": _partition(_either(_boolean, is_integer)),
    "top_logprobs": _partition(is_integer),
    "reasoning_effort": _partition(_string),
    "verbosity": _partition(_string),
    "modalities": _partition(_strings),
    "audio": _partition(_object),
    "moderation": _partition(_object),
    # Who asks, of the caller's own users.
    "user": _end_user(),
    "safety_identifier": _end_user(),
    # Bookkeeping between the caller and the provider, without effect on the answer. An end user that `metadata` names
    # counts as one that `user` names.
    "metadata": _ignored(),
    "store": _ignored(),
    "service_tier": _ignored(),
    "prompt_cache_key": _ignored(),
    "prompt_cache_retention": _ignored(),
    "prompt_cache_options": _ignored(),
    # How the answer is sent: plain and streamed requests share one cache.
    "stream": _ignored(),
    "stream_options": _ignored(),
}

_OF_AN_END_USER = re.compile(r"user|customer|e-?mail|account|member|employee|patient|safety.?identifier", re.IGNORECASE)


def named_end_users(metadata: object) -> object:
    """Return what of a request's `metadata` names the end user, with its place in it; empty where nothing does.

    Anthropic's field is `user_id`, and tracing tools read others, such as `trace_user_id`. A name that is missing here
    would give one end user another's answer; one too many costs only hits.
    """
    if isinstance(metadata, list):
        return [named for item in metadata if (named := named_end_users(item))]
    if not isinstance(metadata, dict):
        return {}
    found = {
        name: item if _OF_AN_END_USER.search(name) else named_end_users(item)
        for name, item in metadata.items()
        if item is not None
    }
    return {name: item for name, item in found.items() if item not in ("", [], {})}
