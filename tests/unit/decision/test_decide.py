"""The decision: nearest first, past what may not be served, down to the bound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import structlog

from semcache.decision import GUARDS, Decider, ThresholdPolicy, features_of
from semcache.decision.pair import Pair, feature_name
from semcache.errors import SettingsError
from semcache.model import (
    ZERO_COST,
    Answer,
    CacheControl,
    Candidate,
    Decision,
    Effect,
    Entry,
    KeyedRequest,
    Rejection,
    Usage,
)
from semcache.settings import DecisionSettings, NamespaceThreshold
from semcache.text.texts import Text
from tests.unit.request.keys import key

VECTOR = np.array([1.0, 0.0], np.float32)


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
    thorough: bool = True,
) -> Decision:
    settings = settings or DecisionSettings()
    decider = Decider(settings, ThresholdPolicy(settings))
    found = [Candidate(entry, similarity) for entry, similarity in candidates]
    reasons = unservable or {}
    return decider.decide(keyed, found, VECTOR, lambda entry: reasons.get(entry.entry_id, ""), thorough=thorough)


def served_id(decision: Decision) -> int:
    return decision.served.candidate.entry.entry_id if decision.served else 0


def test_the_nearest_above_the_threshold_is_served() -> None:
    decision = decide(request(), (entry(1, "reset password"), 0.99), (entry(2, "reset my password!"), 0.98))
    assert served_id(decision) == 1
    assert decision.reason == "above_threshold"
    assert [judgement.reason for judgement in decision.judgements] == ["above_threshold", "further_than_served"]


def test_below_the_threshold_nothing_is() -> None:
    decision = decide(request(), (entry(1, "recover the account"), 0.969))
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


def test_stored_features_are_used_instead_of_parsing_again() -> None:
    features = {**features_of("Reset pin 12", GUARDS.values()), feature_name(GUARDS["numbers"]): ("99",)}
    lying = entry(1, "Reset pin 12", features=features)
    assert decide(request("Reset pin 12"), (lying, 0.99)).reason == "vetoed"


def test_features_of_an_older_parse_are_made_anew() -> None:
    lying = entry(1, "Reset pin 12", features={"numbers/0": ("99",)})
    assert decide(request("Reset pin 12"), (lying, 0.99)).reason == "above_threshold"


def test_an_unservable_candidate_is_passed_by() -> None:
    decision = decide(request(), (entry(1, "a"), 0.99), (entry(2, "b"), 0.98), unservable={1: "too_old"})
    assert served_id(decision) == 2
    assert decision.judgements[0].reason == "too_old"


def test_a_rejected_request_is_not_served_that_entry_again() -> None:
    keyed = request()
    rejecting = entry(1, "a", rejections=(Rejection(keyed.exact_key, b""),))
    assert decide(keyed, (rejecting, 0.99)).reason == "blocked"


@pytest.mark.parametrize(("nearness", "reason"), [(1.0, "blocked"), (0.5, "above_threshold")])
def test_a_request_nearer_to_a_rejected_one_than_to_the_entry_is_blocked(nearness: float, reason: str) -> None:
    wrong = np.array([nearness, 0.0], np.float16).tobytes()
    rejecting = entry(1, "a", rejections=(Rejection(b"another key", wrong),))
    assert decide(request(), (rejecting, 0.99)).reason == reason


@pytest.mark.parametrize(("asked", "effective"), [(None, 0.97), (0.5, 0.97), (0.97, 0.97), (0.985, 0.985), (1.0, 1.0)])
def test_a_caller_can_only_tighten(asked: float | None, effective: float) -> None:
    decision = decide(request(threshold=asked), (entry(1, "a"), 0.98))
    assert decision.threshold == effective
    assert bool(decision.served) == (effective <= 0.98)


def test_the_most_specific_threshold_wins() -> None:
    settings = DecisionSettings(
        overrides=(
            NamespaceThreshold(namespace="faq", threshold=0.9),
            NamespaceThreshold(task_type="code", threshold=0.99),
            NamespaceThreshold(namespace="faq", task_type="code", threshold=0.95),
        )
    )
    for namespace, task_type, expected in (
        ("default", "", 0.97),
        ("faq", "", 0.9),
        ("default", "code", 0.99),
        ("faq", "code", 0.95),
    ):
        keyed = request(namespace=namespace, task_type=task_type)
        assert decide(keyed, settings=settings).threshold == expected


def test_equal_vectors_pass_a_threshold_of_one() -> None:
    assert decide(request(threshold=1.0), (entry(1, "a"), 0.9999998)).served is not None


def test_an_unknown_guard_is_named() -> None:
    settings = DecisionSettings(guards=("numbers", "nonsense"))
    with pytest.raises(SettingsError, match="nonsense"):
        Decider(settings, ThresholdPolicy(settings))


def test_no_more_candidates_are_read_than_decide() -> None:
    settings = DecisionSettings()
    decider = Decider(settings, ThresholdPolicy(settings))
    read: list[int] = []

    def candidates(*similarities: float) -> Iterator[Candidate]:
        for number, similarity in enumerate(similarities, start=1):
            read.append(number)
            yield Candidate(entry(number, "Reset my password"), similarity)

    decider.decide(request(), candidates(0.99, 0.98, 0.5), VECTOR, lambda _: "")
    assert read == [1]
    read.clear()
    decider.decide(request(), candidates(0.99, 0.98, 0.5, 0.4), VECTOR, lambda _: "too_old")
    assert read == [1, 2, 3]


@pytest.mark.parametrize("step", ["parse", "compare"])
def test_a_guard_that_fails_costs_a_hit_and_no_request(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(given: Text | Pair) -> tuple[str, ...]:
        if isinstance(given, Text) and not given.raw:
            return ()  # asked for once, by its start
        raise ZeroDivisionError

    stored = entry(1, "Reset my password", features=features_of("Reset my password", GUARDS.values()))
    monkeypatch.setattr(GUARDS["wording"], step, fail)
    with structlog.testing.capture_logs() as logs:
        decision = decide(request("reset my passwords"), (stored, 0.99))
    assert decision.served is None
    assert decision.reason == "vetoed"
    assert [(verdict.guard, verdict.effect) for verdict in decision.judgements[0].verdicts] == [("failed", Effect.VETO)]
    assert [(line["event"], line["log_level"]) for line in logs] == [("guard_failed", "error")]


def test_a_text_that_a_guard_fails_on_is_stored_without_a_parse(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError

    settings = DecisionSettings()
    decider = Decider(settings, ThresholdPolicy(settings))
    monkeypatch.setattr(GUARDS["names"], "parse", fail)
    assert decider.features("Reset my password") == {}
    # Once it is mended, what was stored so is read from its text.
    monkeypatch.undo()
    assert served_id(decide(request("reset my password"), (entry(1, "Reset my password"), 0.99))) == 1
