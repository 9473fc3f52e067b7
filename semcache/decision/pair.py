"""A request's reading beside an entry's, as the guards compare them, with the alignment of their words."""

from __future__ import annotations

from semcache.decision.reading import Reading
from semcache.model import AlignmentCounts
from semcache.text.alignment import Alignment, align
from semcache.text.content import LINKS, WORD_PLACE

_PHRASE_BEGINS = (LINKS - {"as", "than"}) | {"near", "during", "if", "when", "while", "without"}
_MAX_PHRASE = 8
"""Words and figures of a phrase that may stand at either end of a text."""


class Pair:
    """The readings of a request and of an entry. The alignment of their words is computed when it is first needed."""

    __slots__ = ("_alignment", "_reversed", "asked", "stored")

    def __init__(self, asked: Reading, stored: Reading) -> None:
        self.asked, self.stored = asked, stored
        self._alignment: Alignment | None = None
        self._reversed: bool | None = None

    def features(self, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return one feature of the request and of the entry."""
        return self.asked.features[name], self.stored.features[name]

    @property
    def alignment(self) -> Alignment:
        """The alignment of the content words."""
        if self._alignment is None:
            self._alignment = align(self.asked.words, self.stored.words)
        return self._alignment

    @property
    def is_reversed(self) -> bool:
        """Whether an odd number of reversals lies between the texts: negation words, negative forms and antonyms."""
        if self._reversed is None:
            alignment = self.alignment
            forms = sum(
                [
                    asked.is_negative != stored.is_negative
                    for asked, stored in alignment.matched
                    if asked.flags != stored.flags
                ]
            )
            self._reversed = (self.asked.stance.negated != self.stored.stance.negated) != (
                (forms + len(alignment.opposites)) % 2 == 1
            )
        return self._reversed

    @property
    def is_phrase_moved(self) -> bool:
        """Whether the texts differ only in a phrase that stands at the beginning of one and at the end of the other.

        The phrase begins with a preposition: "In Python, how do I sort a list?" and "How do I sort a list in Python?".
        """
        asked, stored = _sequence(self.asked), _sequence(self.stored)
        return len(asked) == len(stored) and any(
            first[0] in _PHRASE_BEGINS and (*first[size:], *first[:size]) == second
            for size in range(2, min(_MAX_PHRASE, len(asked) - 1) + 1)
            for first, second in ((asked, stored), (stored, asked))
        )

    def count_alignment(self) -> AlignmentCounts:
        """Return how many words of the texts are counterparts, and how."""
        alignment = self.alignment
        return AlignmentCounts(
            matched=len(alignment.matched),
            asked_only=len(alignment.asked_only),
            stored_only=len(alignment.stored_only),
            slips=len(alignment.slips),
            synonyms=len(alignment.synonyms),
            opposites=len(alignment.opposites),
            relinked=len(alignment.relinked),
            moved=alignment.moved,
        )


def _sequence(reading: Reading) -> tuple[str, ...]:
    """Return the skeleton of a text with the stems of its content words in their places."""
    stems = iter([word.stem for word in reading.words])
    return tuple([next(stems) if place == WORD_PLACE else place for place in reading.stance.skeleton])
