"""What is remembered of words, and what isn't."""

import pytest

from semcache.text import remembered
from semcache.text.remembered import Remembered


def test_a_word_is_found_out_once() -> None:
    asked: list[str] = []
    lengths = Remembered[int](lambda word: asked.append(word) or len(word))  # type: ignore[func-returns-value]
    assert [lengths["chain"], lengths["chain"], lengths["to"]] == [5, 5, 2]
    assert asked == ["chain", "to"]


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "_MOST", 3)
    folded = Remembered(str.casefold)
    assert [folded[word] for word in "ABCDEABC"] == list("abcdeabc")
    assert len(folded) <= 3


def test_a_full_memory_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "_MOST", 3)
    length = Remembered(len)
    assert [length["x" * n] for n in (1, 2, 3, 4)] == [1, 2, 3, 4]
    assert list(length) == ["xxxx"]


def test_long_words_are_answered_and_not_kept() -> None:
    length = Remembered(len)
    assert length["x" * 64] == 64
    assert length["y" * 65] == 65
    assert list(length) == ["x" * 64]
