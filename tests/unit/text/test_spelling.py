"""One word in several spellings: slips of common words are forgiven, names and other words aren't."""

import pytest

from semcache.text.spelling import american, corrected_small_word, is_plural_of, is_slip_of


@pytest.mark.parametrize(
    ("slip", "word"),
    [
        ("passwrod", "password"),
        ("pasword", "password"),
        ("addresss", "address"),
        ("vegitarian", "vegetarian"),
        ("conection", "connection"),
        ("diffrence", "difference"),
        ("cancle", "cancel"),
        ("recipt", "receipt"),
        ("tomprrow", "tomorrow"),
    ],
)
def test_a_slip_of_a_common_word(slip: str, word: str) -> None:
    assert is_slip_of(slip, word)
    assert not is_slip_of(word, slip)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("nuxt", "next"),
        ("porto", "port"),
        ("minio", "minion"),
        ("prisma", "prism"),
        ("canva", "canvas"),
        ("vite", "site"),
        ("deno", "demo"),
        ("bazel", "hazel"),
        ("uber", "user"),
        ("gmail", "email"),
        ("recipt", "recipe"),
        ("lexapri", "lexapro"),
        ("contract", "contact"),
        ("日本", "本日"),
    ],
)
def test_a_name_or_another_word_is_no_slip(name: str, word: str) -> None:
    assert not is_slip_of(name, word)
    assert not is_slip_of(word, name)


@pytest.mark.parametrize(
    ("plural", "singular"), [("passwords", "password"), ("boxes", "box"), ("policies", "policy"), ("heroes", "hero")]
)
def test_a_plural(plural: str, singular: str) -> None:
    assert is_plural_of(plural, singular)
    assert not is_plural_of(singular, plural)


@pytest.mark.parametrize(
    ("word", "other"),
    [
        ("customs", "custom"),
        ("glasses", "glass"),
        ("damages", "damage"),
        ("polars", "polar"),
        ("training", "train"),
        ("princess", "princes"),
        ("founded", "found"),
    ],
)
def test_a_word_with_a_meaning_of_its_own_is_no_plural(word: str, other: str) -> None:
    assert not is_plural_of(word, other)


@pytest.mark.parametrize(
    ("british", "written"),
    [
        ("colour", "color"),
        ("organisation", "organization"),
        ("centre", "center"),
        ("licence", "license"),
        ("favourites", "favorites"),
        ("wise", "wise"),
        ("hour", "hour"),
        ("promise", "promise"),
    ],
)
def test_american_spelling(british: str, written: str) -> None:
    assert american(british) == written


@pytest.mark.parametrize(
    ("word", "corrected"),
    [("teh", "the"), ("waht", "what"), ("hwo", "hwo"), ("form", "form"), ("sql", "sql"), ("", "")],
)
def test_a_small_word_with_exchanged_letters_is_corrected_where_it_is_clear(word: str, corrected: str) -> None:
    assert corrected_small_word(word) == corrected
