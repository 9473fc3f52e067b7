"""Decide which answers are stored: complete, unfiltered and non-empty ones without tool calls."""

from __future__ import annotations

from semcache.model import Answer, CacheMode, KeyedRequest, Tier


def skip_reason(keyed: KeyedRequest, answer: Answer) -> str:
    """Return why an answer isn't stored, as a stable snake_case token; empty when it is stored."""
    control = keyed.request.control
    if control.no_store:
        return "no_store"
    if control.mode is CacheMode.BYPASS:
        return "bypass"
    if keyed.cacheability.tier is Tier.NONE:
        return keyed.cacheability.reason
    if answer.tool_calls:
        return "tool_calls"
    if answer.finish_reason == "content_filter":
        return "filtered"
    if answer.finish_reason == "length":
        # An answer cut at the caller's own limit is what the caller asked for; cut at the model's limit, it isn't.
        if keyed.output_limit is None:
            return "incomplete"
    elif answer.finish_reason != "stop":
        return "incomplete"
    return "" if answer.text.strip() else "empty"
