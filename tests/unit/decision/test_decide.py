"""The decision serves the nearest candidate that may be served, and gives a reason for each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import structlog

from semcache.decision import GUARDS, Decider, Repeats, ThresholdPolicy, policy_of, read
from semcache.decision.guards.wording import LIFT
from semcache.decision.pair import Pair
from semcache.errors import SettingsError
from semcache.model import (
    ZERO_COST,
    AlignmentCounts,
    Answer,
    Bound,
    CacheControl,
    Candidate,
    Decision,
    Effect,
    Entry,
    Evidence,
    Judgement,
    KeyedRequest,
    Rejection,
    Request,
    Usage,
)
from semcache.settings import DecisionSettings, NamespaceThreshold
from semcache.text.texts import Text
from tests.unit.request.keys import key

VECTOR = np.array([1.0, 0.0], np.float32)
PARAPHRASE = "I forgot the secret of my account, what now?"
"""Another wording of the request below: guards neither raise nor lower its score."""


def entry(entry_id: int, text: str, **fields: object) -> Entry:
    answer = Answer(b"{}", "m", "stop", Usage())
    made = Entry("acme", "default", "m", b"e", b"p", text, answer, ZERO_COST, 0.0, 1e9, entry_id=entry_id)
    return replace(made, **fields)  # type: ignore[arg-type]


def request(text: str = "Reset my password", *, threshold: float | None = None, **fields: object) -> KeyedRequest:
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    return key(body, control=CacheControl(similarity_threshold=threshold), **fields)


def decide(
    keyed: KeyedRequest,
    *candidates: tuple[Entry, float],
    settings: DecisionSettings | None = None,
    unservable: dict[int, str] | None = None,
) -> Decision:
    """Judge all candidates; `decide` itself must come to the same end."""
    decider = Decider(settings or DecisionSettings())
    sequence = [Candidate(entry, similarity) for entry, similarity in candidates]
    reasons = unservable or {}

    def reason_of(entry: Entry) -> str:
        return reasons.get(entry.entry_id, "")

    every = decider.judge_all(keyed, sequence, VECTOR, reason_of)
    shortest = decider.decide(keyed, sequence, VECTOR, reason_of)
    assert (shortest.served, shortest.reason, shortest.threshold, shortest.rule) == (
        every.served,
        every.reason,
        every.threshold,
        every.rule,
    )
    return every


def served_id(decision: Decision) -> int:
    return decision.served.candidate.entry.entry_id if decision.served else 0


def test_the_nearest_above_the_threshold_is_served() -> None:
    decision = decide(request(), (entry(1, "reset password"), 0.99), (entry(2, "reset my password!"), 0.98))
    assert served_id(decision) == 1
    assert decision.reason == "above_threshold"
    assert [judgement.reason for judgement in decision.judgements] == ["above_threshold", "further_than_served"]


def test_below_the_threshold_nothing_is() -> None:
    decision = decide(request(), (entry(1, "recover the account"), 0.859))
    assert served_id(decision) == 0
    assert decision.reason == "below_threshold"


def test_without_candidates_there_is_a_reason() -> None:
    assert decide(request()).reason == "empty_partition"


def test_a_vetoed_candidate_hides_none_behind_it() -> None:
    decision = decide(request("Reset pin 12"), (entry(1, "Reset pin 13"), 0.99), (entry(2, "reset the pin 12"), 0.975))
    assert served_id(decision) == 2
    vetoed = decision.judgements[0]
    assert vetoed.reason == "vetoed"
    assert [verdict.guard for verdict in vetoed.verdicts if verdict.effect is Effect.VETO] == ["numbers"]


def test_stored_features_are_used_instead_of_reading_the_text_again() -> None:
    features = {**read("Reset pin 12", GUARDS.values()).features, GUARDS["numbers"].feature: ("99",)}
    lying = entry(1, "Reset pin 12", features=features)
    assert decide(request("Reset pin 12"), (lying, 0.99)).reason == "vetoed"


def test_features_of_an_older_version_are_read_anew() -> None:
    lying = entry(1, "Reset pin 12", features={"numbers/0": ("99",)})
    assert decide(request("Reset pin 12"), (lying, 0.99)).reason == "above_threshold"


def test_an_unservable_candidate_is_passed_over() -> None:
    decision = decide(
        request(), (entry(1, PARAPHRASE), 0.99), (entry(2, "reset my password!"), 0.98), unservable={1: "too_old"}
    )
    assert served_id(decision) == 2
    assert decision.judgements[0].reason == "too_old"


@pytest.mark.parametrize("similarity", [1.02, 5.0, float("inf"), float("nan")])
def test_a_similarity_that_no_vectors_have_is_never_served(similarity: float) -> None:
    decision = decide(request(), (entry(1, "Reset my password"), similarity))
    assert decision.served is None


def test_a_similarity_of_one_with_its_rounding_is_served() -> None:
    assert served_id(decide(request(), (entry(1, "Reset my password"), 1.0000002))) == 1


def test_a_rejected_request_is_not_served_that_entry_again() -> None:
    keyed = request()
    rejecting = entry(1, PARAPHRASE, rejections=(Rejection(keyed.exact_key, b""),))
    assert decide(keyed, (rejecting, 0.99)).reason == "blocked"


@pytest.mark.parametrize(("nearness", "reason"), [(1.0, "blocked"), (0.5, "above_threshold")])
def test_a_request_nearer_to_a_rejected_one_than_to_the_entry_is_blocked(nearness: float, reason: str) -> None:
    wrong = np.array([nearness, 0.0], np.float16).tobytes()
    rejecting = entry(1, PARAPHRASE, rejections=(Rejection(b"another key", wrong),))
    assert decide(request(), (rejecting, 0.99)).reason == reason


@pytest.mark.parametrize(("asked", "effective"), [(None, 0.86), (0.5, 0.86), (0.86, 0.86), (0.985, 0.985), (1.0, 1.0)])
def test_a_caller_can_only_tighten(asked: float | None, effective: float) -> None:
    decision = decide(request(threshold=asked), (entry(1, PARAPHRASE), 0.98))
    assert decision.threshold == effective
    assert decision.rule == (
        "threshold" if asked is None else "clamped_to_threshold" if asked < 0.86 else "request_threshold"
    )
    assert bool(decision.served) == (effective <= 0.98)


def test_the_most_specific_threshold_wins() -> None:
    settings = DecisionSettings(
        overrides=(
            NamespaceThreshold(namespace="faq", threshold=0.9),
            NamespaceThreshold(task_type="code", threshold=0.99),
            NamespaceThreshold(namespace="faq", task_type="code", threshold=0.95),
        )
    )
    for namespace, task_type, expected, rule in (
        ("default", "", 0.86, "threshold"),
        ("faq", "", 0.9, "namespace_threshold"),
        ("default", "code", 0.99, "task_threshold"),
        ("faq", "code", 0.95, "namespace_and_task_threshold"),
    ):
        decision = decide(request(namespace=namespace, task_type=task_type), settings=settings)
        assert decision.threshold == expected
        assert decision.rule == rule


def test_equal_vectors_pass_a_threshold_of_one() -> None:
    assert decide(request(threshold=1.0), (entry(1, PARAPHRASE), 0.9999998)).served is not None


def test_an_unknown_guard_is_named() -> None:
    settings = DecisionSettings(guards=("numbers", "nonsense"))
    with pytest.raises(SettingsError, match="nonsense"):
        Decider(settings)


def near(*similarities: float) -> list[Candidate]:
    """Candidates with ids from 1 on."""
    return [
        Candidate(entry(number, "Reset my password"), similarity)
        for number, similarity in enumerate(similarities, start=1)
    ]


def test_no_more_candidates_are_judged_than_decide() -> None:
    decider = Decider(DecisionSettings())
    asked: list[int] = []

    def unservable(entry: Entry) -> str:
        asked.append(entry.entry_id)
        return "" if not barred else "too_old"

    barred = False
    decision = decider.decide(request(), near(0.99, 0.98, 0.5), VECTOR, unservable)
    assert asked == [1]
    assert [judgement.reason for judgement in decision.judgements] == ["above_threshold"]
    asked.clear()
    barred = True
    decision = decider.decide(request(), near(0.99, 0.98, 0.5, 0.4), VECTOR, unservable)
    assert asked == [1, 2]
    assert [judgement.reason for judgement in decision.judgements] == ["too_old", "too_old", "below_threshold"]
    assert decision.judgements[-1].score is None, "no guard is asked about a candidate that is too far away"


def test_to_explain_all_candidates_are_judged() -> None:
    decision = Decider(DecisionSettings()).judge_all(request(), near(0.99, 0.98, 0.5, 0.4), VECTOR, lambda _: "")
    assert [judgement.reason for judgement in decision.judgements] == [
        "above_threshold",
        "further_than_served",
        "below_threshold",
        "below_threshold",
    ]
    assert all(judgement.verdicts and judgement.score is not None for judgement in decision.judgements)


def test_candidates_below_the_least_similarity_are_never_served() -> None:
    decider = Decider(DecisionSettings())
    least = decider.least_similarity(request())
    assert least == pytest.approx(DecisionSettings().threshold - LIFT, abs=1e-5)
    for similarity, asks_guards in ((least + 1e-9, True), (least - 1e-9, False)):
        (judgement,) = decider.decide(request("Reset a router"), near(similarity), VECTOR, lambda _: "").judgements
        assert (judgement.score is not None) == asks_guards
        assert not judgement.served


class OddRanks:
    """A policy that serves candidates of odd rank, and keeps the evidence that it was shown."""

    def __init__(self) -> None:
        self.evidence: list[Evidence] = []

    def bound(self, request: Request) -> Bound:
        return Bound(0.5, f"odd_ranks_of_{request.namespace}")

    def judge(self, evidence: Evidence) -> Judgement:
        self.evidence.append(evidence)
        odd = evidence.rank % 2 == 1
        return evidence.judgement("odd" if odd else "even", served=odd)


def test_a_policy_judges_by_the_evidence() -> None:
    policy = OddRanks()
    decider = Decider(DecisionSettings(), policy=policy)
    stored = entry(2, "Reset my pasword now, please")
    candidates = [Candidate(entry(1, "Reset the router 12"), 0.75), Candidate(stored, 0.5), *near(0.25)]
    decision = decider.decide(request(), candidates, VECTOR, lambda _: "")
    assert (served_id(decision), decision.reason) == (2, "odd")
    assert (decision.threshold, decision.rule) == (0.5, "odd_ranks_of_default")
    nearest, served = policy.evidence
    assert (nearest.rank, nearest.margin, nearest.is_vetoed) == (0, 0.25, False)
    assert (served.rank, served.margin, served.similarity, served.entry) == (1, 0.25, 0.5, stored)
    assert (served.asked_chars, served.stored_chars) == (len("Reset my password"), len("Reset my pasword now, please"))
    assert served.score == 0.5 + sum(verdict.adjustment for verdict in served.verdicts)
    assert [verdict.guard for verdict in served.verdicts] == list(GUARDS)
    assert served.bound == Bound(0.5, "odd_ranks_of_default")
    assert (served.alignment.matched, served.alignment.slips, served.alignment.asked_only) == (2, 1, 0)


def test_the_last_candidate_has_no_margin() -> None:
    policy = OddRanks()
    Decider(DecisionSettings(), policy=policy).decide(request(), near(0.9), VECTOR, lambda _: "")
    assert [evidence.margin for evidence in policy.evidence] == [None]


def test_a_barred_entry_is_not_served_whatever_the_policy_says() -> None:
    policy = OddRanks()
    decision = Decider(DecisionSettings(), policy=policy).decide(request(), near(0.9, 0.8), VECTOR, lambda _: "too_old")
    assert decision.served is None
    assert decision.reason == "too_old"
    assert policy.evidence == []


def test_words_are_counted_only_when_a_policy_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[Pair] = []
    count = Pair.count_alignment
    monkeypatch.setattr(Pair, "count_alignment", lambda pair: counted.append(pair) or count(pair))
    policy = OddRanks()
    Decider(DecisionSettings(), policy=policy).decide(request(), near(0.9), VECTOR, lambda _: "")
    assert counted == []
    assert policy.evidence[0].alignment.matched == 2
    assert len(counted) == 1


def test_without_guards_no_words_are_counted() -> None:
    policy = OddRanks()
    settings = DecisionSettings(guards=())
    Decider(settings, policy=policy).decide(request(), near(0.9), VECTOR, lambda _: "")
    assert policy.evidence[0].alignment == AlignmentCounts()


def test_the_setting_names_the_policy() -> None:
    assert isinstance(policy_of(DecisionSettings(), Repeats()), ThresholdPolicy)
    with pytest.raises(SettingsError, match=r"decision\.policy: there is no policy 'nonsense', only threshold"):
        Decider(DecisionSettings(policy="nonsense"))


@pytest.mark.parametrize("step", ["read", "compare"])
def test_a_guard_that_raises_counts_as_a_veto(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(given: Text | Pair) -> tuple[str, ...]:
        if isinstance(given, Text) and not given.raw:
            return ()  # The decider reads an empty text once, when it is set up.
        raise ZeroDivisionError

    stored = entry(1, "Reset my password", features=read("Reset my password", GUARDS.values()).features)
    monkeypatch.setattr(GUARDS["wording"], step, fail)
    decider = Decider(DecisionSettings())
    with structlog.testing.capture_logs() as logs:
        decision = decider.decide(request("reset my passwords"), [Candidate(stored, 0.99)], VECTOR, lambda _: "")
    assert decision.served is None
    assert decision.reason == "vetoed"
    assert [(verdict.guard, verdict.effect) for verdict in decision.judgements[0].verdicts] == [("failed", Effect.VETO)]
    assert [(line["event"], line["log_level"]) for line in logs] == [("guard.failed", "error")]


def test_a_text_on_which_a_guard_raises_is_stored_without_features(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError

    decider = Decider(DecisionSettings())
    monkeypatch.setattr(GUARDS["names"], "read", fail)
    assert decider.features("Reset my password") == {}
    # When the guard is mended, such an entry is read from its text.
    monkeypatch.undo()
    assert served_id(decide(request("reset my password"), (entry(1, "Reset my password"), 0.99))) == 1
