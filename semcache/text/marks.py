"""Find the words whose letters have marks: accents, umlauts, tones and the like."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from semcache.text.lexicon import unaccented
from semcache.text.memo import Memo
from semcache.text.numbers import MAX_NUMBERS


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


def marked_words(words: Iterable[str]) -> tuple[str, ...]:
    """Return the words that have a letter with a mark, in lower case and in order, at most `MAX_NUMBERS`.

    "ё" counts as "е", since most people write it so.
    """
    lowered = [word.lower().replace("ё", "е") for word in words if not word.isascii()]
    marked = [word for word in lowered if unmarked(word) != word]
    return tuple(marked[:MAX_NUMBERS])
