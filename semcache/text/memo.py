"""A bounded memory for pure functions of a word: the words of a language recur in all texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")
MAX_WORDS = 65_536
"""Words in one memo, more than the vocabulary of most prompts. A full memo is emptied."""
MAX_CHARS = 64
"""Longer strings aren't kept: they are hashes, data or scripts without spaces, and they don't recur."""


class Memo(dict[str, Value]):
    """Computes a value for each word once: `memo[word]` calls the function only for a word that isn't kept.

    A plain dict is used rather than `functools.lru_cache`: a dict's look-up of a known word runs no bookkeeping, and
    most look-ups save less than that bookkeeping costs.
    """

    def __init__(self, compute: Callable[[str], Value], *, max_words: int = MAX_WORDS) -> None:
        """Keep results of `compute`, a pure function, for at most `max_words` words."""
        super().__init__()
        self._compute = compute
        self._max_words = max_words

    def __missing__(self, word: str) -> Value:
        if len(word) > MAX_CHARS:
            return self._compute(word)
        if len(self) >= self._max_words:
            self.clear()
        value = self[word] = self._compute(word)
        return value
