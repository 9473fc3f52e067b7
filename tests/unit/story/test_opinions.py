"""What a judge's reply means for the candidates, and what is remembered of it."""

import pytest

from semcache.story.opinions import JudgeOutcome, Opinions, outcome_of_reply
from semcache.upstream import JudgeReply
from tests.support.caches import key, request, rig
from tests.unit.decision.test_grey_zone import judgement

SURE = {0: 0.02, 1: 0.01, 2: 0.97}


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (JudgeReply(2, SURE), JudgeOutcome("judged_same", 8, {7: 0.01, 8: 0.97})),
        (JudgeReply(2, {2: 0.9}), JudgeOutcome("judged_same", 8, {7: 0.0, 8: 0.9})),
        (JudgeReply(2, {2: 0.89}), JudgeOutcome("judge_unsure", 0, {7: 0.0, 8: 0.89})),
        (JudgeReply(0, {0: 0.6, 2: 0.4}), JudgeOutcome("judged_other", 0, {7: 0.0, 8: 0.4})),
        (JudgeReply(2, {}), JudgeOutcome("judged_same", 8, {7: None, 8: None})),
        (JudgeReply(0, {}), JudgeOutcome("judged_other", 0, {7: None, 8: None})),
    ],
)
def test_what_a_reply_means(reply, outcome):
    assert outcome_of_reply(reply, [7, 8], 0.9) == outcome


def test_a_yes_says_nothing_of_the_others():
    opinions, keyed = Opinions(), key(rig(), request("a question"))
    opinions.keep(keyed, [7, 8], outcome_of_reply(JudgeReply(2, SURE), [7, 8], 0.9))

    assert opinions.of(keyed, judgement(7)) is None
    assert opinions.of(keyed, judgement(8)).reason == "judged_same"


def test_a_no_is_one_for_all_that_were_shown_and_for_this_request_alone():
    served = rig()
    opinions, keyed, other = Opinions(), key(served, request("a question")), key(served, request("another"))
    opinions.keep(keyed, [7, 8], JudgeOutcome("judged_other", 0, {7: 0.1, 8: 0.2}))

    assert [opinions.of(keyed, judgement(number)).reason for number in (7, 8)] == ["judged_other"] * 2
    assert opinions.of(keyed, judgement(9)) is None
    assert opinions.of(other, judgement(7)) is None


@pytest.mark.parametrize("reason", ["judge_unsure", "judged_other"])
def test_a_no_is_told_apart_from_too_low_a_probability(reason):
    opinions, keyed = Opinions(), key(rig(), request("a question"))
    opinions.keep(keyed, [7], JudgeOutcome(reason, 0, {7: 0.5}))

    assert opinions.of(keyed, judgement(7)).reason == reason


def test_the_memory_is_bounded():
    opinions, served = Opinions(), rig()
    keyed = key(served, request("a question"))
    opinions.keep(keyed, range(1, 17_001), JudgeOutcome("judged_other"))

    assert len(opinions) == 16_384
    assert opinions.of(keyed, judgement(1)) is None
