"""Each number of a text is read once, as the most specific kind that it can be."""

import pytest

from semcache.text.dates import FIGURE
from semcache.text.numbers import MAYBE, unmatched
from semcache.text.texts import MAX_CHARS, Text


@pytest.mark.parametrize(
    ("raw", "kind", "values"),
    [
        ("flights on 5 March 2024", "dates", ("2024-3-5",)),
        ("until 04/03/2026", "dates", ("2026-4|3",)),
        ("open on Monday", "dates", ("day 1",)),
        ("the weather tomorrow", "dates", ("from now 1d",)),
        ("the table for 3pm", "times", ("900",)),
        ("order HH-55102", "identifiers", ("hh55102",)),
        ("version 3.11.7", "identifiers", ("3.11.7",)),
        ("1,000 dollars", "quantities", ("usd 1000",)),
        ("1 km", "quantities", ("length 1000",)),
        ("a hundred thousand", "bare", ("100000",)),
        ("17+25", "bare", ("17", "25")),
    ],
)
def test_a_number_is_of_one_kind(raw: str, kind: str, values: tuple[str, ...]) -> None:
    numbers = Text(raw).numbers
    assert {name: getattr(numbers, name) for name in ("dates", "times", "identifiers", "quantities", "bare")} == {
        **dict.fromkeys(("dates", "times", "identifiers", "quantities", "bare"), ()),
        kind: values,
    }


def test_the_rest_of_a_text_has_no_numbers() -> None:
    assert Text("room 12 for 5 km").numbers.rest.split() == ["room", FIGURE, "for", FIGURE]


def test_an_ambiguous_word_may_be_a_number() -> None:
    assert Text("which one is best").numbers.bare == (f"{MAYBE}1",)
    assert unmatched((f"{MAYBE}1",), ()) == []
    assert unmatched(("1",), (f"{MAYBE}1",)) == []
    assert unmatched(("1", "1"), ("1",)) == ["1"]


def test_the_unread_rest_of_a_long_text_is_an_identifier() -> None:
    long = "a " * MAX_CHARS
    (identifier,) = Text(long).numbers.identifiers
    assert Text(long).numbers.identifiers == (identifier,)
    assert Text(f"{long}b").numbers.identifiers != (identifier,)
