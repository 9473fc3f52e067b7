"""Reads single counts out of a usage: under several names, as numbers or digits, and none that is impossible."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

MAX_TOKENS = 10**12
"""A larger count can't be true, and its price would not fit into 64 bits of nanodollars."""

Counts = Mapping[str, Any]


def possible(counts: Counts, names: Sequence[str]) -> tuple[int | None, bool]:
    """Return the largest count that is told under any of these names, and whether one was impossible.

    Several names for one count stand side by side in some usages, all but one of them 0.
    """
    told: list[int] = []
    odd = False
    for name in names:
        value = counts.get(name)
        if value is None:
            continue
        count = _count(value)
        if count is None:
            odd = True
            continue
        told.append(count)
        odd = odd or (isinstance(value, float) and count != value)
    return (max(told), odd) if told else (None, odd)


def _count(value: object) -> int | None:
    """Return a count of tokens; None for what can't be one. A part of a token is rounded up; a bool is no count."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20:
        value = int(value)
    if isinstance(value, float) and math.isfinite(value):
        value = math.ceil(value) if value >= 0 else -1
    return value if type(value) is int and 0 <= value <= MAX_TOKENS else None


def details(counts: Counts, names: Sequence[str]) -> Counts:
    """Return the details under the first of these names that has any; Gemini's list of them as OpenAI's object."""
    for name in names:
        value = counts.get(name)
        if isinstance(value, dict):
            return value
        if isinstance(value, list) and value:
            return _by_kind(value)
    return {}


def _by_kind(parts: Sequence[object]) -> Counts:
    kinds: dict[str, int] = {}
    for part in parts:
        kind = part.get("modality") if isinstance(part, dict) else None
        if isinstance(part, dict) and isinstance(kind, str):
            name = f"{kind.lower()}_tokens"
            kinds[name] = kinds.get(name, 0) + (possible(part, ("tokenCount", "token_count"))[0] or 0)
    return kinds
