"""Read what a body asks of its answer's form. A value of an odd type or size counts as unset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from semcache.request.fields import is_integer

_MAX_LIMIT = 2**63 - 1
"""No model has a larger limit, and budgets compute with it."""


def output_limit(fields: Mapping[str, Any]) -> int | None:
    """Return the caller's limit on output tokens; None when unset. Some servers read 0 or -1 as no limit."""
    for name in ("max_completion_tokens", "max_tokens"):
        value = fields.get(name)
        if value is not None and is_integer(value) and 1 <= value <= _MAX_LIMIT:
            return int(value)
    return None


def choices(fields: Mapping[str, Any]) -> int:
    """Return how many answers the caller wants at once, at least one."""
    value = fields.get("n", 1)
    return max(1, int(value)) if is_integer(value) else 1


def wants_usage(fields: Mapping[str, Any]) -> bool:
    """Return whether a streaming caller wants the chunk that tells the usage."""
    options = fields.get("stream_options")
    return isinstance(options, dict) and bool(options.get("include_usage"))
