"""Guards by example: each row is a pair of texts and whether one's answer must never serve the other."""

import pytest

from semcache.decision import GUARDS, Text
from semcache.model import Effect


def effect(guard: str, one: str, other: str) -> Effect:
    chosen = GUARDS[guard]
    there, back = (
        chosen.compare(chosen.parse(Text(a)), chosen.parse(Text(b))) for a, b in ((one, other), (other, one))
    )
    assert there.effect == back.effect, "a guard has no direction"
    assert there.guard == guard
    return there.effect


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is 2+2?", "What is 2+3?"),
        ("Transfer $100 to savings", "Transfer $1,000 to savings"),
        ("iPhone 12 battery", "iPhone 13 battery"),
        ("a discount of 10", "a discount of 10 %"),
        ("Is -5 a prime?", "Is 5 a prime?"),
        ("two adults and one child", "three adults and one child"),
        ("a hundred and five people", "a hundred and fifteen people"),
        ("the twenty-first century", "the twenty-second century"),
        ("version 3.11.7", "version 3.11.8"),
        ("$20 in fees", "€20 in fees"),
        ("What is 2*2*3?", "What is 2*3*3?"),
        ("Wie weit ist 5 km?", "Wie weit ist 6 km?"),
        ("100円はいくら?", "200円はいくら?"),
        ("三 plus 4", "三 plus 5"),
        ("room 12", "the room"),
        ("card 4" + "0" * 40 + "1", "card 4" + "0" * 40 + "2"),
    ],
)
def test_other_numbers_are_vetoed(one: str, other: str) -> None:
    assert effect("numbers", one, other) is Effect.VETO


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("two apples", "2 apples"),
        ("1,000 dollars", "1000 dollars"),
        ("3.50 euros", "3.5 euros"),
        ("10 %", "10 percent"),
        ("two hundred and five", "205"),
        ("the twenty-first", "the 21st"),
        ("at the age of one", "at the age of 1"),
        ("which one is best", "which is best"),
        ("in the years 1903 -1967", "in the years 1903 - 1967"),
        ("a dozen eggs", "12 eggs"),
        ("one hundred thousand", "100,000"),
        ("half an hour", "a half hour"),
        ("", ""),
    ],
)
def test_the_same_numbers_pass(one: str, other: str) -> None:
    assert effect("numbers", one, other) is Effect.PASS


def test_a_veto_names_the_numbers() -> None:
    guard = GUARDS["numbers"]
    verdict = guard.compare(guard.parse(Text("17+25")), guard.parse(Text("17+26")))
    assert verdict.detail == "request has 25, entry has 26"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Cancel my order", "Don't cancel my order"),
        ("Cancel my order", "Do not cancel my order"),
        ("Cancel my order", "Dont cancel my order"),
        ("Cancel my order", "Don’t cancel my order"),
        ("Show files with tests", "Show files without tests"),
        ("Should I ever restart it?", "Should I never restart it?"),
        ("Foods to eat before surgery", "Foods to avoid before surgery"),
        ("Keep sending me the newsletter", "Stop sending me the newsletter"),
        ("All columns", "All columns except the last"),
    ],
)
def test_the_other_polarity_is_vetoed(one: str, other: str) -> None:
    assert effect("negation", one, other) is Effect.VETO


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Cancel my order", "Please cancel the order"),
        ("Don't cancel it", "Do not cancel it"),
        ("I can't log in", "I cannot log in"),
        ("I can't log in", "I'm unable to log in"),
        ("Can you help me?", "Can't you help me?"),
        ("It is late, isn't it?", "It is late"),
        ("Tell me how it works", "I don't understand how it works"),
        ("How do I knot a tie?", "How do I knot a tie"),
        ("Is it not impossible? No, never.", "Is it not impossible? Never, no."),
        ("", ""),
    ],
)
def test_the_same_polarity_passes(one: str, other: str) -> None:
    assert effect("negation", one, other) is Effect.PASS


@pytest.mark.parametrize("name", sorted(GUARDS))
@pytest.mark.parametrize("text", ["", "🎉" * 50, "שלום 5", "a" * 100_000, "9" * 100_000, "1," * 50_000, "no " * 50_000])
def test_any_text_is_parsed(name: str, text: str) -> None:
    parsed = GUARDS[name].parse(Text(text))
    assert GUARDS[name].compare(parsed, parsed).effect is Effect.PASS
