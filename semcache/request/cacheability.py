"""Decide how much of the cache a request may use: both tiers, the exact tier alone, or none. Each has a reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from semcache.model import Cacheability, Tier
from semcache.request.hidden import has_hidden_characters
from semcache.request.parsing import ChatBody, message_text
from semcache.request.repeatability import Message, Repeatability
from semcache.request.wishes import wants_web_search
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
        "random",
        "continuation",
        "personal",
    )
}
_SEMANTIC = Cacheability(Tier.SEMANTIC, "cacheable")
_CALLED_TOOLS = Cacheability(Tier.EXACT, "tool_calls")
_IMAGES = Cacheability(Tier.EXACT, "images")
_COMPARABLE_PARTS = frozenset({"text", "refusal"})
_IMAGE_PARTS = frozenset({"image_url"})


class CacheabilityRules:
    """Rules over a parsed body and the text that would be compared."""

    def __init__(
        self, settings: CacheabilitySettings, *, fits: Callable[[str], bool], knows: Callable[[str], bool]
    ) -> None:
        """Set up the rules.

        Args:
            settings: the limits and the lists of wordings.
            fits: returns whether the embedding model reads all of a text.
            knows: returns whether the embedding model knows every character of a text; asked where `fits` is false.
        """
        self._settings = settings
        self._repeatability = Repeatability(settings)
        self._fits = fits
        self._knows = knows

    def classify(self, body: ChatBody, text: str) -> Cacheability:
        """Return how much of the cache a request may use, and why.

        Args:
            body: the request's parsed body.
            text: the text that would be compared by meaning; empty when there is none.
        """
        message = _message(body)
        reason = _bypass_reason(body, self._settings) or self._repeatability.class_of(message)
        if reason:
            return _BYPASS[reason]
        # What a tool or an image says is compared by no model of texts, so only an equal conversation is the same.
        if _called_tools(body) or _must_call_tools(body):
            return _CALLED_TOOLS
        if _has_parts(body.messages, beside=_COMPARABLE_PARTS):
            return _IMAGES
        if not text:
            return Cacheability(Tier.EXACT, "nothing_to_compare")
        if has_hidden_characters(message.asked):
            return Cacheability(Tier.EXACT, "hidden_characters")
        if not self._fits(text):
            # A model that reads only a part makes all prompts that are equal in this part look alike.
            return Cacheability(Tier.EXACT, "longer_than_model" if self._knows(text) else "unknown_to_model")
        return _SEMANTIC


def _bypass_reason(body: ChatBody, settings: CacheabilitySettings) -> str:
    fields = body.fields
    if fields.get("n", 1) > 1:
        return "several_choices"
    if fields.get("logprobs") or fields.get("top_logprobs"):
        return "logprobs"
    if (
        "audio" in fields
        or set(fields.get("modalities", ())) - {"text"}
        or _has_parts(body.messages, beside=_COMPARABLE_PARTS | _IMAGE_PARTS)
    ):
        return "not_text"
    if _must_call_tools(body) and not settings.store_tool_calls:
        return "tool_calls"
    if wants_web_search(fields):
        return "web_search"
    return "temperature" if fields.get("temperature", 0) > settings.max_temperature else ""


def _message(body: ChatBody) -> Message:
    """Return what tells whether a request is repeatable: its user messages, and whether a turn stands before the last.

    A last message of the assistant is the beginning of the answer, so the question is the user message before it.
    """
    said = [message_text(message) for message in body.messages if message["role"] == "user"]
    turns = sum(message["role"] in {"user", "assistant"} for message in body.messages)
    return Message(said[-1] if said else "", said[:-1], begins=turns == 1)


def _has_parts(messages: Iterable[Mapping[str, Any]], *, beside: AbstractSet[str]) -> bool:
    """Return whether a message has a part of another type than these."""
    return any(
        part["type"] not in beside
        for message in messages
        if isinstance(message.get("content"), list)
        for part in message["content"]
    )


def _must_call_tools(body: ChatBody) -> bool:
    """Return whether the request demands an answer that calls a tool."""
    return body.fields.get("tool_choice", "auto") not in ("auto", "none")


def _called_tools(body: ChatBody) -> bool:
    """Return whether a tool was called in an earlier turn."""
    return any(
        message["role"] in {"tool", "function"} or message.get("tool_calls") or message.get("function_call")
        for message in body.messages
    )
