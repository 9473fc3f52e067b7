"""What is known of words without a model: stems, English words and how often they are used, small words, negations."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import snowballstemmer
from spellchecker import SpellChecker

from semcache.text.remembered import Remembered
from semcache.text.tables import meanings, words

CONTRACTIONS: Mapping[str, tuple[str, ...]] = meanings("contractions")
"""By folded word."""

_ENDINGS: Mapping[str, tuple[str, ...]] = {
    "n't": ("not",),
    "'re": ("are",),
    "'ve": ("have",),
    "'ll": ("will",),
    "'m": ("am",),
    "'d": ("would",),
    "'s": (),
}

SMALL_WORDS = words("small_words")
"""Words whose presence alone seldom changes an answer; those that may are looked at by guards of their own."""

NEGATIONS = words("negations")
CJK_NEGATIONS = re.compile(
    r"不(?!同|断|过|仅|错|知)|没有?|別(?!の|人)|别(?!的|人)|ない(?!で)|ません(?!か)|なく(?!て)|없|않|안(?=\s)|못(?=\s)|지(?=\s?마)"
)
"""Where words aren't apart a negation is a sign of its own."""

_PARTICLES = frozenset({"in", "up", "out", "off", "on", "down"})
_OFTEN = 50
"""Rarer words are mostly names, and leftovers of others ("cle" of "uncle")."""
PREAMBLE = re.compile(
    r"^\W*(?:(?:hi|hello|hey|ok|okay|so|please|pls|plz)\b\W*)*"
    r"(?:(?:can|could|would|will)\s+(?:you|u)\s+(?:please\s+|pls\s+|kindly\s+)?"
    r"(?:(?:tell|show|explain\s+to)\s+me\s+|help\s+me\s+(?:to\s+)?|let\s+me\s+know\s+)?"
    r"|(?:please\s+|kindly\s+)?(?:tell\s+me|show\s+me|let\s+me\s+know|help\s+me(?:\s+to)?)\s+"
    r"|i\s+(?:want|need|would\s+like|wanted)\s+to\s+know\s+|i'd\s+like\s+to\s+know\s+|do\s+you\s+know\s+)"
    r"(?:about\s+|if\s+|whether\s+)?(?!$)",
    re.IGNORECASE,
)
"""How people begin who are polite: what follows is the request."""
_stemmer = snowballstemmer.stemmer("english")


def _stem(word: str) -> str:
    if len(word) < 4 or not word.isascii() or not word.isalpha():
        return word
    found: str = _stemmer.stemWord(word)
    return found


_stems = Remembered(_stem)


def stem(word: str) -> str:
    """The stem of a folded English word; words of other scripts come back as they are."""
    return _stems[word]


def unaccented(word: str) -> str:
    """A Latin word without its accents: people leave them out."""
    if word.isascii() or word[0] > "\u024f":
        return word
    return "".join(letter for letter in unicodedata.normalize("NFKD", word) if not unicodedata.combining(letter))


def _spread(word: str) -> tuple[str, ...]:
    whole = CONTRACTIONS.get(word)
    if whole is not None:
        return whole
    if "'" in word:
        for ending, rest in _ENDINGS.items():
            if word.endswith(ending) and len(word) > len(ending):
                return (word[: -len(ending)], *rest)
    return (word,)


spread = Remembered(_spread)
"""By folded word, the words that it stands for: "don't" for ("do", "not"); a possessive is its owner."""


def known(word: str) -> bool:
    """Whether a folded word is English as it stands, so that it is no slip of the keyboard."""
    return word in load().all or stem(word) in SMALL_WORDS


def common(word: str) -> bool:
    """Whether a folded word is a frequent one of English."""
    return word in load().common


def joined(words: tuple[str, ...]) -> tuple[str, ...]:
    """Verbs with a particle are written both ways: "log in" as "login"."""
    if _PARTICLES.isdisjoint(words):
        return words
    found: list[str] = []
    for word in words:
        if found and word in _PARTICLES and known(whole := found[-1].casefold() + word):
            found[-1] = whole
        else:
            found.append(word)
    return tuple(found)


class EnglishWords(NamedTuple):
    """Folded words of a corpus of a billion: all that occur, and those that do often."""

    all: frozenset[str]
    common: frozenset[str]


@cache
def load() -> EnglishWords:
    """The English words; the first call takes a fifth of a second and 30 MB."""
    counts: Mapping[str, int] = SpellChecker(language="en").word_frequency.dictionary
    return EnglishWords(frozenset(counts), frozenset(word for word, count in counts.items() if count > _OFTEN))
