"""What the guards don't look at has nothing for them: a short-cut finds what the long way finds."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from semcache.decision import GUARDS, Decider, Reading, Text, ThresholdPolicy, features_of
from semcache.decision.guards import read
from semcache.decision.pair import Pair
from semcache.settings import DecisionSettings
from semcache.text import numbers as figures_module
from semcache.text.alignment import Word, _Matching, align
from semcache.text.numbers import figures

DECIDER = Decider(DecisionSettings(), ThresholdPolicy(DecisionSettings()))
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


@given(texts, texts, st.booleans())
@example("How do I reset it?", "how do i reset IT", False)
@example("Is it happy?", "Is it unhappy?", False)
@example("flights from Paris to Rome today", "flights from Rome to Paris today", False)
def test_a_guard_that_is_not_asked_would_have_passed(asked: str, stored: str, same: bool) -> None:
    one, other = (Reading(features_of(text, GUARDS.values())) for text in (asked, asked if same else stored))
    _, verdicts = DECIDER.compare_readings(one, other, 0.9)
    assert verdicts == tuple(guard.compare(Pair(one, other)) for guard in GUARDS.values())


@given(texts)
@example("Don't stop!")
@example("end .\x1c")
def test_in_prose_alone_there_is_no_code_no_quotation_and_no_sign(raw: str) -> None:
    text, searched = Text(raw), Text(raw)
    searched.is_prose = False
    assert [guard.parse(text) for guard in GUARDS.values()] == [guard.parse(searched) for guard in GUARDS.values()]
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
def test_most_prompts_are_prose_alone(raw: str, is_prose: bool) -> None:
    assert Text(raw).is_prose is is_prose


@given(texts)
def test_where_no_figure_is_looked_for_there_is_none(raw: str) -> None:
    text = Text(raw)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures_module, "_TELLING", text.vocabulary)  # Which isn't disjoint from itself: all is searched.
        searched = figures(text.plain, text.language, text.vocabulary)
    assert figures(text.plain, text.language, text.vocabulary) == searched


stems = st.lists(st.sampled_from(["chain", "clean", "winter", "bike"]), max_size=6)


def written(stem: str) -> st.SearchStrategy[Word]:
    folded = st.sampled_from([stem, f"{stem}s"])
    return st.builds(Word, folded, st.just(stem), st.sampled_from(["", "to"]), st.sampled_from(["", "n"]))


@given(stems.flatmap(lambda chosen: st.tuples(*(st.tuples(*map(written, chosen)) for _ in range(2)))))
def test_words_with_the_same_stems_in_order_are_each_others_counterparts(
    sides: tuple[tuple[Word, ...], tuple[Word, ...]],
) -> None:
    matching = _Matching(*sides)
    matching.equal()
    assert matching.partner == {place: place for place in range(len(sides[0]))}
    alignment = align(*sides)
    assert alignment.matched == tuple(zip(*sides, strict=True))
    assert alignment.order == tuple(range(len(sides[0])))
    assert alignment.relinked == tuple(pair for pair in alignment.matched if pair[0].link != pair[1].link)
    assert not alignment.moved
    assert not alignment.left_over


@given(texts)
def test_a_reading_is_the_same_from_what_is_stored(raw: str) -> None:
    fresh = read(raw, GUARDS.values())
    stored = Reading(dict(fresh.features))
    assert (stored.words, stored.stance) == (fresh.words, fresh.stance)
