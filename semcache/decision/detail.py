"""Write an outcome's reason as one sentence for a person, with the figures that decided."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from semcache.model import UNKNOWN_FINISH, Decision, Effect, Judgement, Status

EXACT_HIT_SENTENCE = "An entry is stored for exactly this request."
"""The sentence of every exact hit: a constant, since an exact hit must not wait for a sentence."""

_THRESHOLDS: Mapping[str, str] = {
    "threshold": "the threshold {0:.3f}",
    "namespace_threshold": "the namespace's threshold {0:.3f}",
    "task_threshold": "the task type's threshold {0:.3f}",
    "namespace_and_task_threshold": "the threshold {0:.3f} of the namespace and task type",
    "few_repeats_threshold": "the threshold {0:.3f} of namespaces whose requests seldom repeat others",
    "request_threshold": "the request's own threshold {0:.3f}",
}
"""How a threshold is named, by the rule that set it."""
_CLAMPED = "clamped_to_"
"""The beginning of a rule that kept the configured threshold, since a request may only raise it."""

_PLAIN: Mapping[str, str] = {
    "exact_match": EXACT_HIT_SENTENCE,
    "in_flight": "An equal request was in flight, and its answer is shared.",
    "empty_partition": "Nothing is stored that this request could be compared with.",
    "nothing_to_compare": "The request ends with no user text to compare, so only an equal request is a hit.",
    "longer_than_model": "The text is longer than the embedding model reads, so only an equal request is a hit.",
    "unknown_to_model": "The embedding model doesn't know the text's characters, so only an equal request is a hit.",
    "hidden_characters": "The text has characters that nobody sees, so only an equal request is a hit.",
    "several_choices": "The request asks for several choices, and such answers aren't cached.",
    "logprobs": "The request asks for log probabilities, and such answers aren't cached.",
    "unknown_form": "A value in the request has a form that semcache doesn't know, so it is forwarded and not cached.",
    "not_text": "The request has media or asks for them, and only text is cached.",
    "tool_calls": "The request uses tool calls, and these aren't cached.",
    "web_search": "The request asks for a web search, and such answers aren't cached.",
    "server_tools": "The request has tools that the provider runs, and such answers aren't cached.",
    "kept_elsewhere": "The answer depends on what the provider keeps for the caller, so it isn't cached.",
    "images": "The request has an image or a document, so only an equal request is a hit.",
    "background": "The request is answered in the background, and such answers aren't cached.",
    "moderation": "The request has its own text moderated, so only an equal request is a hit.",
    "continues_elsewhere": "An earlier turn is kept at the provider, so only an equal request is a hit.",
    "temperature": "The request's temperature is above cacheability.max_temperature.",
    "time_sensitive": "The answer depends on when it is asked, by a wording of cacheability.time_sensitive.",
    "random": "Each answer should be another one, by a wording of cacheability.random.",
    "continuation": "The message needs an earlier turn and has none, by a wording of cacheability.continuation.",
    "personal": "The request is about one person, by a wording of cacheability.personal.",
}
"""Sentences without figures, by reason."""
_REQUESTED: Mapping[Status, str] = {
    Status.BYPASS: "The caller asked to bypass the cache.",
    Status.REFRESH: "The caller asked for a fresh answer.",
}
_BARRED: Mapping[str, str] = {
    "too_old": "but it is older than the request's max_age",
    "model_not_routed": "but the model that answered is no longer routed for the requested one",
    "degraded": "but its answer was made in degraded mode",
    "similarity_impossible": "but no whole vectors are that similar: one of them is damaged",
    "blocked": "but a caller reported it as a wrong answer to such a request",
}
"""Why an entry isn't served whatever its similarity, by reason."""
_NOT_STORED: Mapping[str, str] = {
    "no_store": "The caller asked not to store the answer.",
    "bypass": "The caller asked to bypass the cache, so the answer isn't stored.",
    "tool_calls": "The request or the answer has tool calls, and these aren't stored.",
    "filtered": "The provider's content filter cut the answer.",
    "incomplete": "The answer is incomplete.",
    "empty": "The answer has no text.",
    "not_mergeable": "The chunks of the stream have forms that can't be put together into one answer.",
    "malformed_tool_calls": "The answer's tool calls have a form that no stream can repeat.",
    "invalidated": "An invalidation named the answer before it was stored.",
    "degraded": "The answer was made in degraded mode, and a full answer is already stored.",
    "store_failed": "The store could not take the answer; the log has the cause.",
    "store_full": "The disk or the store is full; what room is left is kept for the ledger.",
    "spend_not_durable": "The store can't be written: the answer isn't stored, and what it cost waits in memory.",
    "verifier_off": "The task type needs a verifier, and degraded mode has switched verifiers off.",
    "not_verified": "The task type needs a verifier, and the verifier gave no usable reply.",
    "rejected_by_verifier": "The verifier found the answer wrong.",
}
"""Why an answer isn't stored, by reason. A request that isn't cacheable has the sentence of its cacheability."""


