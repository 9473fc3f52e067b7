"""Each reason of an outcome has a sentence for people, with the figures that decided."""

from __future__ import annotations

import pytest

from semcache.decision import detail, store_detail
from semcache.model import ZERO_COST, Answer, Candidate, Decision, Effect, Entry, GuardVerdict, Judgement, Status, Usage

ENTRY = Entry("acme", "default", "m", b"e", b"p", "text", Answer(b"{}", "m", "stop", Usage()), ZERO_COST, 0.0, 1e9)
VETO = GuardVerdict("numbers", Effect.VETO, "request has 12, entry has 13")
LIFT = GuardVerdict("wording", Effect.FEATURE, "a near repeat", 0.3)
PENALTY = GuardVerdict("direction", Effect.FEATURE, "moved words", -0.05)
PASS = GuardVerdict("dates", Effect.PASS)


def decided(
    reason: str,
    similarity: float,
    *verdicts: GuardVerdict,
    served: bool = False,
    score: float | None = None,
    rule: str = "threshold",
) -> Decision:
    judgement = Judgement(Candidate(ENTRY, similarity), served, reason, verdicts, score)
    further = Judgement(Candidate(ENTRY, 0.1), served=False, reason="below_threshold")
    return Decision((judgement, further), reason, 0.97, rule)


@pytest.mark.parametrize(
    ("status", "decision", "sentence"),
    [
        (
            Status.SEMANTIC_HIT,
            decided("above_threshold", 0.981, PASS, served=True, score=0.981),
            "An entry with similarity 0.981 passes the threshold 0.970.",
        ),
        (
            Status.SEMANTIC_HIT,
            decided("above_threshold", 0.781, PASS, LIFT, served=True, score=1.0),
            "An entry with similarity 0.781 and score 1.000 (wording +0.30: a near repeat) passes the threshold 0.970.",
        ),
        (
            Status.COALESCED,
            decided("paraphrase_in_flight", 0.981, served=True, score=0.981),
            "A request in flight has similarity 0.981, which passes the threshold 0.970, and its answer is shared.",
        ),
        (
            Status.MISS,
            decided("below_threshold", 0.941),
            "The nearest entry has similarity 0.941, below the threshold 0.970.",
        ),
        (
            Status.MISS,
            decided("below_threshold", 0.981, PENALTY, score=0.931),
            (
                "The nearest entry has similarity 0.981 and score 0.931 (direction -0.05: moved words), "
                "below the threshold 0.970."
            ),
        ),
        (
            Status.MISS,
            decided("vetoed", 0.991, PASS, VETO, score=0.991),
            "The nearest entry has similarity 0.991, but the guard numbers vetoes it: request has 12, entry has 13.",
        ),
        (
            Status.MISS,
            decided("vetoed", 0.991),
            "The nearest entry has similarity 0.991, but a guard vetoes it.",
        ),
        (
            Status.MISS,
            decided("too_old", 0.991),
            "The nearest entry has similarity 0.991, but it is older than the request's max_age.",
        ),
        (
            Status.MISS,
            decided("model_not_routed", 0.991),
            (
                "The nearest entry has similarity 0.991, "
                "but the model that answered is no longer routed for the requested one."
            ),
        ),
        (
            Status.MISS,
            decided("degraded", 0.991),
            "The nearest entry has similarity 0.991, but its answer was made in degraded mode.",
        ),
        (
            Status.MISS,
            decided("blocked", 0.991),
            "The nearest entry has similarity 0.991, but a caller reported it as a wrong answer to such a request.",
        ),
    ],
)
def test_a_decision_has_a_sentence_with_its_figures(status: Status, decision: Decision, sentence: str) -> None:
    assert detail(status, decision.reason, decision) == sentence


@pytest.mark.parametrize(
    ("reason", "probabilities", "sentence"),
    [
        ("judged_other", (0.05, 0.02), "and the judge says that no stored answer serves the request (P = 0.050)."),
        ("judged_other", (None, None), "and the judge says that no stored answer serves the request."),
        ("judge_unsure", (0.02, 0.6), "isn't sure enough that a stored answer serves the request (P = 0.600)."),
        ("judge_unclear", (None, None), "and the judge's reply was none that it may give."),
        ("judge_late", (None, None), "and the judge didn't reply in time."),
        ("judge_failed", (None, None), "and the judge gave no reply; the log has the cause."),
        ("judge_busy", (None, None), "and too many questions to the judge are under way."),
        ("judge_pending", (None, None), "and the judge would be asked, which Explain doesn't do."),
    ],
)
def test_a_miss_that_the_judge_had_a_part_in(
    reason: str, probabilities: tuple[float | None, float | None], sentence: str
) -> None:
    vetoed = Judgement(Candidate(ENTRY, 0.9), served=False, reason="vetoed", verdicts=(VETO,), score=0.9)
    judged = [
        Judgement(Candidate(ENTRY, similarity), False, reason, (), similarity, probability=probability)
        for similarity, probability in zip((0.81, 0.72), probabilities, strict=True)
    ]
    told = detail(Status.MISS, reason, Decision((vetoed, *judged), reason, 0.86, "threshold"))
    assert told.startswith("The nearest of 2 entries in question has similarity 0.810, below the threshold 0.860, ")
    assert told.endswith(sentence)


