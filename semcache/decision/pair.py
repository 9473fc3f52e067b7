"""A request's text and an entry's, as the guards compare them: their parses, and the alignment of their words."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Protocol

from semcache.text.alignment import Alignment, Word, align
from semcache.text.remembered import Remembered
from semcache.text.stance import Stance

WORDS = "words/2"
STANCE = "stance/2"
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

    def __hash__(self) -> int:
        """It is one of a few that there are as long as the process."""
        ...


@cache
def feature_name(parser: Parser) -> str:
    """Under which name a parse is stored."""
    return f"{parser.name}/{parser.version}"


# By how it is stored.
_decoded = Remembered(lambda encoded: Word(*encoded.split("\t")))


class Reading:
    """The parses of one text, by name and version.

    Its content words and its stance are read from them when they are asked for, unless they come along.
    """

    __slots__ = ("_stance", "_words", "features")

    def __init__(
        self,
        features: Mapping[str, tuple[str, ...]],
        words: tuple[Word, ...] | None = None,
        stance: Stance | None = None,
    ) -> None:
        self.features = features
        self._words = words
        self._stance = stance

    @property
    def words(self) -> tuple[Word, ...]:
        """The content words."""
        if self._words is None:
            self._words = tuple([_decoded[encoded] for encoded in self.features[WORDS]])
        return self._words

    @property
    def stance(self) -> Stance:
        """How it asks."""
        if self._stance is None:
            self._stance = Stance.decoded(self.features[STANCE])
        return self._stance


class Pair:
    """What a guard is given."""

    __slots__ = ("_alignment", "_reversed", "asked", "stored")

    def __init__(self, asked: Reading, stored: Reading) -> None:
        self.asked, self.stored = asked, stored
        self._alignment: Alignment | None = None
        self._reversed: bool | None = None

    def parses(self, parser: Parser) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The request's and the entry's parse by one guard."""
        feature = feature_name(parser)
        return self.asked.features[feature], self.stored.features[feature]

    @property
    def alignment(self) -> Alignment:
        """Which words stand for each other."""
        if self._alignment is None:
            self._alignment = align(self.asked.words, self.stored.words)
        return self._alignment

    @property
    def reversed(self) -> bool:
        """Whether an odd number of reversals lies between the two: negation words, negative forms, antonyms."""
        if self._reversed is None:
            alignment = self.alignment
            forms = sum(
                [one.negative != other.negative for one, other in alignment.matched if one.flags != other.flags]
            )
            self._reversed = (self.asked.stance.negated != self.stored.stance.negated) != (
                (forms + len(alignment.opposites)) % 2 == 1
            )
        return self._reversed
