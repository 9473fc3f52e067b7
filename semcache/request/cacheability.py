"""Decide how much of the cache a request may use: both tiers, the exact tier alone, or none. Each has a reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from semcache.model import Cacheability, Tier
from semcache.request.parsing import ChatBody
from semcache.request.patterns import Patterns
from semcache.settings import CacheabilitySettings

_BYPASS: Mapping[str, Cacheability] = {
    reason: Cacheability(Tier.NONE, reason)
    for reason in (
        "several_choices",
        "logprobs",
        "not_text",
        "tool_calls",
        "web_search",
        "temperature",
        "time_sensitive",
        "personal",
    )
}
_SEMANTIC = Cacheability(Tier.SEMANTIC, "cacheable")


class CacheabilityRules:
    """Rules over a parsed body and the text that would be compared."""

    def __init__(self, settings: CacheabilitySettings, fits: Callable[[str], bool]) -> None:
        """Set up the rules.

        Args:
            settings: the limits and patterns.
            fits: returns whether the embedding model reads all of a text.
        """
        self._max_temperature = settings.max_temperature
        self._patterns = Patterns((*settings.time_sensitive, *settings.personal))
        self._time_sensitive_count = len(settings.time_sensitive)
        self._fits = fits

    def classify(self, body: ChatBody, text: str) -> Cacheability:
        """Return how much of the cache a request may use, and why.

        Args:
            body: the request's parsed body.
            text: the text that would be compared by meaning; empty when there is none.
        """
        reason = self._bypass_reason(body, text)
        if reason:
            return _BYPASS[reason]
        if not text:
            return Cacheability(Tier.EXACT, "nothing_to_compare")
        if not self._fits(text):
            # A model that reads only the beginning makes all prompts with an equal beginning look alike.
            return Cacheability(Tier.EXACT, "longer_than_model")
        return _SEMANTIC

    def _bypass_reason(self, body: ChatBody, text: str) -> str:
        fields = body.fields
        if fields.get("n", 1) > 1:
            return "several_choices"
        if fields.get("logprobs") or fields.get("top_logprobs"):
            return "logprobs"
        if "audio" in fields or set(fields.get("modalities", ())) - {"text"} or _has_media(body.messages):
            return "not_text"
        if _calls_tools(body):
            return "tool_calls"
        if "web_search_options" in fields:
            return "web_search"
        if fields.get("temperature", 0) > self._max_temperature:
            return "temperature"
        matches = self._patterns.find(text)
        if not matches:
            return ""
        return "time_sensitive" if matches[0] < self._time_sensitive_count else "personal"


def _has_media(messages: Iterable[Mapping[str, Any]]) -> bool:
    return any(
        part["type"] not in {"text", "refusal"}
        for message in messages
        if isinstance(message.get("content"), list)
        for part in message["content"]
    )


def _calls_tools(body: ChatBody) -> bool:
    if body.fields.get("tool_choice", "auto") not in ("auto", "none"):
        return True  # The answer will be a tool call, and a tool call is never stored.
    return any(
        message["role"] in {"tool", "function"} or message.get("tool_calls") or message.get("function_call")
        for message in body.messages
    )
