"""Which words of two texts stand for each other: case, small words, inflection, synonyms and slips forgiven."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from rapidfuzz.distance import OSA

from semcache.text.lexicon import NEGATIONS, SMALL_WORDS, common, known, spread, stem, unaccented
from semcache.text.opposites import opposite, positive
from semcache.text.remembered import Remembered
from semcache.text.synonyms import ABBREVIATIONS, synonymous
from semcache.text.tables import words as word_list

LINKS = word_list("links")
MAX_WORDS = 384
"""More than the embedder reads; a text that has them all is compared as far as this, and is nobody's near repeat."""


class Word(NamedTuple):
    """A content word: folded, its stem, the small word that links it, and flags.

    "n": it is written like a name; "-": it carries a negation; "f": it isn't English, as far as one can tell.
    """

    folded: str
    stem: str
    link: str
    flags: str

    @property
    def named(self) -> bool:
        """Whether it is written like a name."""
        return "n" in self.flags

    @property
    def negative(self) -> bool:
        """Whether it carries a negation."""
        return "-" in self.flags

    @property
    def foreign(self) -> bool:
        """Whether what is known of English words doesn't hold for it."""
        return "f" in self.flags


class Alignment(NamedTuple):
    """The outcome.

    Attributes:
        asked_only, stored_only: content words without a counterpart, in order.
        slips, synonyms, opposites: pairs that were matched in spite of a slip of the keyboard, by the table of
            synonyms, by the table of antonyms.
        order: for each matched word of the asked text, in order, the place of its counterpart among the stored text's
            matched ones: 0, 1, 2, … when nothing moved.
        relinked: matched words that another small word links (from / to).
        matched: all pairs, in the order of the asked text.
        moved: whether matched words stand in another order.
    """

    asked_only: tuple[Word, ...]
    stored_only: tuple[Word, ...]
    slips: tuple[tuple[Word, Word], ...]
    synonyms: tuple[tuple[Word, Word], ...]
    opposites: tuple[tuple[Word, Word], ...]
    order: tuple[int, ...]
    relinked: tuple[tuple[Word, Word], ...]
    matched: tuple[tuple[Word, Word], ...]
    moved: bool

    @property
    def inflected(self) -> bool:
        """Whether all matched words are the same but for number, tense or a slip: "author" isn't "authority"."""
        return all(
            one.folded == other.folded or _inflected(one.folded, other.folded)
            for one, other in self.matched
            if (one, other) not in self.slips
        )

    @property
    def left_over(self) -> int:
        """How many content words have no counterpart, both sides together."""
        return len(self.asked_only) + len(self.stored_only)

    @property
    def rotated(self) -> bool:
        """Whether all that moved is one part, from the end to the beginning or back: "in Python" at either end."""
        start = self.order.index(0) if self.order else 0
        return self.moved and (*self.order[start:], *self.order[:start]) == tuple(range(len(self.order)))


def content(words: Iterable[str], language: str = "", small: AbstractSet[str] = frozenset()) -> tuple[Word, ...]:
    """The content words of a text.

    They stand in order, but for two that "and" or "or" joins: these by the alphabet. Negations aren't among them, nor
    what is `small` in the text's language.
    """
    found: list[Word] = []
    link = ""
    first = True
    joins = follows = False  # Two content words with nothing but "and" between.
    words = tuple(words)
    shouted = all(map(str.isupper, words))
    titled = sum([word[0].isupper() for word in words]) > len(words) // 2
    foreign = "" if language in {"", "en"} else "f"
    for raw in words:
        if len(found) >= MAX_WORDS:
            break
        capital = raw[0].isupper() and not first
        # "US" and "IT" are no pronouns, "Go" is a language, "A" a vitamin, and "May" a name.
        abbreviated = capital and not shouted and raw != "I" and (raw.isupper() or not titled)
        name = "n" if capital and language != "de" else ""  # All nouns have a capital there.
        for bare, is_small, negates in _parts_of[raw]:
            if negates or ((is_small or bare.folded in small) and not abbreviated):
                if bare.folded in LINKS:
                    link = bare.folded
                joins = bare.folded in {"and", "or"} and follows
                follows = False
                continue
            word = bare
            if name or link or foreign:
                word = Word(bare.folded, bare.stem, link, name + bare.flags + foreign)
            if joins and word.stem < found[-1].stem:
                found[-1:] = [word._replace(link=found[-1].link), found[-1]._replace(link=word.link)]
            else:
                found.append(word)
            link, joins, follows = "", False, True
        first = False
    return tuple(found)


def _find_parts(raw: str) -> tuple[tuple[Word, bool, bool], ...]:
    """The words that a written one stands for, and whether each is a small word, a negation.

    Each is as it stands where nothing links it and nothing makes it a name.
    """
    lowered = unaccented(raw.casefold())
    parts = []
    for folded in spread[ABBREVIATIONS.get(lowered, lowered)]:
        base = positive(folded)
        word = Word(folded, stem(base or folded), "", "-" if base else "")
        parts.append((word, folded in SMALL_WORDS, folded in NEGATIONS))
    return tuple(parts)


_parts_of = Remembered(_find_parts)


