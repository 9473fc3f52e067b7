"""A text as the guards see it: normalised, its language guessed, its words apart; each once, whoever asks."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

from semcache.decision.figures import Figures, figures
from semcache.decision.lexicon import CJK_NEGATIONS, PREAMBLE, joined, unaccented
from semcache.decision.tables import meanings

_MARKS = str.maketrans(
    {"\u2019": "'", "\u02bc": "'", "\u00b4": "'", "\u2018": "'", "\u2212": "-", "\u2010": "-", "\u2011": "-"}
)
_HAN_AND_KANA = r"\u3400-\u9fff\uf900-\ufaff\u3040-\u30ff\U00020000-\U0003ffff"
# Han characters and kana stand one by one: their scripts put no space between words.
_WORDS = re.compile(rf"[{_HAN_AND_KANA}]|[^\W_{_HAN_AND_KANA}]+(?:'[^\W_{_HAN_AND_KANA}]+)*")

_FUNCTION_WORDS: Mapping[str, frozenset[str]] = {
    name: frozenset(known) for name, known in meanings("function_words").items()
}
MAX_CHARS = 8192
"""What is read of a text, more than a MiniLM does; what follows counts as one identifier: equal, or another request."""
_SIGNS = re.compile(r"[^\w\s]|_")
_SPACES = re.compile(r"[^\S\n]+")
_WITH = re.compile(r"\bw/o\b|\bw/(?=\s|$)\s?", re.IGNORECASE)
_SMALL_WORDS = {name: frozenset(map(unaccented, known)) for name, known in _FUNCTION_WORDS.items()}


def words_of(plain: str) -> tuple[str, ...]:
    """The words of a normalised text."""
    return tuple(_WORDS.findall(plain))


class Text:
    """One side of a comparison."""

    def __init__(self, raw: str) -> None:
        self.raw = raw

    @cached_property
    def signs(self) -> str:
        """All signs that are no letters and no digits, but for prose's punctuation: "C++" isn't "C".

        They stand in order, with a blank where they follow one: "++i" isn't "i++".
        """
        padded = f" {self.plain} "
        found = []
        for match in _SIGNS.finditer(padded):
            at = match.start()
            if not _is_prose(padded[at - 1], match.group(), padded[at + 1]):
                found.append(f" {match.group()}" if padded[at - 1].isspace() else match.group())
        return "".join(found)

    @cached_property
    def plain(self) -> str:
        """NFKC (full-width digits and letters become plain ones), one kind of apostrophe and minus; case kept."""
        return self.plain_with_backticks.replace("`", "'")

    @cached_property
    def plain_with_backticks(self) -> str:
        """As `plain`; a backtick is none of the apostrophes, two of them before two apostrophes are quotation marks."""
        text = unicodedata.normalize("NFKC", self.raw[:MAX_CHARS]).translate(_MARKS)
        if "  " in text or "\t" in text:
            text = _SPACES.sub(" ", text)
        if "w/" in text:
            text = _WITH.sub(lambda match: "without" if len(match[0].strip()) > 2 else "with ", text)
        if "``" in text and "''" in text and "```" not in text:
            text = text.replace("``", '"').replace("''", '"')
        return text

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The words of `plain` in order: runs of letters and digits, with inner apostrophes; Han and kana singly."""
        return words_of(self.plain)

    @cached_property
    def vocabulary(self) -> frozenset[str]:
        """The words, folded."""
        return frozenset(word.casefold() for word in self.words)

    @cached_property
    def figures(self) -> Figures:
        """Dates, times, identifiers, quantities and numbers, and the text without them."""
        found = figures(self.plain, self.language, self.vocabulary)
        rest = self.raw[MAX_CHARS:]
        if not rest:
            return found
        digest = hashlib.sha256(rest.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        return replace(found, identifiers=(*found.identifiers, digest))

    @cached_property
    def request_words(self) -> tuple[str, ...]:
        """The words behind what politeness begins with; verbs with their particle."""
        begun = PREAMBLE.match(self.plain)
        return joined(words_of(self.plain[begun.end() :]) if begun else self.words)

    @cached_property
    def content_words(self) -> tuple[str, ...]:
        """The same without figures and signs that negate."""
        rest = self.figures.rest
        if rest == self.plain and rest.isascii():
            return self.request_words
        return joined(words_of(CJK_NEGATIONS.sub(" ", PREAMBLE.sub("", rest))))

    @cached_property
    def language(self) -> str:
        """en, de, es or fr by its small words; empty where there are none."""
        scores = self.language_scores
        if not any(scores.values()):
            return ""
        return max(scores, key=lambda name: (scores[name], name == "en"))

    @cached_property
    def small_words(self) -> frozenset[str]:
        """The small words of its language, without accents."""
        return _SMALL_WORDS.get(self.language, frozenset())

    @cached_property
    def language_scores(self) -> Mapping[str, int]:
        """How many different small words of each language stand in the text; empty for a text without Latin letters."""
        words = self.vocabulary
        if not any(word[0] < "\u0250" and word[0].isalpha() for word in words):
            return {}
        return {name: len(words & known) for name, known in _FUNCTION_WORDS.items()}

    @cached_property
    def script(self) -> str:
        """The script that most letters are written in; empty for a text without letters."""
        scripts = self.scripts
        return max(scripts, key=lambda name: scripts[name], default="")

    @cached_property
    def scripts(self) -> Mapping[str, int]:
        """How many letters each script has (latin, han, kana, hangul and so on); 1 for a text in ASCII."""
        if self.plain.isascii():
            return {"latin": 1} if any(map(str.isalpha, self.plain)) else {}
        counts: dict[str, int] = {}
        for letter in self.plain:
            if letter.isalpha():
                name = "latin" if letter < "\u0250" else _script_of(letter)
                counts[name] = counts.get(name, 0) + 1
        if "kana" in counts and "han" in counts:
            counts["kana"] += counts.pop("han")  # Japanese is written in both.
        return counts


def _is_prose(before: str, sign: str, after: str) -> bool:
    """Whether a sign is punctuation here: at the edge of a word, an apostrophe or a hyphen within one."""
    if sign in "'-":
        return (
            (before.isalpha() and after.isalpha())
            or (sign == "-" and before.isspace() and after.isspace())
            or (sign == "'" and not before.isdigit() and (before.isspace() or after.isspace()))
        )
    if sign not in _PROSE:
        return False
    return before.isspace() or after.isspace() or after in _PROSE or before in _PROSE


_PROSE = frozenset('.,;:!?…¿¡"“”„«»()[]。、！？，；：「」『』（）·')


def _script_of(letter: str) -> str:
    name = unicodedata.name(letter, "").partition(" ")[0].casefold()
    return {"cjk": "han", "hiragana": "kana", "katakana": "kana", "katakana-hiragana": "kana"}.get(name, name)
