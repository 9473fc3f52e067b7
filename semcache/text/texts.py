"""A text as the guards see it: normalised, its language guessed, its words apart; each once, whoever asks."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from functools import cached_property

from semcache.text.code_tokens import code_tokens, marked
from semcache.text.lexicon import CJK_NEGATIONS, PREAMBLE, joined, unaccented
from semcache.text.numbers import Figures, figures
from semcache.text.tables import meanings

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
_PROSE_ALONE = re.compile(
    r"""
    (?:
      [^\W_a-z]*+ [^\W_A-Z]*+             # a word, unless it is camelCase
      (?:
        (?<=[A-Za-z]) ' (?=[A-Za-z])      # an apostrophe within one
      | [.,;:!?]++ (?=\s|\Z)              # the end of a clause
      | \s++
      | \Z
      )
    )*+
    \Z
    """,
    re.VERBOSE,
)
"""It gives nothing back (`++`): what is no prose after all is left after one look at each letter."""
_SPACES = re.compile(r"[^\S\n]+")
_WITH = re.compile(r"\bw/o\b|\bw/(?=\s|$)\s?", re.IGNORECASE)
_SENTENCE_BEGINS = re.compile(
    r"""
    [.!?\n] (?: (?<=\n) | (?<= [^\W\d_]. | ["')\]]. ) ["')\]]* \s )    # "1. It" is a list, where "It" may be a film
    (?:
      (?: The | Th(?:is|at|ese|ose|ere|ey) | It | We | My | Your | Our | If | When | Because | Please | Thanks
        | What | Which | Where | Why | How ) (?:'[a-z]+)?
        (?= [ ] (?!(?:or|and)\b) [a-z] )          # "A or B" are names
    | (?: Is | Are | Was | Were | Do | Does | Did | Can | Could | Will | Would | Shall | Should | May | Might
        | Have | Has | Had | In | On | At | By | To | For | From | With | After | Before | As | And | So )
        (?= [ ] (?: I | you | we | they | he | she | it | the | an? | th(?:is|at|ese|ose|ere) | my | your | our
                  | his | her | their | its | any | some | all | each | every | someone | anyone )\b )
    )
    """,
    re.VERBOSE,
)
"""English sentences after the first one, and the words that they begin with. Only such words are listed as nobody and
nothing is called by there; "A", for one, is a vitamin, a chord and an answer."""
_SMALL_WORDS = {name: frozenset(map(unaccented, known)) for name, known in _FUNCTION_WORDS.items()}


def words_of(plain: str) -> tuple[str, ...]:
    """The words of a normalised text."""
    return tuple(_WORDS.findall(plain))


class Text:
    """One side of a comparison, read at once: each guard needs nearly all of it.

    Attributes:
        raw: the text as it came.
        plain_with_backticks: as `plain`; a backtick is none of the apostrophes, two of them before two apostrophes are
            quotation marks.
        plain: NFKC (full-width digits and letters become plain ones), one kind of apostrophe and minus; case kept.
        is_prose: nothing but words with the punctuation of prose behind them, as most prompts are: no code, nothing
            quoted, and no sign that means something.
        words: the words of `plain` in order: runs of letters and digits, with inner apostrophes; Han and kana singly.
        vocabulary: the words, folded.
        scripts: how many letters each script has (latin, han, kana, hangul and so on); 1 for a text in ASCII.
        script: the script that most letters are written in; empty for a text without letters.
        language_scores: how many different small words of each language stand in the text; empty for a text without
            Latin letters.
        language: en, de, es or fr by its small words; empty where there are none.
        small_words: the small words of its language, without accents.
        figures: dates, times, identifiers, quantities and numbers, and the text without them.
        request_words: the words behind what politeness begins with; verbs with their particle. A small word that begins
            a sentence has no capital: "The" isn't a name there, "US" is one.
        content_words: the same without figures and signs that negate.
    """

    def __init__(self, raw: str) -> None:
        self.raw = raw
        self.plain_with_backticks = _normalised(raw[:MAX_CHARS])
        self.plain = self.plain_with_backticks.replace("`", "'")
        self.is_prose = _PROSE_ALONE.match(self.plain_with_backticks) is not None
        self.words = words_of(self.plain)
        self.vocabulary = frozenset([word.casefold() for word in self.words])
        self.scripts = _scripts(self.plain)
        self.script = max(self.scripts, key=self.scripts.__getitem__, default="")
        self.language_scores = _language_scores(self.vocabulary)
        self.language = _language(self.language_scores)
        self.small_words = _SMALL_WORDS.get(self.language, frozenset())
        self.figures = _figures(self)
        prose = _uncapitalised(self.plain)
        begun = PREAMBLE.match(prose)
        request = prose[begun.end() :] if begun else prose
        self.request_words = joined(self.words if request == self.plain else words_of(request))
        rest = self.figures.rest
        self.content_words = (
            self.request_words
            if rest == self.plain and rest.isascii()
            else joined(words_of(CJK_NEGATIONS.sub(" ", PREAMBLE.sub("", _uncapitalised(rest)))))
        )

    @cached_property
    def code_tokens(self) -> tuple[str, ...]:
        """The code tokens, without backticks and white space, in order."""
        return () if self.is_prose else code_tokens(self.plain_with_backticks)

    @cached_property
    def marked_code(self) -> tuple[str, ...]:
        """What is marked as code, whole, in order."""
        return () if self.is_prose else marked(self.plain_with_backticks)

    @property
    def signs(self) -> str:
        """All signs that are no letters and no digits, but for prose's punctuation: "C++" isn't "C".

        They stand in order, with a blank where they follow one: "++i" isn't "i++".
        """
        if self.is_prose:
            return ""
        padded = f" {self.plain} "
        found = []
        for match in _SIGNS.finditer(padded):
            at = match.start()
            if not _is_prose(padded[at - 1], match.group(), padded[at + 1]):
                found.append(f" {match.group()}" if padded[at - 1].isspace() else match.group())
        return "".join(found)


def _uncapitalised(plain: str) -> str:
    """A text without the capitals of small words that begin its second and further sentences."""
    return plain if plain.isupper() else _SENTENCE_BEGINS.sub(lambda match: match[0].lower(), plain)


def _normalised(text: str) -> str:
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate(_MARKS)
    if "  " in text or "\t" in text:
        text = _SPACES.sub(" ", text)
    if "w/" in text:
        text = _WITH.sub(lambda match: "without" if len(match[0].strip()) > 2 else "with ", text)
    if "``" in text and "''" in text and "```" not in text:
        text = text.replace("``", '"').replace("''", '"')
    return text


def _figures(text: Text) -> Figures:
    found = figures(text.plain, text.language, text.vocabulary)
    rest = text.raw[MAX_CHARS:]
    if not rest:
        return found
    digest = hashlib.sha256(rest.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return replace(found, identifiers=(*found.identifiers, digest))


def _language_scores(vocabulary: AbstractSet[str]) -> Mapping[str, int]:
    if not any(word[0] < "\u0250" and word[0].isalpha() for word in vocabulary):
        return {}
    return {name: len(known & vocabulary) for name, known in _FUNCTION_WORDS.items()}


def _language(scores: Mapping[str, int]) -> str:
    """The one with the most small words, of several English or else the first."""
    most = max(scores.values(), default=0)
    if not most:
        return ""
    return "en" if scores["en"] == most else next(name for name, score in scores.items() if score == most)


def _scripts(plain: str) -> Mapping[str, int]:
    if plain.isascii():
        return {"latin": 1} if any(map(str.isalpha, plain)) else {}
    counts: dict[str, int] = {}
    for letter in plain:
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
