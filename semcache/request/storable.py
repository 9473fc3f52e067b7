"""Which answers are stored: complete, unfiltered, non-empty ones, and no calls of tools."""

from __future__ import annotations

from semcache.model import Answer, CacheMode, KeyedRequest, Tier


def skip_reason(keyed: KeyedRequest, answer: Answer) -> str:
    """Why an answer isn't stored (a stable snake_case token); empty when it is."""
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
        # Cut where the caller asked for it is whole; cut by a limit of the model's own isn't.
        if keyed.output_limit is None:
            return "incomplete"
    elif answer.finish_reason != "stop":
        return "incomplete"
    return "" if answer.text.strip() else "empty"