def align(asked: Sequence[Word], stored: Sequence[Word]) -> Alignment:
    """Match equal stems first, then slips, words written apart on one side, synonyms, opposites."""
    if [word.stem for word in asked] == [word.stem for word in stored]:
        # So it is with most near repeats: nothing was added, dropped or moved, and nothing is left to look for.
        matched = tuple(zip(asked, stored, strict=True))
        return Alignment((), (), (), (), (), tuple(range(len(asked))), _relinked(matched), matched, moved=False)
    matching = _Matching(asked, stored)
    matching.equal()
    slips = matching.by(slip)
    if matching.left and matching.right:
        matching.join()
    synonyms = matching.by(lambda one, other: synonymous(one.stem, other.stem))
    opposites = matching.by(lambda one, other: opposite(one.folded, other.folded) or opposite(one.stem, other.stem))
    places = sorted(matching.partner.items())
    rank = {place: number for number, place in enumerate(sorted(matching.partner.values()))}
    order = tuple([rank[place] for _, place in places])
    matched = tuple([(asked[a], stored[b]) for a, b in places])
    return Alignment(
        tuple([asked[position] for position in matching.left if not _small_slip(asked[position])]),
        tuple([stored[position] for position in matching.right if not _small_slip(stored[position])]),
        slips,
        synonyms,
        opposites,
        order,
        _relinked(matched),
        matched,
        moved=order != tuple(range(len(order))),
    )


def _relinked(matched: tuple[tuple[Word, Word], ...]) -> tuple[tuple[Word, Word], ...]:
    return tuple([(one, other) for one, other in matched if one.link != other.link])


_FEW = 24
"""Of more words that have no equal, the texts are different ones anyhow, and looking at each pair would take long."""


class _Matching:
    """Positions that have found a partner, and those that look for one."""

    def __init__(self, asked: Sequence[Word], stored: Sequence[Word]) -> None:
        self.asked, self.stored = asked, stored
        self.partner: dict[int, int] = {}
        self.left = list(range(len(asked)))
        self.right = list(range(len(stored)))

    def equal(self) -> None:
        free: dict[str, list[int]] = {}
        for position in reversed(self.right):
            free.setdefault(self.stored[position].stem, []).append(position)
        for position in self.left:
            places = free.get(self.asked[position].stem)
            if places:
                self.partner[position] = places.pop()
        if self.partner:
            taken = set(self.partner.values())
            self.left = [position for position in self.left if position not in self.partner]
            self.right = [position for position in self.right if position not in taken]

    def by(self, alike: Callable[[Word, Word], bool]) -> tuple[tuple[Word, Word], ...]:
        found: list[tuple[Word, Word]] = []
        if not self.right or max(len(self.left), len(self.right)) > _FEW:
            return ()
        for position in list(self.left):
            other = next((place for place in self.right if alike(self.asked[position], self.stored[place])), None)
            if other is not None:
                found.append((self.asked[position], self.stored[other]))
                self.partner[position] = other
                self.left.remove(position)
                self.right.remove(other)
        return tuple(found)

    def join(self) -> None:
        _join(self.asked, self.left, self.stored, self.right)
        _join(self.stored, self.right, self.asked, self.left)


def _join(apart: Sequence[Word], loose: list[int], whole: Sequence[Word], others: list[int]) -> None:
    """Drop "pass", "word" here and "password" there: one thing written in two ways."""
    for other in list(others):
        target = whole[other].folded
        for position in list(loose):
            following = position + 1
            if following in loose and apart[position].folded + apart[following].folded == target:
                loose.remove(position)
                loose.remove(following)
                others.remove(other)
                break


def slip(one: Word, other: Word) -> bool:
    """Whether two words differ by one slip of the keyboard or by spelling: one is common, the other no word.

    Never two names: "prednisone" and "prednisolone" are two drugs.
    """
    a, b = one.folded, other.folded
    longest = max(len(a), len(b))
    if (
        one.foreign
        or other.foreign
        or longest < 4
        or not (a.isalpha() and b.isalpha() and a.isascii() and b.isascii())
        or (one.named and other.named)
    ):
        return False
    if OSA.distance(a, b, score_cutoff=1) > 1 or known(a) == known(b):
        return False
    if not (common(a) or common(b)):
        return False
    # "propene" and "propyne", "butanol" and "butanal" are no slips of each other.
    kind, other_kind = _SUBSTANCE.search(a), _SUBSTANCE.search(b)
    return not (kind and other_kind and kind.group() != other_kind.group())


def _inflected(one: str, other: str) -> bool:
    return bool(_forms(one) & _forms(other))


def _forms(word: str) -> set[str]:
    """What a word may be the plural, the past or the present of, itself included."""
    found = {word}
    for ending in ("s", "es", "d", "ed", "ing"):
        if word.endswith(ending) and len(word) - len(ending) > 2:
            base = word[: -len(ending)]
            found |= {base, f"{base}e"} | ({base[:-1]} if base[-1] == base[-2] else set())
    if word.endswith("ies"):
        found.add(f"{word[:-3]}y")
    return found


def _small_slip(word: Word) -> bool:
    """Whether a word is a small one with a slip in it: "teh", "waht"."""
    text = word.folded
    if not 3 <= len(text) <= 7 or not text.isascii() or not text.isalpha() or word.named or word.foreign or known(text):
        return False
    return any(OSA.distance(text, small, score_cutoff=1) <= 1 for small in _LONGER_SMALL_WORDS)


_SUBSTANCE = re.compile(r"(?:[aeiy]ne|[aeo]l|[ai]te|ide)$")
_LONGER_SMALL_WORDS = tuple(word for word in sorted(SMALL_WORDS) if len(word) > 2)
