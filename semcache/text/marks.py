"""Find the words whose letters have marks: accents, umlauts, tones and the like."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from semcache.text.lexicon import is_common, unaccented
from semcache.text.memo import Memo
from semcache.text.numbers import MAX_NUMBERS
from semcache.text.tables import words as word_list

_MOSTLY = 0.6
"""The share of common English words, among the words in ASCII, from which on a text may be English."""
_ENGLISH_ALONE = word_list("english_alone")
"""English small words that no other language writes."""


def _without_marks(word: str) -> str:
    lowered = word.lower()
    if lowered[0] <= "\u024f":
        return unaccented(lowered)
    decomposed = unicodedata.normalize("NFD", lowered)
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


_unmarked = Memo(_without_marks)


def unmarked(word: str) -> str:
    """Return a word in lower case without the marks of its letters."""
    return _unmarked[word]


def is_clearly_english(words: Sequence[str]) -> bool:
    """Return whether most words of a text are common in English, and one of them is written in English alone.

    A short text of another language may look English by a word such as "is", "in" or "a".
    """
    plain = [word.lower() for word in words if word.isascii()]
    return not _ENGLISH_ALONE.isdisjoint(plain) and sum(map(is_common, plain)) >= _MOSTLY * len(plain)


def marked_words(words: Sequence[str]) -> tuple[str, ...]:
    """Return the words that have a letter with a mark, in lower case and in order, at most `MAX_NUMBERS`."""
    lowered = [word.lower() for word in words if not word.isascii()]
    return tuple([word for word in lowered if unmarked(word) != word][:MAX_NUMBERS])
