"""Read a text as its content words and its skeleton: the small words with a place for each content word and figure."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from semcache.text.dates import FIGURE
from semcache.text.lexicon import NEGATIONS, SMALL_WORDS, expansions, is_common, stem, unaccented
from semcache.text.memo import Memo
from semcache.text.opposites import positive_form
from semcache.text.spelling import american, corrected_small_word
from semcache.text.synonyms import ABBREVIATIONS
from semcache.text.tables import meanings
from semcache.text.tables import words as word_list

LINKS = word_list("links")
"""Small words that say how the next word relates to the rest: "from", "to", "with"."""
MAX_WORDS = 384
"""Content words kept of a text, more than the embedding model reads. A text that reaches it is no near repeat."""
WORD_PLACE = "_"
"""The place of a content word in a skeleton."""
FIGURE_PLACE = "#"
"""The place of a figure in a skeleton."""
_ARTICLES = frozenset({"a", "an", "the"})
_AFTER_ARTICLE = frozenset({"one", "ones"})
"""Small words that stay small after an article. Any other is a noun or an adjective there: "the us", "a just war"."""
_FILLERS = word_list("fillers")
_LETTERED = word_list("lettered_nouns")
"""Nouns after which a letter is a name: "hepatitis a", "plan b"."""
_KEYS = frozenset({"ctrl", "cmd", "strg"})
""""ctrl+C" is "ctrl+c"."""
_BEFORE_A_LETTER = _KEYS | _LETTERED
"""Words after which a letter's case says nothing."""
_NORMAL_FORMS = {word: meaning[0] for word, meaning in meanings("normal_forms").items()}
_HOW = frozenset({"how", "where", "who"})
_HELPING = frozenset({"can", "do", "should", "will"})
_ANYONE = frozenset({"i", "we"})
_UNIT_SYMBOLS = word_list("unit_symbols")


class Word(NamedTuple):
    """A content word: folded, its stem, the small word that links it, and its flags.

    Flags: "n": it is written like a name; "c": it is written in capitals; "-": it carries a negation; "f": its text
    isn't English.
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
    def is_in_capitals(self) -> bool:
        """Whether the word is written in capitals in a text that isn't."""
        return "c" in self.flags

    @property
    def is_negative(self) -> bool:
        """Whether the word carries a negation, as "unhappy" does."""
        return "-" in self.flags

    @property
    def is_foreign(self) -> bool:
        """Whether the word's text isn't English, so that the list of English words says nothing about it."""
        return "f" in self.flags


class Content(NamedTuple):
    """The content words of a text in order, and its skeleton.

    The skeleton of "How do I pay 5 invoices?" is "how to", a place for "pay", one for "5" and one for "invoices".
    """

    words: tuple[Word, ...]
    skeleton: tuple[str, ...]


def read_content(words: Iterable[str], language: str = "", small: AbstractSet[str] = frozenset()) -> Content:
    """Return the content words of a text, at most `MAX_WORDS`, and its skeleton.

    Two words that only "and" or "or" joins are put in alphabetical order, since "A and B" asks the same as "B and A".

    Args:
        words: the words of the text, as written, with `FIGURE` for each figure.
        language: the text's language code; empty when it is unknown.
        small: small words of that language beside the English ones. They are no content words.
    """
    words = tuple(words)
    reader = _ContentReader(words, language, small)
    for raw in words:
        if len(reader.content) >= MAX_WORDS:
            break
        reader.take(raw)
    return Content(tuple(reader.content), _generic_questions(reader.skeleton))


