"""What is found out of a word once and looked up from then on: the words of a language recur in all texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")
_MOST = 65_536
_MOST_CHARS = 64
"""Longer ones aren't words of a language but hashes, data and scripts without spaces: they don't come again, and what
is found out of one takes six times its length (measured: 48 kB of 8,000 characters)."""


class Remembered(dict[str, Found]):
    """What a pure function returns for a word, as `remembered[word]`.

    Bounded: when it is full it begins anew, and long words aren't remembered. An `lru_cache` notes each look-up in a
    list, through memory that is far apart, and costs more than what most look-ups save.
    """

    def __init__(self, find: Callable[[str], Found]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, word: str) -> Found:
        if len(word) > _MOST_CHARS:
            return self._find(word)
        if len(self) >= _MOST:
            self.clear()
        found = self[word] = self._find(word)
        return found
