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
_WITH_IS = frozenset(
    [
        "what",
        "who",
        "where",
        "how",
        "why",
        "when",
        "that",
        "it",
        "there",
        "here",
        "he",
        "she",
        "this",
        "everything",
        "something",
        "nothing",
        "someone",
    ]
)
"""Words after which "'s" is "is". After others it marks an owner."""
_LATIN_LETTERS = str.maketrans({"ß": "ss", "ø": "o", "ł": "l", "đ": "d", "ı": "i", "æ": "ae"})
"""Letters that Unicode doesn't take apart, as people write them without their marks."""

SMALL_WORDS = words("small_words")
"""Words whose presence alone seldom changes an answer. Guards of their own check the few that may change it."""

NEGATIONS = words("negations")
CJK_NEGATIONS = re.compile(
    r"不(?!同|断|过|仅|错|知)|没有?|別(?!の|人)|别(?!的|人)|ない(?!で)|ません(?!か)|なく(?!て)|없|않|안(?=\s)|못(?=\s)|지(?=\s?마)"
)
"""Negations of scripts that put no space between words: there a negation is a character, not a word."""

_COMMON_FROM = 50
"""Occurrences in the corpus above which a word is common. Rarer ones are mostly names or fragments of words."""
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
    """Return a Latin word without its accents, and a Russian one with "е" for "ё": many people leave them out."""
    if word.isascii() or word[0] > "\u024f":
        return word.replace("ё", "е")
    decomposed = unicodedata.normalize("NFKD", word)
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter)).translate(_LATIN_LETTERS)


def _expand(word: str) -> tuple[str, ...]:
    contraction = CONTRACTIONS.get(word)
    if contraction is not None:
        return contraction
    if "'" in word:
        if word.endswith("'s") and word[:-2] in _WITH_IS:
            return (word[:-2], "is")
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


class EnglishWords(NamedTuple):
    """Folded words of an English corpus of a billion words: every word in it, and the common ones."""

    every_word: frozenset[str]
    common_words: frozenset[str]


@cache
def load_english() -> EnglishWords:
    """Load the English words. The first call takes about 0.2 s and 30 MB; later calls return what it loaded."""
    counts: Mapping[str, int] = SpellChecker(language="en").word_frequency.dictionary
    return EnglishWords(frozenset(counts), frozenset(word for word, count in counts.items() if count > _COMMON_FROM))
