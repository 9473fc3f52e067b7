"""Which requests may be answered from the cache, and how far the cache may look: a policy with a reason."""

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


class CacheabilityPolicy:
    """Rules over a parsed body and the text that would be compared."""

    def __init__(self, settings: CacheabilitySettings, fits: Callable[[str], bool]) -> None:
        """`fits` says whether the embedding model reads all of a text."""
        self._max_temperature = settings.max_temperature
        self._rules = Patterns((*settings.time_sensitive, *settings.personal))
        self._time_sensitive = len(settings.time_sensitive)
        self._fits = fits

    def judge(self, body: ChatBody, text: str) -> Cacheability:
        """How far a request may look. `text` is what would be compared by meaning, empty when nothing is."""
        reason = self._bypass_reason(body, text)
        if reason:
            return _BYPASS[reason]
        if not text:
            return Cacheability(Tier.EXACT, "nothing_to_compare")
        if not self._fits(text):
            # A cut embedding makes all long prompts with one beginning look alike.
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
        found = self._rules.found(text)
        if not found:
            return ""
        return "time_sensitive" if found[0] < self._time_sensitive else "personal"


def _has_media(messages: Iterable[Mapping[str, Any]]) -> bool:
    return any(
        part["type"] not in {"text", "refusal"}
        for message in messages
        if isinstance(message.get("content"), list)
        for part in message["content"]
    )


def _calls_tools(body: ChatBody) -> bool:
    if body.fields.get("tool_choice", "auto") not in ("auto", "none"):
        return True  # The answer will be a call, and a call is never stored.
    return any(
        message["role"] in {"tool", "function"} or message.get("tool_calls") or message.get("function_call")
        for message in body.messages
    )
