"""Decide how much of the cache a request may use: both tiers, the exact tier alone, or none. Each has a reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from semcache.model import Cacheability, Tier
from semcache.request.forms import Demands
from semcache.request.forms.form import EXACT_ALONE, NO_TIER
from semcache.request.hidden import has_hidden_characters
from semcache.request.parsing import ParsedBody, message_text
from semcache.request.repeatability import Message, Repeatability
from semcache.settings import CacheabilitySettings

_NONE: Mapping[str, Cacheability] = {
    reason: Cacheability(Tier.NONE, reason)
    for reason in (*NO_TIER, "tool_calls", "temperature", "time_sensitive", "random", "continuation", "personal")
}
_EXACT: Mapping[str, Cacheability] = {reason: Cacheability(Tier.EXACT, reason) for reason in EXACT_ALONE}
_SEMANTIC = Cacheability(Tier.SEMANTIC, "cacheable")


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

    def classify(self, body: ParsedBody, text: str) -> Cacheability:
        """Return how much of the cache a request may use, and why.

        Args:
            body: the request's parsed body.
            text: the text that would be compared by meaning; empty when there is none.
        """
        message = _message(body)
        reason = _no_tier(body.demands, self._settings)
        if not reason and not body.demands.is_function:
            reason = self._repeatability.class_of(message)
        if reason:
            return _NONE[reason]
        if body.demands.exact_alone:
            return _EXACT[body.demands.exact_alone]
        if not text:
            return Cacheability(Tier.EXACT, "nothing_to_compare")
        if has_hidden_characters(message.asked):
            return Cacheability(Tier.EXACT, "hidden_characters")
        if not self._fits(text):
            # A model that reads only a part makes all prompts that are equal in this part look alike.
            return Cacheability(Tier.EXACT, "longer_than_model" if self._knows(text) else "unknown_to_model")
        return _SEMANTIC


def _no_tier(demands: Demands, settings: CacheabilitySettings) -> str:
    if demands.no_tier:
        return demands.no_tier
    if demands.must_call_tools and not settings.store_tool_calls:
        return "tool_calls"
    return "temperature" if demands.temperature > settings.max_temperature else ""


def _message(body: ParsedBody) -> Message:
    """Return what tells whether a request is repeatable: its user messages, and whether a turn stands before the last.

    A last message of the assistant is the beginning of the answer, so the question is the user message before it.
    """
    said = [message_text(message) for message in body.messages if message["role"] == "user"]
    turns = sum(message["role"] in {"user", "assistant"} for message in body.messages)
    return Message(said[-1] if said else "", said[:-1], begins=turns == 1)
