"""What a request's fields do to its keys. Each protocol has a table of its fields in `forms/`.

A field that is missing in its table counts as `PARTITION`: an unknown parameter may change the answer, so requests with
different values of it never share an answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


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


def _whole(value: Any) -> object:
    return value


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its role, the check of its value's type, and what of its value counts.

    A value of another type isn't refused, since some upstream may know its meaning: the request is forwarded, and uses
    no tier. The upstream says which values are in range. Null means unset.

    Attributes:
        role: what the field does to the keys.
        check: whether a value has the field's type.
        counted: returns what of a value, of any type, is part of the keys.
    """

    role: Role
    check: Callable[[object], bool]
    counted: Callable[[Any], object] = _whole


def is_boolean(value: object) -> bool:
    """Whether a JSON value is true or false."""
    return isinstance(value, bool)


def is_integer(value: object) -> bool:
    """Whether a JSON value is an integer; 1.0 is one, as every provider reads it."""
    return type(value) is int or (isinstance(value, float) and value.is_integer())


def is_number(value: object) -> bool:
    """Whether a JSON value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_string(value: object) -> bool:
    """Whether a JSON value is a string."""
    return isinstance(value, str)


def is_object(value: object) -> bool:
    """Whether a JSON value is an object."""
    return isinstance(value, dict)


def is_list(value: object) -> bool:
    """Whether a JSON value is a list."""
    return isinstance(value, list)


def either(*checks: Callable[[object], bool]) -> Callable[[object], bool]:
    """Return a check that passes what one of these checks passes."""
    return lambda value: any(check(value) for check in checks)


def is_strings(value: object) -> bool:
    """Whether a JSON value is a list of strings."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def partition(check: Callable[[object], bool], counted: Callable[[Any], object] = _whole) -> Field:
    """Return a field that keeps requests apart; `check` tells whether a value has its type, `counted` what counts."""
    return Field(Role.PARTITION, check, counted)


def ignored() -> Field:
    """Return a field that can't change the answer."""
    return Field(Role.IGNORED, lambda _: True)


def end_user() -> Field:
    """Return a field that names the end user."""
    return Field(Role.END_USER, lambda _: True)


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
