"""What the guards say of a pair is remembered, of a bounded number of pairs."""

from __future__ import annotations

import pytest

from semcache.decision import Decider
from semcache.training.guard_scores import GuardScores


def test_a_veto_is_none_and_equal_words_add_to_the_score() -> None:
    scores = GuardScores()
    assert scores.shift("open 3 accounts", "open 4 accounts") is None
    added = scores.shift("how do I open an account", "how do I open an account?")
    assert added is not None
    assert added > 0


def test_the_oldest_pairs_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    compare = Decider.compare

    def counted(decider: Decider, text: str, stored: str, similarity: float):
        asked.append(stored)
        return compare(decider, text, stored, similarity)

    monkeypatch.setattr(Decider, "compare", counted)
    scores = GuardScores(remembered_pairs=2)
    for text in ("one", "two", "two", "three", "three", "one"):
        scores.shift(text, "another text")
    assert asked == ["one", "two", "three", "one"]
