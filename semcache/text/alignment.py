"""Align the content words of two texts, tolerating case, small words, inflection, synonyms and typing slips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from semcache.text.content import Word
from semcache.text.opposites import are_opposites
from semcache.text.spelling import is_plural_of, is_slip_of
from semcache.text.synonyms import are_synonyms

WordPair = tuple[Word, Word]
"""A word of the asked text and its counterpart in the stored text."""


class Alignment(NamedTuple):
    """Which words of an asked and a stored text are counterparts.

    Attributes:
        asked_only: words of the asked text without a counterpart, in order.
        stored_only: words of the stored text without a counterpart, in order.
        slips: matched pairs that differ by a typing slip.
        synonyms: matched pairs that the table of synonyms knows.
        opposites: matched pairs that the table of antonyms knows.
        order: for each matched word of the asked text, in order, the rank of its counterpart among the matched words
            of the stored text: 0, 1, 2, … when nothing moved.
        relinked: matched pairs with different links, such as "from" and "to".
        matched: all matched pairs, in the order of the asked text.
        moved: whether matched words are in another order.
    """

    asked_only: tuple[Word, ...]
    stored_only: tuple[Word, ...]
    slips: tuple[WordPair, ...]
    synonyms: tuple[WordPair, ...]
    opposites: tuple[WordPair, ...]
    order: tuple[int, ...]
    relinked: tuple[WordPair, ...]
    matched: tuple[WordPair, ...]
    moved: bool

    @property
    def other_forms(self) -> tuple[WordPair, ...]:
        """Matched pairs of one stem that aren't singular and plural: "train" and "training" are two things."""
        return tuple(
            [pair for pair in self.matched if pair[0].folded != pair[1].folded and self._are_other_forms(pair)]
        )

    def _are_other_forms(self, pair: WordPair) -> bool:
        first, second = pair
        return (
            first.stem == second.stem
            and first.is_negative == second.is_negative
            and pair not in self.synonyms
            and not is_plural_of(first.folded, second.folded)
            and not is_plural_of(second.folded, first.folded)
        )

    @property
    def unmatched_count(self) -> int:
        """How many words of both texts have no counterpart."""
        return len(self.asked_only) + len(self.stored_only)


def align(asked: Sequence[Word], stored: Sequence[Word]) -> Alignment:
    """Align the content words of an asked and a stored text.

    Words are matched in this order: equal stems, typing slips, synonyms, opposites.
    """
    if [word.stem for word in asked] == [word.stem for word in stored]:
        # Most near repeats have equal stems in equal order: nothing was added, dropped or moved.
        matched = tuple(zip(asked, stored, strict=True))
        return Alignment((), (), (), (), (), tuple(range(len(asked))), _relinked(matched), matched, moved=False)
    matching = _Matching(asked, stored)
    matching.match_equal()
    slips = matching.match_by(is_slip)
    synonyms = matching.match_by(lambda first, second: are_synonyms(first.stem, second.stem))
    opposites = matching.match_by(
        lambda first, second: are_opposites(first.folded, second.folded) or are_opposites(first.stem, second.stem)
    )
    places = sorted(matching.partner.items())
    rank = {place: number for number, place in enumerate(sorted(matching.partner.values()))}
    order = tuple([rank[place] for _, place in places])
    matched = tuple([(asked[a], stored[b]) for a, b in places])
    return Alignment(
        tuple([asked[position] for position in matching.asked_free]),
        tuple([stored[position] for position in matching.stored_free]),
        slips,
        synonyms,
        opposites,
        order,
        _relinked(matched),
        matched,
        moved=order != tuple(range(len(order))),
    )


def is_slip(first: Word, second: Word) -> bool:
    """Return whether one of two words is a typing slip of the other, which is a common English word.

    Two names are never slips of each other: "prednisone" and "prednisolone" are two drugs.
    """
    if first.is_foreign or second.is_foreign or (first.is_name and second.is_name):
        return False
    return is_slip_of(first.folded, second.folded) or is_slip_of(second.folded, first.folded)


def _relinked(matched: tuple[WordPair, ...]) -> tuple[WordPair, ...]:
    return tuple([(asked, stored) for asked, stored in matched if asked.link != stored.link])


_MAX_COMPARED = 24
"""Free words on one side above which pairs aren't compared: such texts differ anyway, and comparing would be slow."""


class _Matching:
    """The positions that have a partner, and those that are still free.

    Attributes:
        partner: the stored text's position for each matched position of the asked text.
        asked_free: positions of the asked text without a partner, in order.
        stored_free: positions of the stored text without a partner, in order.
    """

    def __init__(self, asked: Sequence[Word], stored: Sequence[Word]) -> None:
        self.asked, self.stored = asked, stored
        self.partner: dict[int, int] = {}
        self.asked_free = list(range(len(asked)))
        self.stored_free = list(range(len(stored)))

    def match_equal(self) -> None:
        """Match words with equal stems, in order."""
        free: dict[str, list[int]] = {}
        for position in reversed(self.stored_free):
            free.setdefault(self.stored[position].stem, []).append(position)
        for position in self.asked_free:
            places = free.get(self.asked[position].stem)
            if places:
                self.partner[position] = places.pop()
        if self.partner:
            taken = set(self.partner.values())
            self.asked_free = [position for position in self.asked_free if position not in self.partner]
            self.stored_free = [position for position in self.stored_free if position not in taken]

    def match_by(self, alike: Callable[[Word, Word], bool]) -> tuple[WordPair, ...]:
        """Match each free word with the first free word that is `alike`; return the new pairs."""
        pairs: list[WordPair] = []
        if not self.stored_free or max(len(self.asked_free), len(self.stored_free)) > _MAX_COMPARED:
            return ()
        for position in list(self.asked_free):
            word = self.asked[position]
            partner = next((place for place in self.stored_free if alike(word, self.stored[place])), None)
            if partner is not None:
                pairs.append((word, self.stored[partner]))
                self.partner[position] = partner
                self.asked_free.remove(position)
                self.stored_free.remove(partner)
        return tuple(pairs)
