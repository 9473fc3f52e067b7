"""Guards by example: each pair of a table gets the table's verdict."""

import time

import pytest

from semcache.decision import GUARDS, Decider, Reading, read
from semcache.decision.guards.guard import PENALTY
from semcache.decision.guards.wording import LIFT, SYNONYM_LIFT
from semcache.decision.pair import Pair
from semcache.model import Effect, GuardVerdict
from semcache.settings import DecisionSettings
from semcache.text.tables import groups
from semcache.text.texts import Text
from tests.unit.decision.guard_pairs import LIFTED, LOWERED, NOT_LIFTED, PASSED, VETOED


def verdict(guard: str, asked: str, stored: str) -> GuardVerdict:
    readings = [Reading(read(text, [GUARDS[guard]]).features) for text in (asked, stored)]
    forward, backward = GUARDS[guard].compare(Pair(*readings)), GUARDS[guard].compare(Pair(*reversed(readings)))
    assert (forward.effect, forward.adjustment) == (backward.effect, backward.adjustment), "a guard has no direction"
    assert forward.guard == guard
    assert (forward.adjustment != 0) == (forward.effect is Effect.FEATURE)
    return forward


def test_all_guards_are_on_by_default() -> None:
    assert DecisionSettings().guards == tuple(GUARDS)


def rows(table: dict[str, list[tuple[str, str]]]) -> list[tuple[str, str, str]]:
    return [(guard, *pair) for guard, pairs in table.items() for pair in pairs]


@pytest.mark.parametrize(("guard", "asked", "stored"), rows(VETOED))
def test_another_answer_is_vetoed(guard: str, asked: str, stored: str) -> None:
    vetoed = verdict(guard, asked, stored)
    assert vetoed.effect is Effect.VETO
    assert vetoed.detail, "a veto says what differs"


@pytest.mark.parametrize(("guard", "asked", "stored"), rows(LOWERED))
def test_a_likely_difference_lowers_the_score(guard: str, asked: str, stored: str) -> None:
    assert verdict(guard, asked, stored).adjustment == -PENALTY


@pytest.mark.parametrize(("guard", "asked", "stored"), rows(PASSED))
def test_the_same_request_passes(guard: str, asked: str, stored: str) -> None:
    assert verdict(guard, asked, stored).effect is Effect.PASS


@pytest.mark.parametrize(("asked", "stored"), LIFTED)
def test_a_near_repeat_is_lifted(asked: str, stored: str) -> None:
    assert verdict("wording", asked, stored).adjustment == LIFT


@pytest.mark.parametrize(("asked", "stored"), NOT_LIFTED)
def test_a_small_difference_with_a_meaning_is_not_lifted(asked: str, stored: str) -> None:
    assert verdict("wording", asked, stored).adjustment <= 0


def test_the_rest_of_a_text_that_is_too_long_to_read_is_equal_or_vetoed() -> None:
    text = "all about cats and dogs " * 500
    assert verdict("identifiers", text + "a", text + "b").effect is Effect.VETO
    assert verdict("identifiers", text + "a", text + "a").effect is Effect.PASS


def test_every_word_of_the_tables_can_occur() -> None:
    """A word that `Text` never returns as one word would have no effect."""
    for name in ("antonyms", "synonyms"):
        for group in groups(name):
            assert [word for word in group if Text(word).words != (word,)] == [], name


def test_a_synonym_lifts_less() -> None:
    lifted = verdict("wording", "How do I buy a ticket?", "How do I purchase a ticket?")
    assert lifted.adjustment == SYNONYM_LIFT
    assert "buy for purchase" in lifted.detail


@pytest.mark.parametrize(
    ("guard", "asked", "stored"), [row for row in rows(VETOED) if row[0] not in {"language", "marks"}]
)
def test_no_vetoed_pair_is_a_near_repeat(guard: str, asked: str, stored: str) -> None:
    assert verdict("wording", asked, stored).adjustment <= 0, guard


def test_other_emoji_at_the_end_are_vetoed_and_a_single_one_is_not() -> None:
    assert verdict("signs", "meaning of 😂", "meaning of 😭").effect is Effect.VETO
    assert verdict("signs", "meaning of it 😂", "meaning of it").effect is Effect.PASS


def test_a_veto_names_what_differs() -> None:
    assert verdict("numbers", "17+25", "17+26").detail == "request has 25, entry has 26"
    assert verdict("polarity", "enable it now", "disable it now").detail == "request says enable, entry says disable"
    assert (
        verdict("names", "flights to Boston", "flights to Austin").detail == "request names boston, entry names austin"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "🎉" * 50,
        "שלום 5",
        "a" * 100_000,
        "9" * 100_000,
        "1," * 50_000,
        "no " * 33_000,
        "to " * 33_000,
        "teh " * 25_000,
        "/a" * 50_000,
        '"' * 100_000,
        "5 March " * 12_000,
        "一二三" * 33_000,
        "1" + " " * 8_000,
        "at noon" + "\n" * 8_000,
        "\n*" * 4_000,
        "\nThe a" * 1_400,
        "a-" * 5_000,
        "o'" * 4_000,
        "오전" + " " * 8_000,
        "1.1.1." * 5_000,
        "a-1-" * 5_000,
        "a_" * 10_000,
        "aB" * 10_000,
        " ".join(f"w{n}x" for n in range(2_000)),
    ],
)
def test_any_text_is_read_and_compared_in_bounded_time(text: str) -> None:
    started = time.process_time()
    features = read(text, GUARDS.values()).features
    pair = Pair(Reading(features), Reading(features))
    for guard in GUARDS.values():
        equal = guard.compare(pair)
        assert equal.effect is not Effect.VETO
        assert equal.adjustment >= 0
    # The limit is twenty times what the slowest text takes, so that only quadratic time fails. It claims no speed.
    assert time.process_time() - started < 1


def test_a_score_is_the_cosine_with_the_adjustments() -> None:
    settings = DecisionSettings()
    decider = Decider(settings)
    assert decider.compare("reset my password", "reset my pasword", 0.8)[0] == 1.0
    assert decider.compare("How big is room 12?", "How big is the bedroom?", 0.8)[0] == pytest.approx(0.4)
    assert decider.compare("How do I cook rice?", "What is the best way to prepare rice?", 0.8)[0] == pytest.approx(0.8)
