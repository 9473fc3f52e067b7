"""Ways to write one English word: British and American spelling, typing slips, the plural."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from semcache.text.lexicon import SMALL_WORDS, is_common, is_english, load_english
from semcache.text.memo import Memo
from semcache.text.tables import meanings
from semcache.text.tables import words as word_list

_AMERICAN = {word: meaning[0] for word, meaning in meanings("spellings").items()}
_BRITISH_ENDINGS = (
    (re.compile(r"(?<=\w{3})is(e[drs]?|ers|ing|ations?)$"), r"iz\1"),
    (re.compile(r"(?<=\w{3})our(s|ed|ing|ful|able|ite|ites)?$"), r"or\1"),
)
_OWN_PLURALS = word_list("plurals_apart")
"""Plurals that mean something else than their singular: "customs", "damages"."""
_MIN_SLIP = 5
"""Letters of a word from which on a slip is forgiven. Of shorter words too many are one slip apart."""
_MAX_SLIP = 20
"""Letters of a word up to which it is compared with common words, which takes time for each of its letters."""
_MIN_DROPPED = 7
"""Letters of a word from which on a missing letter is forgiven."""
_KEYBOARD = ("qwertyuiop", " asdfghjkl", "  zxcvbnm")


def _neighbours() -> frozenset[tuple[str, str]]:
    """Return the pairs of letters whose keys touch on a keyboard, in both orders."""
    pairs = {pair for row in _KEYBOARD for pair in pairwise(row)}
    for upper, lower in pairwise(_KEYBOARD):
        for place, letter in enumerate(lower):
            pairs |= {(letter, other) for other in upper[max(0, place - 1) : place + 1]}
    return frozenset((a, b) for pair in pairs if " " not in pair for a, b in (pair, pair[::-1]))


_NEIGHBOURS = _neighbours()
_VOWELS = "aeiou"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _american(word: str) -> str:
    if word in _AMERICAN:
        return _AMERICAN[word]
    for ending, replacement in _BRITISH_ENDINGS:
        changed = ending.sub(replacement, word)
        if changed != word and is_common(changed):
            return changed
    return word


_american_of = Memo(_american)


def american(word: str) -> str:
    """Return a folded word in American spelling: "color" for "colour"."""
    return _american_of[word]


def is_plural_of(plural: str, singular: str) -> bool:
    """Return whether a folded word is the plural of another with the same meaning: "passwords" of "password".

    Both must be common English words: "polars" is a library, and no plural of "polar".
    """
    if plural in _OWN_PLURALS or not (is_common(plural) and is_common(singular)):
        return False
    if plural == f"{singular}s":
        return singular[-1] != "s"
    if plural == f"{singular}es":
        return singular.endswith(("s", "x", "z", "ch", "sh", "o"))
    return singular[-1:] == "y" and plural == f"{singular[:-1]}ies"


def _corrections(word: str) -> frozenset[str]:
    """Return the common words of which `word` may be a slip: none if it is a word itself."""
    if not _MIN_SLIP - 1 <= len(word) <= _MAX_SLIP or not word.isascii() or not word.isalpha() or is_english(word):
        return frozenset()
    common = load_english().common_words
    # A letter that is doubled, not doubled or exchanged with the next one is the likeliest slip.
    return common.intersection(_likely_words(word)) or common.intersection(_possible_words(word))


def _likely_words(slip: str) -> Iterator[str]:
    """Yield the words with the same first letter whose letters are exchanged, doubled or not doubled in `slip`."""
    for place in range(1, len(slip)):
        before, letter, after = slip[:place], slip[place], slip[place + 1 :]
        yield before + letter + letter + after
        if len(slip) >= _MIN_SLIP and after:
            yield before + after[0] + letter + after[1:]
        if len(slip) > _MIN_SLIP and letter == slip[place - 1]:
            yield before + after


def _possible_words(slip: str) -> Iterator[str]:
    """Yield the words with the same first letter that differ from `slip` in a key beside the right one or in a vowel.

    Of a long word a letter may also be missing.
    """
    for place in range(1, len(slip)):
        before, letter, after = slip[:place], slip[place], slip[place + 1 :]
        if len(slip) >= _MIN_SLIP:
            yield from (before + other + after for other in _LETTERS if (letter, other) in _NEIGHBOURS)
        if len(slip) >= _MIN_DROPPED - 1:
            yield from (before + other + after for other in _VOWELS if letter in _VOWELS and other != letter)
            yield from (before + other + slip[place:] for other in _LETTERS)


_corrections_of = Memo(_corrections)


def is_slip_of(slip: str, word: str) -> bool:
    """Return whether a folded word is a typing slip of one common English word, and of no other.

    "nuxt" is no slip of "next", since it is a short name, and "recipt" is one of "receipt" alone.
    """
    corrections = _corrections_of[slip]
    return len(corrections) == 1 and word in corrections


_LONGER_SMALL_WORDS = frozenset(word for word in SMALL_WORDS if len(word) > 2)


def _corrected_small_word(word: str) -> str:
    if not 3 <= len(word) <= 7 or not word.isascii() or not word.isalpha() or is_english(word):
        return word
    swapped = {
        word[:place] + word[place + 1] + word[place] + word[place + 2 :] for place in range(len(word) - 1)
    } & _LONGER_SMALL_WORDS
    return swapped.pop() if len(swapped) == 1 else word


_corrected = Memo(_corrected_small_word)


def corrected_small_word(word: str) -> str:
    """Return the small word of which a folded word is a slip with two letters exchanged: "the" for "teh"."""
    return _corrected[word]
