"""Knowledge of words without a model: stems, English words with their frequency, small words and negations."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import snowballstemmer
from spellchecker import SpellChecker

from semcache.text.memo import Memo
from semcache.text.tables import meanings, words

CONTRACTIONS: Mapping[str, tuple[str, ...]] = meanings("contractions")
"""Contractions with the words that they stand for, by folded word."""

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
"""Words whose presence alone seldom changes an answer. Guards of their own check the few that may change it."""

NEGATIONS = words("negations")
CJK_NEGATIONS = re.compile(
    r"不(?!同|断|过|仅|错|知)|没有?|別(?!の|人)|别(?!的|人)|ない(?!で)|ません(?!か)|なく(?!て)|없|않|안(?=\s)|못(?=\s)|지(?=\s?마)"
)
"""Negations of scripts that put no space between words: there a negation is a character, not a word."""

_PARTICLES = frozenset({"in", "up", "out", "off", "on", "down"})
_COMMON_FROM = 50
"""Occurrences in the corpus above which a word is common. Rarer ones are mostly names or fragments of words."""
PREAMBLE = re.compile(
    r"^\W*(?:(?:hi|hello|hey|ok|okay|so|please|pls|plz)\b\W*)*"
    r"(?:(?:can|could|would|will)\s+(?:you|u)\s+(?:please\s+|pls\s+|kindly\s+)?"
    r"(?:(?:tell|show|explain\s+to)\s+me\s+|help\s+me\s+(?:to\s+)?|let\s+me\s+know\s+)?"
    r"|(?:please\s+|kindly\s+)?(?:tell\s+me|show\s+me|let\s+me\s+know|help\s+me(?:\s+to)?)\s+"
    r"|i\s+(?:want|need|would\s+like|wanted)\s+to\s+know\s+|i'd\s+like\s+to\s+know\s+|do\s+you\s+know\s+)"
    r"(?:about\s+|if\s+|whether\s+)?(?!$)",
    re.IGNORECASE,
)
"""The polite beginning of a request; the request itself follows it."""
_stemmer = snowballstemmer.stemmer("english")


def _stem(word: str) -> str:
    if len(word) < 4 or not word.isascii() or not word.isalpha():
        return word
    stemmed: str = _stemmer.stemWord(word)
    return stemmed


_stems = Memo(_stem)


def stem(word: str) -> str:
    """Return the stem of a folded English word; words of other scripts are returned unchanged."""
    return _stems[word]


def unaccented(word: str) -> str:
    """Return a Latin word without its accents, since many people leave them out."""
    if word.isascii() or word[0] > "\u024f":
        return word
    return "".join(letter for letter in unicodedata.normalize("NFKD", word) if not unicodedata.combining(letter))


def _expand(word: str) -> tuple[str, ...]:
    contraction = CONTRACTIONS.get(word)
    if contraction is not None:
        return contraction
    if "'" in word:
        for ending, meaning in _ENDINGS.items():
            if word.endswith(ending) and len(word) > len(ending):
                return (word[: -len(ending)], *meaning)
    return (word,)


expansions = Memo(_expand)
"""The words that a folded word stands for: ("do", "not") for "don't"; a possessive stands for its owner."""


def is_english(word: str) -> bool:
    """Return whether a folded word is an English word as written, so that it can't be a slip of the keyboard."""
    return word in load_english().every_word or stem(word) in SMALL_WORDS


def is_common(word: str) -> bool:
    """Return whether a folded word is a frequent English word."""
    return word in load_english().common_words


def join_particles(words: tuple[str, ...]) -> tuple[str, ...]:
    """Join verbs with their particle where the joined word is English: "log in" becomes "login".

    People write such verbs both ways.
    """
    if _PARTICLES.isdisjoint(words):
        return words
    joined: list[str] = []
    for word in words:
        if joined and word in _PARTICLES and is_english(verb := joined[-1].casefold() + word):
            joined[-1] = verb
        else:
            joined.append(word)
    return tuple(joined)


class EnglishWords(NamedTuple):
    """Folded words of an English corpus of a billion words: every word in it, and the common ones."""

    every_word: frozenset[str]
    common_words: frozenset[str]


@cache
def load_english() -> EnglishWords:
    """Load the English words. The first call takes about 0.2 s and 30 MB; later calls return what it loaded."""
    counts: Mapping[str, int] = SpellChecker(language="en").word_frequency.dictionary
    return EnglishWords(frozenset(counts), frozenset(word for word, count in counts.items() if count > _COMMON_FROM))
