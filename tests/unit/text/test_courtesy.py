"""The request of a text without its polite beginning and end."""

import pytest

from semcache.text.courtesy import join_compounds, strip_courtesy


@pytest.mark.parametrize(
    "raw",
    [
        "Hi there! reset it",
        "hello, good morning: reset it",
        "Sorry to bother you, but reset it",
        "Quick question, reset it",
        "um so reset it",
        "Can you please reset it, thanks in advance!",
        "reset it please",
        "reset it. Many thanks",
        "I was wondering if you could tell me reset it",
        "reset it, would you?",
        "reset it thanks, please, thank you so much!!",
    ],
)
def test_politeness_is_left_out(raw: str) -> None:
    assert strip_courtesy(raw).rstrip("?!,.") == "reset it"


@pytest.mark.parametrize("raw", ["thanks", "Hello!", "please", "", "?!", "😀"])
def test_a_text_of_politeness_alone_is_kept(raw: str) -> None:
    assert strip_courtesy(raw) == raw


@pytest.mark.parametrize("raw", ["thanksgiving dinner", "What does please mean", "hiking trips", "a heyday of jazz"])
def test_words_that_look_polite_are_kept(raw: str) -> None:
    assert strip_courtesy(raw) == raw


def test_an_and_before_a_further_question_is_left_out() -> None:
    assert strip_courtesy("Is it open? And why?") == "Is it open? why?"


def test_compounds_that_people_write_both_ways_are_joined() -> None:
    assert join_compounds(("Log", "in", "to", "the", "web", "site")) == ("Login", "to", "the", "website")
    assert join_compounds(("a", "green", "house")) == ("a", "green", "house")


@pytest.mark.parametrize("noise", [" " * 20_000, "please " * 5_000, "\n." * 10_000, "hi " * 8_000])
def test_any_length_is_read(noise: str) -> None:
    assert strip_courtesy(f"reset it{noise}")
    assert strip_courtesy(f"{noise}reset it")
