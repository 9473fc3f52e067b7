"""The short-cuts of the guards and of reading give the results of the full computation."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from semcache.decision import GUARDS, Decider, Reading, read
from semcache.decision.pair import Pair
from semcache.settings import DecisionSettings
from semcache.text.alignment import Word, _Matching, align
from semcache.text.numbers import read_numbers, search_numbers
from semcache.text.texts import Text

DECIDER = Decider(DecisionSettings())
WORDS = (
    *("how", "do", "I", "i", "Can", "you", "please", "the", "A", "a", "US", "May", "it", "is", "what", "why", "who"),
    *("reset", "Reset", "RESET", "password", "passwrod", "pass", "word", "passwords", "Boston", "Austin", "Paris"),
    *("from", "to", "before", "after", "and", "or", "not", "don't", "Don't", "cannot", "never", "unhappy", "only"),
    *("one", "two", "dozen", "first", "12", "3.5", "HH-1", "5 km", "$20", "20 %", "March 5", "monday", "3pm", "noon"),
    *("log in", "w/o", "iPhone", "camelCase", "snake_case", "foo()", "--force", "a.b", "e.g.", "x=1", "C++", "`map`"),
    *("'quoted'", '"quoted"', "rock'n'roll", "o'clock", "dogs'", "naïve", "über", "nicht", "der", "el", "qué", "le"),
    *("不", "二十五", "パスワード", "비밀번호", "½", "٣", "🎉"),
)
MARKS = ("", "", "", "?", "!", ".", ",", ";", ":", "??", "...", "?!", "-", "/", "'", '"', "`", "(", ")", "_", "…", "\n")
words = st.builds("".join, st.tuples(st.sampled_from(MARKS), st.sampled_from(WORDS), st.sampled_from(MARKS)))
prompts = st.builds(
    lambda parts, between, case: case(between.join(parts)),
    st.lists(words, max_size=8),
    st.sampled_from((" ", "  ", "")),
    st.sampled_from((str, str.lower, str.upper, str.title)),
)
noise = st.text(st.sampled_from("aZé5½不 \t\n.,;:!?'\"`-_/\\()@=…“«「"), max_size=20)
texts = st.one_of(prompts, noise, st.text(st.characters(exclude_categories=["Cs"]), max_size=20))


@given(asked=texts, stored=texts, same=st.booleans())
@example(asked="How do I reset it?", stored="how do i reset IT", same=False)
@example(asked="Is it happy?", stored="Is it unhappy?", same=False)
@example(asked="flights from Paris to Rome today", stored="flights from Rome to Paris today", same=False)
def test_a_guard_that_is_not_asked_would_have_passed(*, asked: str, stored: str, same: bool) -> None:
    ours, theirs = (Reading(read(text, GUARDS.values()).features) for text in (asked, asked if same else stored))
    _, verdicts = DECIDER.compare_readings(ours, theirs, 0.9)
    assert verdicts == tuple(guard.compare(Pair(ours, theirs)) for guard in GUARDS.values())


@given(texts)
@example("Don't stop!")
@example("end .\x1c")
def test_prose_has_no_code_no_quotation_and_no_sign(raw: str) -> None:
    text, searched = Text(raw), Text(raw)
    searched.is_prose = False
    assert [guard.read(text) for guard in GUARDS.values()] == [guard.read(searched) for guard in GUARDS.values()]
    assert text.signs == searched.signs


@pytest.mark.parametrize(
    ("raw", "is_prose"),
    [
        ("How do I clean a bicycle chain, and why?!", True),
        ("Don't", True),
        ("Ärger, señor? 不 (?)", False),
        ("Ärger, señor? 不", True),
        ("iPhone", False),
        ("a-b", False),
        ("'tis", False),
        ("dogs' food", False),
        ("3.5", False),
        ("it_is", False),
    ],
)
def test_a_text_of_words_and_their_punctuation_is_prose(raw: str, *, is_prose: bool) -> None:
    assert Text(raw).is_prose is is_prose


@given(texts)
def test_a_text_that_is_not_searched_for_numbers_has_none(raw: str) -> None:
    text = Text(raw)
    arguments = (text.plain, text.language, text.vocabulary)
    assert read_numbers(*arguments) == search_numbers(*arguments)


stems = st.lists(st.sampled_from(["chain", "clean", "winter", "bike"]), max_size=6)


def written(stem: str) -> st.SearchStrategy[Word]:
    folded = st.sampled_from([stem, f"{stem}s"])
    return st.builds(Word, folded, st.just(stem), st.sampled_from(["", "to"]), st.sampled_from(["", "n"]))


@given(stems.flatmap(lambda chosen: st.tuples(*(st.tuples(*map(written, chosen)) for _ in range(2)))))
def test_words_with_equal_stems_in_equal_order_are_counterparts(
    sides: tuple[tuple[Word, ...], tuple[Word, ...]],
) -> None:
    matching = _Matching(*sides)
    matching.match_equal()
    assert matching.partner == {place: place for place in range(len(sides[0]))}
    alignment = align(*sides)
    assert alignment.matched == tuple(zip(*sides, strict=True))
    assert alignment.order == tuple(range(len(sides[0])))
    assert alignment.relinked == tuple(pair for pair in alignment.matched if pair[0].link != pair[1].link)
    assert not alignment.moved
    assert not alignment.unmatched_count


@given(texts)
def test_a_stored_reading_equals_a_fresh_one(raw: str) -> None:
    fresh = read(raw, GUARDS.values())
    stored = Reading(dict(fresh.features))
    assert (stored.words, stored.stance) == (fresh.words, fresh.stance)