def detail(status: Status, reason: str, decision: Decision | None = None) -> str:
    """Return the sentence that explains an outcome to a person.

    Args:
        status: how the request ended.
        reason: why, as a stable token.
        decision: the decision over its candidates, for the figures; None where nothing was compared.

    Returns:
        One sentence. An unknown reason is named in it, and so is a known one whose figures are missing.
    """
    if reason == "requested" and status in _REQUESTED:
        return _REQUESTED[status]
    plain = _PLAIN.get(reason)
    if plain is not None:
        return plain
    describe = _WITH_FIGURES.get(reason)
    judgement = _deciding(decision) if describe else None
    if describe is None or decision is None or judgement is None:
        return f"The reason is {reason}." if reason else "No reason is known."
    return describe(judgement, decision)


def store_detail(reason: str) -> str:
    """Return the sentence that explains to a person why an answer isn't stored; empty for an empty reason."""
    if not reason:
        return ""
    kind, _, word = reason.partition(":")
    if kind == UNKNOWN_FINISH:
        return f"The answer ended for the reason {word!r}, which semcache doesn't know."
    return _NOT_STORED.get(reason) or _PLAIN.get(reason) or f"The reason is {reason}."


def _deciding(decision: Decision | None) -> Judgement | None:
    """Return the judgement that gave the decision its reason: of the served candidate, else of the nearest one."""
    if decision is None:
        return None
    return decision.served or next(iter(decision.judgements), None)


def _passed_threshold(judgement: Judgement, decision: Decision) -> str:
    return f"An entry with {_score(judgement)} passes {_threshold(decision)}."


def _shared(judgement: Judgement, decision: Decision) -> str:
    return (
        f"A request in flight has {_score(judgement)}, which passes {_threshold(decision)}, and its answer is shared."
    )


def _below_threshold(judgement: Judgement, decision: Decision) -> str:
    return f"The nearest entry has {_score(judgement)}, below {_threshold(decision)}."


def _vetoed(judgement: Judgement, decision: Decision) -> str:
    del decision
    veto = next((verdict for verdict in judgement.verdicts if verdict.effect is Effect.VETO), None)
    if veto is None:
        return f"The nearest entry has {_similarity(judgement)}, but a guard vetoes it."
    cause = f": {veto.detail}" if veto.detail else ""
    return f"The nearest entry has {_similarity(judgement)}, but the guard {veto.guard} vetoes it{cause}."


def _barred(judgement: Judgement, decision: Decision) -> str:
    return f"The nearest entry has {_similarity(judgement)}, {_BARRED[decision.reason]}."


_WITH_FIGURES: Mapping[str, Callable[[Judgement, Decision], str]] = {
    "above_threshold": _passed_threshold,
    "paraphrase_in_flight": _shared,
    "below_threshold": _below_threshold,
    "vetoed": _vetoed,
    **dict.fromkeys(_BARRED, _barred),
}
"""What writes the sentence of a decision, by reason."""


def _similarity(judgement: Judgement) -> str:
    return f"similarity {judgement.candidate.similarity:.3f}"


def _score(judgement: Judgement) -> str:
    """Return the similarity, with the score and the guards that moved it where they did."""
    similarity = _similarity(judgement)
    moved = [verdict for verdict in judgement.verdicts if verdict.adjustment]
    if judgement.score is None or not moved:
        return similarity
    causes = "; ".join(f"{verdict.guard} {verdict.adjustment:+.2f}: {verdict.detail}" for verdict in moved)
    return f"{similarity} and score {judgement.score:.3f} ({causes})"


def _threshold(decision: Decision) -> str:
    rule = decision.rule.removeprefix(_CLAMPED)
    name = _THRESHOLDS.get(rule, _THRESHOLDS["threshold"]).format(decision.threshold)
    return f"{name}, which a request can't lower" if decision.rule.startswith(_CLAMPED) else name
