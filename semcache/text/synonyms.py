"""Words that stand for one another in requests, and the short forms of chats."""

from __future__ import annotations

from collections.abc import Mapping

from semcache.text.lexicon import stem
from semcache.text.tables import groups, meanings

ABBREVIATIONS: Mapping[str, str] = {word: rest[0] for word, rest in meanings("abbreviations").items()}
"""By folded word."""


def _groups_of() -> Mapping[str, frozenset[int]]:
    found: dict[str, set[int]] = {}
    for number, group in enumerate(groups("synonyms")):
        for word in group:
            found.setdefault(stem(word), set()).add(number)
    return {word: frozenset(numbers) for word, numbers in found.items()}


_GROUPS_OF = _groups_of()


def synonymous(one: str, other: str) -> bool:
    """Whether two stems stand in one group."""
    mine = _GROUPS_OF.get(one)
    return mine is not None and not mine.isdisjoint(_GROUPS_OF.get(other, ()))
