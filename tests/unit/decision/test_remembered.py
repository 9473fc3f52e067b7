"""What is remembered of words."""

import pytest

from semcache.decision import remembered
from semcache.decision.remembered import Remembered


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