def test_a_hit_that_the_judge_allowed() -> None:
    judged = Judgement(Candidate(ENTRY, 0.81), True, "judged_same", (LIFT,), 0.83, probability=0.97)
    assert detail(Status.SEMANTIC_HIT, "judged_same", Decision((judged,), "judged_same", 0.86, "threshold")) == (
        "An entry has similarity 0.810 and score 0.830 (wording +0.30: a near repeat), below the threshold 0.860, and "
        "the judge says that its answer serves the request (P = 0.970)."
    )


@pytest.mark.parametrize(
    ("rule", "ending"),
    [
        ("threshold", "below the threshold 0.970."),
        ("namespace_threshold", "below the namespace's threshold 0.970."),
        ("task_threshold", "below the task type's threshold 0.970."),
        ("namespace_and_task_threshold", "below the threshold 0.970 of the namespace and task type."),
        ("request_threshold", "below the request's own threshold 0.970."),
        ("clamped_to_threshold", "below the threshold 0.970, which a request can't lower."),
        ("clamped_to_task_threshold", "below the task type's threshold 0.970, which a request can't lower."),
        ("a_rule_to_come", "below the threshold 0.970."),
    ],
)
def test_the_rule_that_set_the_threshold_is_named(rule: str, ending: str) -> None:
    assert detail(Status.MISS, "below_threshold", decided("below_threshold", 0.941, rule=rule)).endswith(ending)


@pytest.mark.parametrize(
    ("status", "reason", "part"),
    [
        (Status.EXACT_HIT, "exact_match", "exactly this request"),
        (Status.COALESCED, "in_flight", "equal request was in flight"),
        (Status.MISS, "empty_partition", "Nothing is stored"),
        (Status.MISS, "nothing_to_compare", "no user text to compare"),
        (Status.MISS, "longer_than_model", "longer than the embedding model reads"),
        (Status.BYPASS, "requested", "asked to bypass the cache"),
        (Status.REFRESH, "requested", "asked for a fresh answer"),
        (Status.MISS, "unknown_to_model", "doesn't know the text's characters"),
        (Status.MISS, "hidden_characters", "characters that nobody sees"),
        (Status.BYPASS, "several_choices", "several choices"),
        (Status.BYPASS, "logprobs", "log probabilities"),
        (Status.BYPASS, "not_text", "only text is cached"),
        (Status.BYPASS, "tool_calls", "tool calls"),
        (Status.BYPASS, "web_search", "web search"),
        (Status.BYPASS, "server_tools", "the provider runs"),
        (Status.BYPASS, "kept_elsewhere", "what the provider keeps"),
        (Status.BYPASS, "background", "in the background"),
        (Status.MISS, "images", "only an equal request"),
        (Status.MISS, "moderation", "only an equal request"),
        (Status.MISS, "continues_elsewhere", "kept at the provider"),
        (Status.BYPASS, "temperature", "cacheability.max_temperature"),
        (Status.BYPASS, "time_sensitive", "cacheability.time_sensitive"),
        (Status.BYPASS, "random", "cacheability.random"),
        (Status.BYPASS, "continuation", "cacheability.continuation"),
        (Status.BYPASS, "personal", "cacheability.personal"),
    ],
)
def test_a_reason_without_a_decision_has_a_sentence(status: Status, reason: str, part: str) -> None:
    sentence = detail(status, reason)
    assert part in sentence
    assert sentence.endswith(".")
    assert sentence.count(". ") == 0, "one sentence"


@pytest.mark.parametrize(
    ("reason", "part"),
    [
        ("no_store", "asked not to store"),
        ("bypass", "bypass the cache"),
        ("tool_calls", "tool calls"),
        ("filtered", "content filter"),
        ("incomplete", "incomplete"),
        ("empty", "no text"),
        ("not_mergeable", "can't be put together"),
        ("malformed_tool_calls", "no stream can repeat"),
        ("unknown_finish_reason:moonrise", "'moonrise'"),
        ("unknown_form", "doesn't know"),
        ("invalidated", "invalidation"),
        ("degraded", "degraded mode"),
        ("store_failed", "store could not take"),
        ("verifier_off", "switched verifiers off"),
        ("not_verified", "no usable reply"),
        ("rejected_by_verifier", "found the answer wrong"),
        ("time_sensitive", "cacheability.time_sensitive"),
        ("several_choices", "several choices"),
    ],
)
def test_a_skipped_store_has_a_sentence(reason: str, part: str) -> None:
    sentence = store_detail(reason)
    assert part in sentence
    assert sentence.endswith(".")


def test_an_unknown_reason_is_named() -> None:
    assert detail(Status.MISS, "of_a_later_version") == "The reason is of_a_later_version."
    assert detail(Status.MISS, "below_threshold") == "The reason is below_threshold."
    assert detail(Status.MISS, "") == "No reason is known."
    assert store_detail("of_a_later_version") == "The reason is of_a_later_version."
    assert store_detail("") == ""


def test_an_empty_decision_has_a_sentence() -> None:
    assert detail(Status.MISS, "empty_partition", Decision((), "empty_partition", 0.97, "threshold")).startswith(
        "Nothing is stored"
    )
