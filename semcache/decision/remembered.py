"""What is found out of a word once and looked up from then on: the words of a language recur in all texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")
_MOST = 65_536


class Remembered(dict[str, Found]):
    """What a pure function returns for a word, as `remembered[word]`.

    Bounded: when it is full it begins anew. An `lru_cache` notes each look-up in a list, through memory that is far
    apart, and costs more than what most look-ups save.
    """

    def __init__(self, find: Callable[[str], Found]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, word: str) -> Found:
        if len(self) >= _MOST:
            self.clear()
        found = self[word] = self._find(word)
        return found
