"""A reading of a text: all that the guards compare of it, under the names by which it is stored with an entry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Protocol

from semcache.text.content import Word, read_content
from semcache.text.memo import Memo
from semcache.text.stance import Stance, read_stance
from semcache.text.texts import Text

WORDS = "words/3"
"""The feature that holds a text's content words. The number is raised when the way of reading them changes."""
STANCE = "stance/3"
"""The feature that holds a text's stance. The number is raised when the way of reading it changes."""


class Reader(Protocol):
    """Reads one feature of a text: a guard."""

    @property
    def feature(self) -> str:
        """The name under which the feature is stored, as "numbers/3"; the number is raised when `read` changes."""
        ...

    def read(self, text: Text) -> tuple[str, ...]:
        """Return the feature of `text`."""
        ...


# Content words recur as they are stored, tabs included.
_decoded_words = Memo(lambda encoded: Word(*encoded.split("\t")))


class Reading:
    """The features of one text, by name.

    The content words and the stance are decoded from the features when they are first needed, unless they are given.
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
            self._words = tuple([_decoded_words[encoded] for encoded in self.features[WORDS]])
        return self._words

    @property
    def plain_words(self) -> frozenset[str]:
        """The content words and the small words, folded and without the marks of Latin letters."""
        return frozenset([word.folded for word in self.words]).union(self.stance.skeleton)

    @property
    def stance(self) -> Stance:
        """How the text asks."""
        if self._stance is None:
            self._stance = Stance.decode(self.features[STANCE])
        return self._stance


def read(text: str, readers: Iterable[Reader]) -> Reading:
    """Read the features of `text`, its content words and its stance. A feature that finds nothing is an empty tuple.

    Without readers the reading is empty, since nothing would compare it.
    """
    readers = tuple(readers)
    if not readers:
        return Reading({})
    prepared = Text(text)
    features = {reader.feature: reader.read(prepared) for reader in readers}
    words, skeleton = read_content(prepared.content_words, prepared.language, prepared.small_words)
    stance = read_stance(prepared, skeleton)
    features[STANCE] = stance.encode()
    features[WORDS] = tuple(map("\t".join, words))
    return Reading(MappingProxyType(features), words, stance)
