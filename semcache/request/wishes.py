"""Read what a body asks of its answer's form. A value of an odd type or size counts as unset."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from semcache.request.fields import is_integer

_MAX_LIMIT = 2**63 - 1
"""No model has a larger limit, and budgets compute with it."""
_OF_THE_WEB = re.compile(r"search|browser|browsing|internet|grounding|web(?:$|fetch|crawl)|urlcontext|googlemaps")
"""Names of fields, tools and plugins that bring what the web says now, in small letters alone."""
_ELSEWHERE = re.compile(r"disable|(?:file|vector|store|tool|beam|tree|azure|azureai|knowledge|database|code)s?search")
"""Searches of anything but the web, and fields that switch one off."""
_WEB_MODELS = re.compile(r":online$|(?:^|[/.])sonar(?:-|$)|-search-(?:preview|api)|deep-research", re.IGNORECASE)
"""Models that search the web whenever they are asked: OpenRouter's suffix, Perplexity's, OpenAI's."""
_OFF = frozenset({"", "0", "off", "none", "false", "no", "disabled", "never"})
_SWITCHES = ("mode", "enable", "enabled", "type")
_NO_LETTERS = re.compile(r"[^a-z]+")


def output_limit(fields: Mapping[str, Any], names: Sequence[str]) -> int | None:
    """Return the caller's limit on output tokens; None when unset. Some servers read 0 or -1 as no limit.

    Args:
        fields: of the body.
        names: under which the limit may stand, the first of them counts.
    """
    for name in names:
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


def wants_web_search(fields: Mapping[str, Any]) -> bool:
    """Return whether the answer rests on a search of the web: by a field, a tool, a plugin, or the model's name."""
    if _WEB_MODELS.search(str(fields.get("model", "")).strip()):
        return True
    for name, value in fields.items():
        if name in {"tools", "plugins", "connectors"}:
            if isinstance(value, list) and any(_is_web_tool(tool) for tool in value):
                return True
        elif name == "extra_body" and isinstance(value, dict):
            if wants_web_search(value):
                return True
        elif _is_of_the_web(name) and _is_on(value):
            return True
    return False


def _is_web_tool(tool: object) -> bool:
    """Whether a tool or a plugin is a search that the upstream makes. A function is the caller's, whatever its name."""
    if isinstance(tool, str):
        return _is_of_the_web(tool)
    if not isinstance(tool, dict) or tool.get("type") in {"function", "custom"} or tool.get("enabled") is False:
        return False
    function = tool.get("function")
    built_in = function.get("name") if isinstance(function, dict) else None  # Moonshot's $web_search
    said = [tool.get("type"), tool.get("id"), tool.get("name"), built_in]
    keys = [name for name, value in tool.items() if _is_of_the_web(name) and _is_on(value)]
    off = [name for name, value in tool.items() if _is_of_the_web(name) and not _is_on(value)]
    return bool(keys) or (not off and any(isinstance(name, str) and _is_of_the_web(name) for name in said))


def _is_of_the_web(name: str) -> bool:
    letters = _NO_LETTERS.sub("", name.lower())
    return bool(_OF_THE_WEB.search(letters)) and not _ELSEWHERE.search(letters)


def _is_on(value: object) -> bool:
    """Whether a switch is on. An object is on unless a field of it says otherwise: {} stands for the defaults."""
    if isinstance(value, dict):
        return all(_is_on(value[name]) for name in _SWITCHES if name in value)
    if isinstance(value, bool) or value is None:
        return bool(value)
    return str(value).strip().lower() not in _OFF
