"""Read the tables of wordings, and write texts and patterns in one spelling, so that a table lists each wording once.

A line of a table is a language and a pattern in RE2's syntax, or `= name pattern`, which gives a pattern a name. In a
pattern:

- `{name}` stands for a named pattern of the same table;
- a blank stands for white space, ` ?` for white space that may be missing;
- `...` stands for any text within a sentence;
- `^` at the beginning stands for the beginning of a sentence, and `$` for the end of one;
- the ends of a pattern are ends of words, unless the language puts no space between words or is `any`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

import re2

from semcache.request.tables import lines

MEMORY_BYTES = 64 * 1024 * 1024
"""Limit of RE2's memory for a table. It takes what the texts need, mostly a few megabytes."""

_PIECE_CHARS = 4_096
"""Characters of a text that are normalised at a time."""

_EDGES: Mapping[str, str] = {
    **dict.fromkeys(("ja", "zh", "ko", "th"), ""),
    **dict.fromkeys(("ru", "uk", "el", "ar", "hi"), r"(?:^|[^\pL\pM\pN])"),
}
"""The edge of a word by language, where it isn't RE2's `\\b`, which knows only ASCII letters.

Some languages put no space between words, or attach particles to them.
"""
_APOSTROPHES = {ord(sign): "'" for sign in "\u2019\u02bc\u00b4\u2018"}
_NO_DECOMPOSITION = {
    "ł": "l",
    "Ł": "l",
    "ø": "o",
    "Ø": "o",
    "đ": "d",
    "Đ": "d",
    "ı": "i",
    "ß": "ss",
    "æ": "ae",
    "œ": "oe",
}


def _plain_letters() -> dict[int, str]:
    letters = {ord(letter): plain for letter, plain in _NO_DECOMPOSITION.items()}
    for code in (*range(0xC0, 0x250), *range(0x1E00, 0x1F00), *range(0x370, 0x400), ord("ё")):
        bases = [sign for sign in unicodedata.normalize("NFKD", chr(code)) if not unicodedata.combining(sign)]
        if code not in letters and len(bases) == 1 and bases[0] != chr(code):
            letters[code] = bases[0]
    return letters


_LETTERS = _plain_letters() | _APOSTROPHES
_NAMED = re.compile(r"\{([a-z_]\w*)\}")
_SENTENCE = "[^.?!\u3002\\n]*"
_GREETING = (
    "(?:hi|hey|hello|ok|okay|so|please|hallo|hola|bonjour|salut|ciao|ola|hoi|czesc|привет)(?:\\s+there)?[\\s,!]+"
)
_BEGIN = f"(?:^|[.?!:;\u3002\u00bf\u00a1\\n])[\\s\"'(*>-]*(?:{_GREETING})?"
_END = "\\s*(?:[.?!;\u3002\\n]|$)"


def fold(text: str) -> str:
    """Return a text in lower case, without accents of Latin and Greek letters, with one kind of apostrophe.

    Full-width letters and digits become plain ones. Many people leave accents out, so the wordings do too.
    """
    if text.isascii():
        return text.lower()
    # By pieces, so that the interpreter can do something else meanwhile.
    pieces = [text[start : start + _PIECE_CHARS] for start in range(0, len(text), _PIECE_CHARS)]
    return "".join([_plain(piece) for piece in pieces]).lower().translate(_LETTERS)


def _plain(piece: str) -> str:
    """Return a text in NFKC; a text of ligatures that would become several times as long comes back as it is."""
    plain = unicodedata.normalize("NFKC", piece)
    return plain if len(plain) <= 2 * len(piece) else piece


def load_patterns(*names: str) -> Sequence[str]:
    """Return the patterns of tables in RE2's syntax, to be searched in texts by `fold`.

    Raises:
        KeyError: a pattern uses a name that its table doesn't give.
    """
    return [pattern for name in names for pattern in _patterns(name)]


@cache
def load_table(name: str) -> re2._Regexp:
    """Return all patterns of a table as one, to be searched in texts by `fold`."""
    options = re2.Options()
    options.max_mem = MEMORY_BYTES
    return re2.compile("|".join(load_patterns(name)), options)


def load_phrases(name: str) -> frozenset[str]:
    """Return the phrases of a table by `fold`: a line is a language, then phrases that bars separate."""
    return frozenset(fold(phrase.strip()) for line in lines(name) for phrase in line.partition(" ")[2].split("|"))


def _patterns(name: str) -> Iterator[str]:
    named: dict[str, str] = {}
    for line in lines(name):
        language, _, pattern = line.partition(" ")
        pattern = _NAMED.sub(lambda match: named[match[1]], pattern.translate(_LETTERS))
        if language == "=":
            key, _, pattern = pattern.partition(" ")
            named[key] = f"(?:{pattern})"
        else:
            yield _written_out(language, pattern)


def _written_out(language: str, pattern: str) -> str:
    if language == "any":
        return pattern
    begins, pattern = pattern.startswith("^"), pattern.removeprefix("^")
    ends_open = pattern.endswith(("$", "$)", " ", " )", "]", r"\pL", r"\d", r"\d)"))
    pattern = re.sub(r" *\.\.\.", lambda _: _SENTENCE, pattern)
    pattern = pattern.replace(" ?", r"\s*").replace(" ", r"\s+").replace("$", _END)
    edge = _EDGES.get(language, r"\b")
    end = "" if ends_open else edge.replace("^|", "$|")
    return f"{_BEGIN if begins else edge}(?:{pattern}){end}"
