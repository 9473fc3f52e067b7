"""The stance of a text: its question word, negation, markers and small words."""

import pytest

from semcache.decision import GUARDS, read
from semcache.text.stance import Stance, describe_conflict


def stance(raw: str) -> Stance:
    return read(raw, GUARDS.values()).stance


@pytest.mark.parametrize(
    ("raw", "question"),
    [
        ("How do I reset it?", "how"),
        ("Which train is late?", "what"),
        ("Whose card is it?", "who"),
        ("Is it open?", "whether"),
        ("Can you reset it?", ""),
        ("Don't cancel it", ""),
        ("reset it", ""),
    ],
)
def test_the_question_of_a_text(raw: str, question: str) -> None:
    assert stance(raw).question == question


@pytest.mark.parametrize(
    ("raw", "negated"),
    [
        ("Cancel it", False),
        ("Don't cancel it", True),
        ("I can't not go", False),
        ("Tell me how, I don't understand it", False),
        ("It is late, isn't it?", False),
    ],
)
def test_an_odd_number_of_negations_negates(raw: str, *, negated: bool) -> None:
    assert stance(raw).negated is negated


def test_a_stance_is_restored_from_its_stored_form() -> None:
    written = stance("Why isn't my card only valid under £50?")
    assert Stance.decode(written.encode()) == written


def test_contradicting_small_words_are_described() -> None:
    assert describe_conflict(stance("my name"), stance("your name")) == "request says my, entry says your"
    assert describe_conflict(stance("flights only"), stance("flights")) == "only one side says only"
    assert describe_conflict(stance("my name"), stance("name")) == ""
