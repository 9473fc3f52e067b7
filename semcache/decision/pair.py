"""A request's text and an entry's, as the guards compare them: their parses, and the alignment of their words."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Protocol

from semcache.decision.alignment import Alignment, Word, align
from semcache.decision.stance import Stance

WORDS = "words/1"
STANCE = "stance/1"
"""Under which names content words and stance are stored with an entry, beside the guards' own parses; the version is
raised when they change."""


class Parser(Protocol):
    """Whoever makes a parse: a guard."""

    @property
    def name(self) -> str:
        """The guard's."""
        ...

    @property
    def version(self) -> int:
        """Of its parse."""
        ...


def feature_name(parser: Parser) -> str:
    """Under which name a parse is stored."""
    return f"{parser.name}/{parser.version}"


class Reading:
    """The parses of one text, by name and version."""

    def __init__(self, features: Mapping[str, tuple[str, ...]]) -> None:
        self.features = features

    @cached_property
    def words(self) -> tuple[Word, ...]:
        """The content words."""
        return tuple(Word(*encoded.split("\t")) for encoded in self.features[WORDS])

    @cached_property
    def stance(self) -> Stance:
        """How it asks."""
        return Stance.decoded(self.features[STANCE])


class Pair:
    """What a guard is given."""

    def __init__(self, asked: Reading, stored: Reading) -> None:
        self.asked, self.stored = asked, stored

    def parses(self, parser: Parser) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The request's and the entry's parse by one guard."""
        feature = feature_name(parser)
        return self.asked.features[feature], self.stored.features[feature]

    @cached_property
    def alignment(self) -> Alignment:
        """Which words stand for each other."""
        return align(self.asked.words, self.stored.words)

    @cached_property
    def reversed(self) -> bool:
        """Whether an odd number of reversals lies between the two: negation words, negative forms, antonyms."""
        alignment = self.alignment
        forms = sum(("-" in one.flags) != ("-" in other.flags) for one, other in alignment.matched)
        return (self.asked.stance.negated != self.stored.stance.negated) != (
            (forms + len(alignment.opposites)) % 2 == 1
        )
