"""Words with marks, and their forms without."""

import pytest

from semcache.text.marks import is_clearly_english, marked_words, unmarked


@pytest.mark.parametrize(
    ("word", "plain"),
    [
        ("Drücken", "drucken"),
        ("dừa", "dua"),
        ("straße", "strasse"),
        ("włączyć", "wlaczyc"),
        ("akıllı", "akilli"),
        ("й", "и"),
        ("が", "か"),
        ("plain", "plain"),
    ],
)
def test_marks_are_taken_off(word: str, plain: str) -> None:
    assert unmarked(word) == plain


def test_words_with_marks_are_found_in_order() -> None:
    assert marked_words(("Où", "pêcher", "dans", "la", "région")) == ("où", "pêcher", "région")


def test_the_marks_of_an_english_text_say_nothing() -> None:
    assert is_clearly_english(("Is", "the", "résumé", "ready"))
    assert not is_clearly_english(("Wat", "is", "een", "appèl", "in", "België"))
    assert not is_clearly_english(("Var", "växer", "al", "i", "Småland"))
