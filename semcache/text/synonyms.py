"""Words that replace one another in requests, and the abbreviations used in chats."""

from __future__ import annotations

from collections.abc import Mapping

from semcache.text.lexicon import stem
from semcache.text.tables import groups, meanings

ABBREVIATIONS: Mapping[str, str] = {word: meaning[0] for word, meaning in meanings("abbreviations").items()}
"""The word that an abbreviation stands for, by folded abbreviation."""


def _number_groups() -> Mapping[str, frozenset[int]]:
    numbers_by_stem: dict[str, set[int]] = {}
    for number, group in enumerate(groups("synonyms")):
        for word in group:
            numbers_by_stem.setdefault(stem(word), set()).add(number)
    return {word: frozenset(numbers) for word, numbers in numbers_by_stem.items()}


_GROUP_NUMBERS = _number_groups()


def are_synonyms(first: str, second: str) -> bool:
    """Return whether two stems are in one group of synonyms."""
    numbers = _GROUP_NUMBERS.get(first)
    return numbers is not None and not numbers.isdisjoint(_GROUP_NUMBERS.get(second, ()))
