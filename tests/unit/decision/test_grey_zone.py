"""The grey zone has the candidates that only their score keeps from being served."""

from dataclasses import replace

import pytest

from semcache.decision import grey_zone, with_refused, with_served
from semcache.model import Candidate, Decision, Effect, GuardVerdict, Judgement
from tests.support.stored import entry

VETO = GuardVerdict("numbers", Effect.VETO)
LIFT = GuardVerdict("wording", Effect.FEATURE, adjustment=-0.2)


def judgement(entry_id, similarity=0.8, **fields):
    fields = {"served": False, "reason": "below_threshold", "score": similarity, **fields}
    return Judgement(Candidate(entry(entry_id=entry_id), similarity), **fields)


def decision(*judgements, rule="threshold"):
    return Decision(judgements, judgements[0].reason if judgements else "empty_partition", 0.86, rule)


def ids(zone):
    return [each.candidate.entry.entry_id for each in zone]


@pytest.mark.parametrize(
    ("judged", "in_zone"),
    [
        (judgement(1), True),
        (judgement(1, 0.70), True),
        (judgement(1, 0.699), False),
        (judgement(1, 0.9, score=0.7, verdicts=(LIFT,)), True),
        (judgement(1, score=0.5, verdicts=(LIFT,)), True),  # The similarity says what is worth a question.
        (judgement(1, score=None), False),
        (judgement(1, reason="vetoed", verdicts=(LIFT, VETO)), False),
        (judgement(1, reason="too_old", barred=True), False),
        (judgement(1, reason="blocked", barred=True), False),
        (judgement(1, 0.9, reason="not_nearest", score=0.9), False),  # A policy refused it for another reason.
    ],
)
def test_who_is_in_it(judged, in_zone):
    assert ids(grey_zone(decision(judged), 0.7)) == ([1] if in_zone else [])


def test_there_is_none_where_a_candidate_is_served():
    served = judgement(2, 0.9, served=True, reason="above_threshold")

    assert grey_zone(decision(judgement(1), served), 0.7) == ()


@pytest.mark.parametrize(
    ("asked", "in_zone"),
    [(None, [1, 2]), (0.1, [1, 2]), (0.75, [1, 2]), (0.78, [1]), (0.8, [1]), (0.81, []), (0.95, [])],
)
def test_nothing_below_the_callers_own_threshold_is_in_it(asked, in_zone):
    several = decision(judgement(1), judgement(2, 0.76), judgement(3, 0.9, score=0.7, verdicts=(LIFT,)))
    zone = [entry_id for entry_id in ids(grey_zone(several, 0.7, asked)) if entry_id != 3]
    assert zone == in_zone
    assert (3 in ids(grey_zone(several, 0.7, asked))) is (asked is None or asked <= 0.7)


def test_it_has_five_at_most_and_the_nearest_first():
    many = [judgement(number, 0.86 - number / 100) for number in range(1, 9)]

    assert ids(grey_zone(decision(*many), 0.7)) == [1, 2, 3, 4, 5]


def test_the_judge_serves_one():
    before = decision(judgement(1), judgement(2))
    after = with_served(before, 2, 0.97)

    assert after.served is not None
    assert (after.served.candidate.entry.entry_id, after.served.probability) == (2, 0.97)
    assert (after.reason, after.served.reason, after.threshold) == ("judged_same", "judged_same", 0.86)
    assert after.judgements[0] == before.judgements[0]


def test_the_judge_serves_none():
    vetoed = judgement(1, reason="vetoed", verdicts=(VETO,))
    before = decision(vetoed, judgement(2), judgement(3))
    after = with_refused(before, before.judgements[1:], "judged_other", {2: 0.1})

    assert after.served is None
    assert after.reason == "judged_other"
    assert after.judgements[0] == vetoed
    assert after.judgements[1:] == (
        replace(before.judgements[1], reason="judged_other", probability=0.1),
        replace(before.judgements[2], reason="judged_other"),
    )
