"""What is remembered of words, and what isn't."""

import pytest

from semcache.decision import remembered
from semcache.decision.remembered import Remembered


def test_a_word_is_looked_into_once():
    asked: list[str] = []
    upper = Remembered(lambda word: asked.append(word) or word.upper())
    assert [upper["a"], upper["a"], upper["b"]] == ["A", "A", "B"]
    assert asked == ["a", "b"]


def test_a_full_memory_begins_anew(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(remembered, "_MOST", 3)
    length = Remembered(len)
    assert [length["x" * n] for n in (1, 2, 3, 4)] == [1, 2, 3, 4]
    assert list(length) == ["xxxx"]


def test_long_words_are_answered_and_not_kept():
    length = Remembered(len)
    assert length["x" * 64] == 64
    assert length["y" * 65] == 65
    assert list(length) == ["x" * 64]