class _ContentReader:
    """Takes the words of one text in order, and remembers what the next word's reading depends on.

    Attributes:
        content: the content words so far.
        skeleton: the skeleton so far.
    """

    def __init__(self, words: tuple[str, ...], language: str, small: AbstractSet[str]) -> None:
        self.content: list[Word] = []
        self.skeleton: list[str] = []
        self._small = small
        self._is_english = language in {"", "en"}
        self._capitals_name = language != "de"  # In German all nouns have a capital.
        written = [word for word in words if word != FIGURE]
        self._all_capitals = all(map(str.isupper, written))
        self._title_case = sum([word[0].isupper() for word in written]) > len(written) // 2
        self._at_start = True
        self._link = ""
        self._before = ""  # The folded word before, whether small or not.
        self._after_article = False
        # Together they find two content words with only "and" or "or" between them.
        self._joins = self._follows = False

    def take(self, raw: str) -> None:
        """Read the next word."""
        if raw == FIGURE:
            self.skeleton.append(FIGURE_PLACE)
            self._before, self._joins, self._follows, self._at_start = FIGURE, False, False, False
            return
        capital = raw[0].isupper() and not self._at_start
        # "US" and "IT" are no pronouns, "Go" is a language, "A" a vitamin, and "May" a name.
        abbreviated = (
            capital and not self._all_capitals and not _is_pronoun_i(raw) and (raw.isupper() or not self._title_case)
        )
        for bare, is_small, negates in _parts_of[raw]:
            folded = bare.folded
            if negates or ((is_small or folded in self._small) and not abbreviated and not self._is_noun_here(folded)):
                self._take_small(folded)
            else:
                self._take_content(bare, raw, capital=capital)
            self._before = folded
        self._at_start = False

    def _is_noun_here(self, folded: str) -> bool:
        """Return whether a small word is a noun or an adjective by the word before it."""
        if self._after_article:
            return folded not in _AFTER_ARTICLE and folded not in _ARTICLES
        return folded == "a" and self._before in _LETTERED

    def _take_small(self, folded: str) -> None:
        if folded in LINKS:
            self._link = folded
        self._joins = folded in {"and", "or"} and self._follows
        self._follows = False
        self._after_article = self._is_english and folded in _ARTICLES
        if not self._is_english:
            self.skeleton.append(folded)
        elif folded not in _FILLERS:
            self.skeleton.append(_NORMAL_FORMS.get(folded, folded))

    def _take_content(self, bare: Word, raw: str, *, capital: bool) -> None:
        flags = bare.flags
        if capital and self._capitals_name:
            flags = "n" + flags
        if raw.isupper() and not self._all_capitals and not self._at_start and self._before not in _BEFORE_A_LETTER:
            flags = "c" + flags
        if not self._is_english:
            flags += "f"
        word = bare
        if self._before == FIGURE and raw != bare.folded and _is_unit_symbol(bare.folded):
            word = Word(raw, raw, "", "")  # "5 mW" isn't "5 MW".
        elif not self._is_english and not bare.is_negative:
            word = Word(bare.folded, bare.folded, "", "")  # An English stem says nothing of another language.
        if self._link or flags != word.flags:
            word = word._replace(link=self._link, flags=flags)
        if self._joins and word.stem < self.content[-1].stem:
            last = self.content[-1]
            self.content[-1:] = [word._replace(link=last.link), last._replace(link=word.link)]
        else:
            self.content.append(word)
        self.skeleton.append(WORD_PLACE)
        self._link, self._joins, self._follows, self._after_article = "", False, True, False


def _is_pronoun_i(raw: str) -> bool:
    """Return whether a word is "I", also in a contraction: "I've"."""
    return raw[0] == "I" and (len(raw) == 1 or raw[1] == "'")


def _is_unit_symbol(folded: str) -> bool:
    """Return whether a word may be a unit whose prefix depends on its case: milli and mega, nano, pico and peta."""
    return folded[0] in "mnp" and folded[1:] in _UNIT_SYMBOLS


def _generic_questions(skeleton: list[str]) -> tuple[str, ...]:
    """Return the skeleton with "how to" for "how can I", "how do I", "how I" and the like, since they ask the same."""
    generic: list[str] = []
    position = 0
    while position < len(skeleton):
        generic.append(skeleton[position])
        position += 1
        if generic[-1] in _HOW:
            person = position + (skeleton[position : position + 1] != [] and skeleton[position] in _HELPING)
            if person < len(skeleton) and skeleton[person] in _ANYONE:
                generic.append("to")
                position = person + 1
    return tuple(generic)


def _split_word(raw: str) -> tuple[tuple[Word, bool, bool], ...]:
    """Return the words that a written word stands for; for each, whether it is a small word and whether it negates.

    Each has neither a link nor the flag of a name: these depend on the text around it.
    """
    lowered = corrected_small_word(american(unaccented(raw.casefold())))
    parts = []
    for folded in expansions[ABBREVIATIONS.get(lowered, lowered)]:
        positive = positive_form(folded)
        word = Word(folded, stem(positive or folded), "", "-" if positive else "")
        parts.append((word, folded in SMALL_WORDS, folded in NEGATIONS))
    return tuple(parts)


_parts_of = Memo(_split_word)


def is_common_word(word: Word) -> bool:
    """Return whether a content word of an English text is a frequent English word."""
    return not word.is_foreign and is_common(word.folded)
