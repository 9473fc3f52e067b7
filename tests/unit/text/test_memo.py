"""A memo computes each word once, stays within its bound and keeps no long words."""

from semcache.text.memo import Memo


def test_a_word_is_computed_once() -> None:
    computed: list[str] = []
    lengths = Memo[int](lambda word: computed.append(word) or len(word))  # type: ignore[func-returns-value]
    assert [lengths["chain"], lengths["chain"], lengths["to"]] == [5, 5, 2]
    assert computed == ["chain", "to"]


def test_a_memo_stays_within_its_bound() -> None:
    folded = Memo(str.casefold, max_words=3)
    assert [folded[word] for word in "ABCDEABC"] == list("abcdeabc")
    assert len(folded) <= 3


def test_a_full_memo_is_emptied() -> None:
    length = Memo(len, max_words=3)
    assert [length["x" * n] for n in (1, 2, 3, 4)] == [1, 2, 3, 4]
    assert list(length) == ["xxxx"]


def test_long_words_are_computed_and_not_kept() -> None:
    length = Memo(len)
    assert length["x" * 64] == 64
    assert length["y" * 65] == 65
    assert list(length) == ["x" * 64]
