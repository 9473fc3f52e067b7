"""Align the content words of two texts, tolerating case, small words, inflection, synonyms and typing slips."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from rapidfuzz.distance import OSA

from semcache.text.lexicon import NEGATIONS, SMALL_WORDS, expansions, is_common, is_english, stem, unaccented
from semcache.text.memo import Memo
from semcache.text.opposites import are_opposites, positive_form
from semcache.text.synonyms import ABBREVIATIONS, are_synonyms
from semcache.text.tables import words as word_list

LINKS = word_list("links")
"""Small words that say how the next word relates to the rest: "from", "to", "with"."""
MAX_WORDS = 384
"""Content words kept of a text, more than the embedding model reads. A text that reaches it is no near repeat."""


class Word(NamedTuple):
    """A content word: folded, its stem, the small word that links it, and its flags.

    Flags: "n": it is written like a name; "-": it carries a negation; "f": its text isn't English.
    """

    folded: str
    stem: str
    link: str
    flags: str

    @property
    def is_name(self) -> bool:
        """Whether the word is written like a name."""
        return "n" in self.flags

    @property
    def is_negative(self) -> bool:
        """Whether the word carries a negation, as "unhappy" does."""
        return "-" in self.flags

    @property
    def is_foreign(self) -> bool:
        """Whether the word's text isn't English, so that the list of English words says nothing about it."""
        return "f" in self.flags


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
    def is_inflected(self) -> bool:
        """Whether all matched pairs differ only in number, tense or a slip: "author" and "authority" don't."""
        return all(
            asked.folded == stored.folded or _share_form(asked.folded, stored.folded)
            for asked, stored in self.matched
            if (asked, stored) not in self.slips
        )

    @property
    def unmatched_count(self) -> int:
        """How many words of both texts have no counterpart."""
        return len(self.asked_only) + len(self.stored_only)

    @property
    def is_rotated(self) -> bool:
        """Whether one part moved between the beginning and the end, as "in Python" does, and nothing else moved."""
        start = self.order.index(0) if self.order else 0
        return self.moved and (*self.order[start:], *self.order[:start]) == tuple(range(len(self.order)))


def read_content_words(
    words: Iterable[str], language: str = "", small: AbstractSet[str] = frozenset()
) -> tuple[Word, ...]:
    """Return the content words of a text, at most `MAX_WORDS`, in order.

    Two words that only "and" or "or" joins are put in alphabetical order, since "A and B" asks the same as "B and A".

    Args:
        words: the words of the text, as written.
        language: the text's language code; empty when it is unknown.
        small: small words of that language beside the English ones. They are left out, and so are negations.
    """
    content: list[Word] = []
    link = ""
    at_start = True
    joins = follows = False  # Together they find two content words with only "and" or "or" between them.
    words = tuple(words)
    all_capitals = all(map(str.isupper, words))
    title_case = sum([word[0].isupper() for word in words]) > len(words) // 2
    foreign = "" if language in {"", "en"} else "f"
    for raw in words:
        if len(content) >= MAX_WORDS:
            break
        capital = raw[0].isupper() and not at_start
        # "US" and "IT" are no pronouns, "Go" is a language, "A" a vitamin, and "May" a name.
        abbreviated = capital and not all_capitals and raw != "I" and (raw.isupper() or not title_case)
        name = "n" if capital and language != "de" else ""  # In German all nouns have a capital.
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
            if joins and word.stem < content[-1].stem:
                content[-1:] = [word._replace(link=content[-1].link), content[-1]._replace(link=word.link)]
            else:
                content.append(word)
            link, joins, follows = "", False, True
        at_start = False
    return tuple(content)


def _split_word(raw: str) -> tuple[tuple[Word, bool, bool], ...]:
    """Return the words that a written word stands for; for each, whether it is a small word and whether it negates.

    Each has neither a link nor the flag of a name: these depend on the text around it.
    """
    lowered = unaccented(raw.casefold())
    parts = []
    for folded in expansions[ABBREVIATIONS.get(lowered, lowered)]:
        positive = positive_form(folded)
        word = Word(folded, stem(positive or folded), "", "-" if positive else "")
        parts.append((word, folded in SMALL_WORDS, folded in NEGATIONS))
    return tuple(parts)


_parts_of = Memo(_split_word)


