"""Decide which answers are stored: sound, complete, unfiltered and non-empty ones; with tool calls by a setting."""

from __future__ import annotations

from semcache.model import Answer, ApiProtocol, CacheMode, Finish, KeyedRequest, Tier, finish_of, unknown_finish


def skip_reason(keyed: KeyedRequest, answer: Answer, *, store_tool_calls: bool = False) -> str:
    """Return why an answer isn't stored, as a stable snake_case token; empty when it is stored.

    One token has more: `unknown_finish_reason`, a colon, and the upstream's own word.

    Args:
        keyed: the request.
        answer: the answer.
        store_tool_calls: whether an answer that calls tools is stored.
    """
    control = keyed.request.control
    if control.no_store:
        return "no_store"
    if control.mode is CacheMode.BYPASS:
        return "bypass"
    if keyed.cacheability.tier is Tier.NONE:
        return keyed.cacheability.reason
    if answer.flaw:
        return answer.flaw
    finish = finish_of(answer.finish_reason)
    if (answer.tool_calls or finish is Finish.TOOL_CALLS) and not store_tool_calls:
        return "tool_calls"
    if finish is Finish.FILTERED:
        return "filtered"
    # An answer cut at the caller's own limit is what the caller asked for; cut at the model's limit, it isn't.
    if finish is Finish.CUT_OFF or (finish is Finish.LENGTH and keyed.output_limit is None):
        return "incomplete"
    if finish is Finish.UNKNOWN:
        return unknown_finish(answer.finish_reason)
    # An answer without a reason came whole: its JSON ended, or its stream said [DONE]. Broken ones don't come here.
    has_content = answer.text.strip() or answer.tool_calls or keyed.request.protocol is ApiProtocol.EMBEDDINGS
    return "" if has_content else "empty"
