"""Read the numbers of a text: dates, times, identifiers, quantities with a unit, and bare numbers.

Each number counts once. Whatever one kind takes is replaced by blanks before the next kind is searched, so the 5 of
"5 March" is not a bare number too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from decimal import Decimal

from text_to_num import alpha2digit

from semcache.text.dates import DATE_WORDS, FIGURE, find_dates, find_times, find_years, split_apostrophes
from semcache.text.tables import meanings, words
from semcache.text.units import UNITS, Unit

MAYBE = "?"
"""The mark before a word that may be a number: it may match a number of the other text, and needs no match."""
MAX_NUMBERS = 256
"""Numbers kept of each kind, so that a comparison has a bound. No prompt of a person has more."""

_NUMBER_WORDS = {name: frozenset(listed) for name, listed in meanings("number_words").items()}
_SPACED_LANGUAGES = frozenset({"de", "es", "fr"})
_SPACED_THOUSANDS = re.compile(r"(?<=\b\d) (?=\d{3}\b)|(?<=\b\d\d) (?=\d{3}\b)|(?<=\d\d\d) (?=\d{3}\b)")
"""A blank between thousands, as these languages write it. Normalising turned a narrow space into a blank."""
_ENGLISH_NUMBERS = words("number_words_en")
_SPOKEN_FROM = 1.5
"""A single number word below this value is left as a word: "which one" holds no number."""
# Alone, these words are more often a pronoun, an article, a rank or a unit of time than a number.
_AMBIGUOUS = {"one": "1", "first": "1", "second": "2", "third": "3", "ein": "1", "eine": "1", "uno": "1", "una": "1"}
_ROMAN = {roman: value for roman, (value,) in meanings("roman_numbers").items()}
_AFTER_NAME = re.compile(rf"\b([A-Z][a-z]+) ({'|'.join(_ROMAN)})\b")
"""A Roman number after a name: "World War II"."""
_ROMAN_WORDS = frozenset(map(str.casefold, _ROMAN))
_TRIGGERS = DATE_WORDS | _ENGLISH_NUMBERS | _AMBIGUOUS.keys() | _ROMAN_WORDS
"""An English ASCII text without digits holds a number only if it has one of these words."""
_CJK_DIGITS = {
    "〇": 0,
    "零": 0,
    "一": 1,
    "二": 2,
    "三": 3,
    "四": 4,
    "五": 5,
    "六": 6,
    "七": 7,
    "八": 8,
    "九": 9,
    "两": 2,
}
_CJK_TENS = {"十": 10, "百": 100, "千": 1000}
_CJK_RUN = re.compile(r"[〇零一二三四五六七八九两十百千]+")
_MAX_DIGITS = 40
"""Characters of a number that is converted; a longer number is compared as written."""
_DOZEN = re.compile(r"\b(?:(\d{1,9})\s+|an?\s+|one\s+)?dozens?\b", re.IGNORECASE)
_SCALED = re.compile(
    r"(?<![\d.,])(\d+(?:[.,]\d+)*)\s*"
    r"(thousand|million|billion|tausend|millionen|million|milliarden|milliarde|mille|millions|milliards|mil|millones|"
    r"k(?=\b)|m(?=\b)|bn(?=\b)|万|億|亿|만|억)(?![a-z])",
    re.IGNORECASE,
)
_SCALES = {
    **dict.fromkeys(("thousand", "tausend", "mille", "mil", "k"), 1_000),
    **dict.fromkeys(("million", "millions", "millionen", "millones"), 1_000_000),
    **dict.fromkeys(("billion", "bn", "milliarde", "milliarden", "milliards"), 1_000_000_000),
    **dict.fromkeys(("万", "만"), 10_000),
    **dict.fromkeys(("億", "亿", "억"), 100_000_000),
}
_PERCENT_WORDS = re.compile(
    r"\b(?:per ?cent|prozent|pour ?cent|por ?ciento|percentage points?)\b|퍼센트|パーセント", re.IGNORECASE
)
_OF_PERCENT = frozenset({"percent", "cent", "prozent", "pourcent", "porciento", "ciento", "percentage"})
_NUMBER = r"\d{1,3}(?:[,'](?=\d{3}(?!\d))\d{3})+(?:\.\d+)?|\d+(?:[.,]\d+)*"
_CURRENCY_CODES = frozenset({"usd", "eur", "gbp", "jpy", "chf", "inr"})
_CURRENCY = re.compile(r"[$€£¥₹₩]")
_QUANTITY_BEFORE = re.compile(
    rf"({_CURRENCY.pattern}|\b(?:{'|'.join(sorted(_CURRENCY_CODES))})\b)\s*({_NUMBER})", re.IGNORECASE
)
_IDENTIFIER = re.compile(
    r"""
    (?<![\w.])
    (?:
      \d{1,3}(?:\.\d{1,3}){3}(?:/\d{1,2})?               # an IPv4 address or network
    | (?!\d{1,3}(?:\.\d{3})+(?![\d.]))v?\d+\.\d+\.\d+(?:[-+.][0-9a-z]+)*  # a version; 2.000.000 is a number
    | \#\s?\d+                                            # an issue, an order
    | (?=[\w-]{0,128}?\d)(?=[\w-]{0,128}?[a-z_])[a-z0-9]+(?:[-_][a-z0-9]+)*  # letters and digits: HH-55102, a1b2, B12
    | \d+(?:-\d+){2,}                                     # digits in groups: a phone, an account
    | (?!\d+000\b)\d{7,}                                        # a long number is a name
    )
    (?![\w])
    """,
    re.VERBOSE | re.IGNORECASE,
)
_DECADE = re.compile(r"(?:(?:1[5-9]|20)\d|[1-9])0s")
"""A decade: "the 1980s", "the 90s" are no seconds."""
_MEGA = re.compile(r"M[sgl]")
"""Units with the prefix mega that differ from a unit with the prefix milli in their case alone."""
_AGE = re.compile(r"(?<=\d)\s?(mos?|m|yo?|y)(?=\s?old\b)", re.IGNORECASE)
"""An age: "5m old" is no length."""
_POUNDS = frozenset({"pound", "pounds"})
_WEIGHT_WORDS = frozenset(
    [
        "weigh",
        "weighs",
        "weighed",
        "weight",
        "lose",
        "losing",
        "lost",
        "gain",
        "gained",
        "lighter",
        "heavier",
        "overweight",
        "lift",
        "lifting",
        "fat",
        "muscle",
        "kg",
    ]
)
"""With one of these words in a text, pounds are a weight; else they are money."""
_PENSION_PLANS = frozenset({"401k", "401K"})
"""A number with a letter that looks like thousands."""
_ANY_DIGIT = re.compile(r"\d")
_ORDINAL = re.compile(r"\b(\d+)(?:st|nd|rd|th|er|re|e|ère|º|ª)\b", re.IGNORECASE)
_DIGITS = re.compile(rf"(?<![\d.,])((?<![\w)\]{FIGURE}])[-+](?=\d))?({_NUMBER})")


@dataclass(frozen=True, slots=True)
class TextNumbers:
    """The numbers of a text, each kind in the order of the text.

    Attributes:
        dates: as `dates.find_dates` writes them.
        times: times of day, in minutes since midnight.
        identifiers: order numbers, versions, phone numbers and the like, folded, without separators.
        quantities: numbers with a unit, as "dimension value" in the dimension's base unit.
        bare: all other numbers by value. `MAYBE` stands before one that may be a word of another meaning.
        rest: the text with `FIGURE` and blanks in the place of each of them.
    """

    dates: tuple[str, ...]
    times: tuple[str, ...]
    identifiers: tuple[str, ...]
    quantities: tuple[str, ...]
    bare: tuple[str, ...]
    rest: str


def read_numbers(plain: str, language: str, vocabulary: AbstractSet[str]) -> TextNumbers:
    """Return the numbers of a normalised text.

    An English text without digits and without words that may be numbers isn't searched, since most texts are such.

    Args:
        plain: the text.
        language: en, de, es, fr, or empty when it is unknown.
        vocabulary: its words, folded.
    """
    language_of_numbers = language or _guess_language(vocabulary)
    parts = split_apostrophes(plain, vocabulary)
    if language_of_numbers == "en" and plain.isascii() and parts.isdisjoint(_TRIGGERS) and not _ANY_DIGIT.search(plain):
        return TextNumbers((), (), (), (), (), plain)
    return _search(plain, language, language_of_numbers, vocabulary, parts)


def search_numbers(plain: str, language: str, vocabulary: AbstractSet[str]) -> TextNumbers:
    """Search a normalised text for numbers in any case; the arguments are those of `read_numbers`."""
    parts = split_apostrophes(plain, vocabulary)
    return _search(plain, language, language or _guess_language(vocabulary), vocabulary, parts)


def _search(
    plain: str, language: str, language_of_numbers: str, vocabulary: AbstractSet[str], parts: AbstractSet[str]
) -> TextNumbers:
    rest = _SPACED_THOUSANDS.sub("", plain) if language in _SPACED_LANGUAGES else plain
    rest, dates = find_dates(rest, parts - {"hier"} if language == "de" else parts)
    rest, times = find_times(rest, parts)
    rest = _write_in_digits(rest, language_of_numbers, vocabulary)
    possible = [MAYBE + number for word, number in _AMBIGUOUS.items() if word in vocabulary]
    if not _ANY_DIGIT.search(rest):
        return TextNumbers(_bounded(dates), _bounded(times), (), (), tuple(possible), rest)
    identifiers: list[str] = []
    quantities: list[str] = []

    def take_quantity(match: re.Match[str], number: str, unit: Unit) -> str:
        quantities.append(f"{unit.dimension} {_in_base_unit(number, unit, language)}")
        return FIGURE.rjust(len(match.group()))

    if _CURRENCY.search(rest) or not vocabulary.isdisjoint(_CURRENCY_CODES):
        rest = _QUANTITY_BEFORE.sub(lambda m: take_quantity(m, m[2], UNITS[m[1].casefold()]), rest)

    def take_if_unit(match: re.Match[str]) -> str:
        if _DECADE.fullmatch(match[0]) and (len(match[0]) > 3 or match.string[: match.start()].endswith("the ")):
            return match[0]
        unit = UNITS.get(match[3]) or (None if _MEGA.fullmatch(match[3]) else UNITS.get(match[3].casefold()))
        if match[3].casefold() in _POUNDS and (
            match.string.startswith(" of ", match.end()) or vocabulary & _WEIGHT_WORDS
        ):
            unit = UNITS["lb"]
        sign = "-" if match[1] == "-" else ""
        return match.group() if unit is None else take_quantity(match, sign + match[2], unit)

    rest = _AGE.sub(lambda m: " months" if m[1][0] in "mM" else " years", rest) if "old" in vocabulary else rest
    rest = _QUANTITY_AFTER.sub(take_if_unit, rest)
    rest, years = find_years(rest)
    dates += years
    rest = _ORDINAL.sub(r"\1", rest)

    def take_identifier(match: re.Match[str]) -> str:
        identifiers.append(re.sub(r"[\s_-]", "", match.group().casefold()).lstrip("#"))
        return FIGURE.rjust(len(match.group()))

    rest = _IDENTIFIER.sub(take_identifier, rest)
    certain: list[str] = []

    def take_number(match: re.Match[str]) -> str:
        certain.append(_signed(match, rest, language))
        return " " + FIGURE

    without_numbers = _DIGITS.sub(take_number, rest)
    return TextNumbers(
        _bounded(dates),
        _bounded(times),
        _bounded(identifiers),
        _bounded(quantities),
        _bounded(certain + possible),
        without_numbers,
    )


def _bounded(numbers: list[str]) -> tuple[str, ...]:
    return tuple(numbers)[:MAX_NUMBERS]


def unmatched(numbers: tuple[str, ...], others: tuple[str, ...]) -> list[str]:
    """Return the certain numbers of one text that the other text lacks.

    Each number of the other text matches one number, whether it is certain or marked with `MAYBE`.
    """
    free = Counter(others)
    missing: list[str] = []
    for number in numbers:
        if free[number]:
            free[number] -= 1
        elif number[0] != MAYBE:
            missing.append(number)
    return [number for number in missing if not _take(free, MAYBE + number)]


def _take(free: Counter[str], number: str) -> bool:
    """Take a number out of the free ones; return whether there was one."""
    if not free[number]:
        return False
    free[number] -= 1
    return True


def _guess_language(vocabulary: AbstractSet[str]) -> str:
    """Return the language of a text whose number words are the only sign of it; "en" where there is no sign."""
    compounds = any(word.endswith(("undzwanzig", "zehn", "zig", "hundert", "tausend")) for word in vocabulary)
    if compounds or any(word.startswith("veinti") for word in vocabulary):
        return "de" if compounds else "es"
    return next((name for name, listed in _NUMBER_WORDS.items() if not listed.isdisjoint(vocabulary)), "en")


def _write_in_digits(text: str, language: str, vocabulary: AbstractSet[str]) -> str:
    """Return the text with its spelled numbers, and the Roman ones after a name, written in digits."""
    if not vocabulary.isdisjoint(_ROMAN_WORDS):
        text = _AFTER_NAME.sub(lambda match: f"{match[1]} {_ROMAN[match[2]]}", text)
    if language == "en" and text.isascii() and vocabulary.isdisjoint(_ENGLISH_NUMBERS) and not _ANY_DIGIT.search(text):
        return text
    if _ANY_DIGIT.search(text):
        text = _SCALED.sub(
            lambda m: _scaled(m, language), text
        )  # First, so that "million" isn't read as a number by itself.
    if not text.isascii() or not vocabulary.isdisjoint(_OF_PERCENT):
        text = _PERCENT_WORDS.sub("%", text)  # First, so that "cent" isn't read as the French hundred.
    text = alpha2digit(text, language, threshold=_SPOKEN_FROM)
    if "dozen" in text:
        text = _DOZEN.sub(lambda match: str(12 * int(match[1] or 1)), text)
    if not text.isascii():
        text = _CJK_RUN.sub(_cjk_value, text)
    # A second time for numbers that are in digits only now: 二十万.
    return _SCALED.sub(lambda m: _scaled(m, language), text) if _ANY_DIGIT.search(text) else text


def _scaled(match: re.Match[str], language: str) -> str:
    scale = _SCALES.get(match[2].casefold())
    value = _value(match[1], language)
    if (
        match.group() in _PENSION_PLANS
        or scale is None
        or len(value) > _MAX_DIGITS
        or value.count(".") + value.count(",") > 1
    ):
        return match.group()
    return f"{_plain(Decimal(value) * scale)} "


def _cjk_value(match: re.Match[str]) -> str:
    """Return a Chinese number in digits: 25 for 二十五. A single character is kept: 一 is part of many words."""
    run = match.group()
    if len(run) < 2:
        return run
    if not any(sign in _CJK_TENS for sign in run):
        return "".join(str(_CJK_DIGITS[sign]) for sign in run)
    total, current = 0, 0
    for sign in run:
        if sign in _CJK_TENS:
            total += max(current, 1) * _CJK_TENS[sign]
            current = 0
        else:
            current = _CJK_DIGITS[sign]
    return str(total + current)


def _signed(match: re.Match[str], text: str, language: str) -> str:
    # "1903 -1967" is a range, not a negative year.
    negative = match[1] == "-" and not text[: match.start()].rstrip()[-1:].isdigit()
    return ("-" if negative else "") + _value(match[2], language)


def _value(number: str, language: str) -> str:
    """Return a number in plain digits, without thousands separators and trailing zeros of a fraction."""
    separator = r"[,'](?=\d{3}(?!\d))"
    if language in {"de", "es"}:
        number = re.sub(r"\.(?=\d{3}(?!\d))", "", number)
    plain = re.sub(separator, "", number)
    if plain.count(".") + plain.count(",") > 1:
        return plain
    whole, _, fraction = plain.replace(",", ".").partition(".")
    fraction = fraction.rstrip("0")
    return (whole.lstrip("0") or "0") + (f".{fraction}" if fraction else "")


def _in_base_unit(number: str, unit: Unit, language: str) -> str:
    sign, digits = ("-", number[1:]) if number[0] == "-" else ("", number)
    value = sign + _value(digits, language)
    if value.count(".") > 1 or "," in value or len(value) > _MAX_DIGITS:
        return f"{value} {unit.name}"
    return _plain(Decimal(value) * unit.factor + unit.offset)


def _plain(value: Decimal) -> str:
    """Return a value in plain digits: a whole number in full, a fraction with six significant digits."""
    rounded = value.normalize() if value == value.to_integral() else Decimal(f"{value:.6g}").normalize()
    return f"{rounded:f}"


_UNIT_NAMES = "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True))
_QUANTITY_AFTER = re.compile(
    rf"(?<![\w.,])((?<![\w)\]])[-+](?=\d))?({_NUMBER})\s*-?({_UNIT_NAMES})(?![A-Za-z\u00c0-\u024f])", re.IGNORECASE
)