def align(asked: Sequence[Word], stored: Sequence[Word]) -> Alignment:
    """Align the content words of an asked and a stored text.

    Words are matched in this order: equal stems, typing slips, words that one side writes as two, synonyms, opposites.
    """
    if [word.stem for word in asked] == [word.stem for word in stored]:
        # Most near repeats have equal stems in equal order: nothing was added, dropped or moved.
        matched = tuple(zip(asked, stored, strict=True))
        return Alignment((), (), (), (), (), tuple(range(len(asked))), _relinked(matched), matched, moved=False)
    matching = _Matching(asked, stored)
    matching.match_equal()
    slips = matching.match_by(is_slip)
    if matching.asked_free and matching.stored_free:
        matching.drop_compounds()
    synonyms = matching.match_by(lambda first, second: are_synonyms(first.stem, second.stem))
    opposites = matching.match_by(
        lambda first, second: are_opposites(first.folded, second.folded) or are_opposites(first.stem, second.stem)
    )
    places = sorted(matching.partner.items())
    rank = {place: number for number, place in enumerate(sorted(matching.partner.values()))}
    order = tuple([rank[place] for _, place in places])
    matched = tuple([(asked[a], stored[b]) for a, b in places])
    return Alignment(
        tuple([asked[position] for position in matching.asked_free if not _is_small_slip(asked[position])]),
        tuple([stored[position] for position in matching.stored_free if not _is_small_slip(stored[position])]),
        slips,
        synonyms,
        opposites,
        order,
        _relinked(matched),
        matched,
        moved=order != tuple(range(len(order))),
    )


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

    def drop_compounds(self) -> None:
        """Drop words that one text writes as two and the other as one."""
        _drop_compounds(self.asked, self.asked_free, self.stored, self.stored_free)
        _drop_compounds(self.stored, self.stored_free, self.asked, self.asked_free)


def _drop_compounds(
    halves: Sequence[Word], free_halves: list[int], compounds: Sequence[Word], free_compounds: list[int]
) -> None:
    """Drop "pass" and "word" of `halves` together with "password" of `compounds`: both texts mean one word.

    Args:
        halves: the words of the text that writes a compound as two words.
        free_halves: the positions in it that have no partner; positions are removed from it.
        compounds: the words of the other text.
        free_compounds: the positions in it that have no partner; positions are removed from it.
    """
    for place in list(free_compounds):
        compound = compounds[place].folded
        for position in list(free_halves):
            following = position + 1
            if following in free_halves and halves[position].folded + halves[following].folded == compound:
                free_halves.remove(position)
                free_halves.remove(following)
                free_compounds.remove(place)
                break


def is_slip(first: Word, second: Word) -> bool:
    """Return whether two words differ by one typing slip or by spelling.

    One of them must be a common English word and the other no English word at all. Two names are never slips of each
    other: "prednisone" and "prednisolone" are two drugs.
    """
    a, b = first.folded, second.folded
    longest = max(len(a), len(b))
    if (
        first.is_foreign
        or second.is_foreign
        or longest < 4
        or not (a.isalpha() and b.isalpha() and a.isascii() and b.isascii())
        or (first.is_name and second.is_name)
    ):
        return False
    if OSA.distance(a, b, score_cutoff=1) > 1 or is_english(a) == is_english(b):
        return False
    if not (is_common(a) or is_common(b)):
        return False
    # "propene" and "propyne", "butanol" and "butanal" are different substances, not slips.
    ending, other_ending = _SUBSTANCE.search(a), _SUBSTANCE.search(b)
    return not (ending and other_ending and ending.group() != other_ending.group())


def _share_form(first: str, second: str) -> bool:
    return bool(_forms(first) & _forms(second))


def _forms(word: str) -> set[str]:
    """Return the words of which `word` may be the plural, past or present form, and `word` itself."""
    forms = {word}
    for ending in ("s", "es", "d", "ed", "ing"):
        if word.endswith(ending) and len(word) - len(ending) > 2:
            base = word[: -len(ending)]
            forms |= {base, f"{base}e"} | ({base[:-1]} if base[-1] == base[-2] else set())
    if word.endswith("ies"):
        forms.add(f"{word[:-3]}y")
    return forms


def _is_small_slip(word: Word) -> bool:
    """Return whether a word is a small word with a typing slip: "teh", "waht"."""
    text = word.folded
    if (
        not 3 <= len(text) <= 7
        or not text.isascii()
        or not text.isalpha()
        or word.is_name
        or word.is_foreign
        or is_english(text)
    ):
        return False
    return any(OSA.distance(text, small, score_cutoff=1) <= 1 for small in _LONGER_SMALL_WORDS)


_SUBSTANCE = re.compile(r"(?:[aeiy]ne|[aeo]l|[ai]te|ide)$")
"""Endings that tell chemical substances apart."""
_LONGER_SMALL_WORDS = tuple(word for word in sorted(SMALL_WORDS) if len(word) > 2)
