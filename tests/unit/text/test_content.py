"""Content words and the skeleton of a text."""

import pytest

from semcache.text.content import read_content
from semcache.text.texts import Text


def skeleton(raw: str) -> str:
    text = Text(raw)
    return " ".join(read_content(text.content_words, text.language, text.small_words).skeleton)


def stems(raw: str) -> list[str]:
    text = Text(raw)
    return [word.folded for word in read_content(text.content_words, text.language, text.small_words).words]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("How do I pay 5 invoices?", "how to _ # _"),
        ("How can I pay five invoices?", "how to _ # _"),
        ("How to pay invoices", "how to _ _"),
        ("Please, could you tell me how I pay?", "how to _"),
        ("Can I sue my landlord?", "can i _ _"),
        ("Can my landlord sue me?", "can _ _ me"),
        ("What's the capital?", "what is _"),
        ("Where are the logs?", "where is _"),
        ("The dog's bed isn't here", "_ _ is not here"),
        ("I've lost it, thanks", "i have _ it"),
        ("Darf ich das hier?", "_ ich das _"),
        ("5 invoices, please", "# _"),
        ("", ""),
    ],
)
def test_small_words_and_places_in_order(raw: str, expected: str) -> None:
    assert skeleton(raw) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("the it department", ["it", "department"]),
        ("a just war", ["just", "war"]),
        ("Can I work in the us?", ["work", "us"]),
        ("is hepatitis a mild", ["hepatitis", "a", "mild"]),
        ("the one here", []),
        ("log in to the web site", ["login", "website"]),
        ("a green house", ["green", "house"]),
        ("5 mW and 5 km", ["mW"]),
        ("5 Apples", ["apples"]),
        ("It costs 20 Pro", ["costs", "pro"]),
        ("Müller's café", ["muller", "cafe"]),
    ],
)
def test_content_words(raw: str, expected: list[str]) -> None:
    assert stems(raw) == expected


def test_capitals_are_flagged_where_they_may_have_a_meaning() -> None:
    words = {word.folded: word for word in read_content(("set", "PATH", "and", "press", "ctrl", "C")).words}
    assert words["path"].is_in_capitals
    assert not words["c"].is_in_capitals
    assert not any(word.is_in_capitals for word in read_content(("SET", "PATH")).words)
