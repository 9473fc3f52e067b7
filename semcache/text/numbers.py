"""The figures of a text, each taken once: dates, times, identifiers, quantities with a unit, and the numbers left over.

What is found is blanked out before the next kind is looked for, so that the 5 of "5 March" is no number as well.
"""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from decimal import Decimal

from text_to_num import alpha2digit

from semcache.text.dates import TELLING, find_dates, find_times, find_years, parts_of
from semcache.text.tables import meanings, words
from semcache.text.units import UNITS, Unit

MAYBE = "?"
"""Before what may be a figure: it matches one on the other side and is never missed there."""
MAX_FIGURES = 256
"""Of each kind; more says nothing more, and comparing stays bounded."""

_NUMBER_WORDS = {name: frozenset(known) for name, known in meanings("number_words").items()}
_SPACED = frozenset({"de", "es", "fr"})
_SPACED_THOUSANDS = re.compile(r"(?<=\b\d) (?=\d{3}\b)|(?<=\b\d\d) (?=\d{3}\b)|(?<=\d\d\d) (?=\d{3}\b)")
"""Normalised, a narrow space between thousands is a plain one."""
_ENGLISH_NUMBERS = words("number_words_en")
_ONE = 1.5
"""Below it a number word alone is left to stand: "which one"."""
# Alone they are more often a pronoun, an article, an order or a unit of time than a number.
_AMBIGUOUS = {"one": "1", "first": "1", "second": "2", "third": "3", "ein": "1", "eine": "1", "uno": "1", "una": "1"}
_TELLING = TELLING | _ENGLISH_NUMBERS | _AMBIGUOUS.keys()
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
_LONGEST = 40
"""Digits of a number that is reckoned with; a longer one is compared as it is written."""
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
_ANY_DIGIT = re.compile(r"\d")
_ORDINAL = re.compile(r"\b(\d+)(?:st|nd|rd|th|er|re|e|ère|º|ª)\b", re.IGNORECASE)
_DIGITS = re.compile(rf"(?<![\d.,])((?<![\w)\]])[-+](?=\d))?({_NUMBER})")


@dataclass(frozen=True, slots=True)
class Figures:
    """What was found, each kind in order; a quantity is "dimension value". `rest` is the text without all of it."""

    dates: tuple[str, ...]
    times: tuple[str, ...]
    identifiers: tuple[str, ...]
    quantities: tuple[str, ...]
    numbers: tuple[str, ...]
    rest: str


def figures(plain: str, language: str, vocabulary: AbstractSet[str]) -> Figures:
    """The figures of a normalised text.

    Args:
        plain: the text.
        language: en, de, es, fr, or empty for one that isn't known.
        vocabulary: its words, folded. Most texts have few figures or none: what can't be there isn't looked for.
    """
    language_of_numbers = language or _language_of_numbers(vocabulary)
    parts = parts_of(plain, vocabulary)
    if language_of_numbers == "en" and plain.isascii() and parts.isdisjoint(_TELLING) and not _ANY_DIGIT.search(plain):
        return Figures((), (), (), (), (), plain)
    rest = _SPACED_THOUSANDS.sub("", plain) if language in _SPACED else plain
    rest, dates = find_dates(rest, parts)
    rest, times = find_times(rest, parts)
    rest = _spoken(rest, language_of_numbers, vocabulary)
    numbers = [MAYBE + number for word, number in _AMBIGUOUS.items() if word in vocabulary]
    if not _ANY_DIGIT.search(rest):
        return Figures(_bounded(dates), _bounded(times), (), (), tuple(numbers), rest)
    identifiers: list[str] = []
    quantities: list[str] = []

    def take_quantity(match: re.Match[str], number: str, unit: Unit) -> str:
        quantities.append(f"{unit.dimension} {_measured(number, unit, language)}")
        return " " * len(match.group())

    if _CURRENCY.search(rest) or not vocabulary.isdisjoint(_CURRENCY_CODES):
        rest = _QUANTITY_BEFORE.sub(lambda m: take_quantity(m, m[2], UNITS[m[1].casefold()]), rest)

    def maybe_quantity(match: re.Match[str]) -> str:
        unit = UNITS.get(match[3]) or UNITS.get(match[3].casefold())
        sign = "-" if match[1] == "-" else ""
        return match.group() if unit is None else take_quantity(match, sign + match[2], unit)

    rest = _QUANTITY_AFTER.sub(maybe_quantity, rest)
    rest, years = find_years(rest)
    dates += years
    rest = _ORDINAL.sub(r"\1", rest)

    def take_identifier(match: re.Match[str]) -> str:
        identifiers.append(re.sub(r"[\s_-]", "", match.group().casefold()).lstrip("#"))
        return " " * len(match.group())

    rest = _IDENTIFIER.sub(take_identifier, rest)
    certain: list[str] = []

    def take_number(match: re.Match[str]) -> str:
        certain.append(_signed(match, rest, language))
        return " "

    left = _DIGITS.sub(take_number, rest)
    return Figures(
        _bounded(dates),
        _bounded(times),
        _bounded(identifiers),
        _bounded(quantities),
        _bounded(certain + numbers),
        left,
    )


def _bounded(found: list[str]) -> tuple[str, ...]:
    return tuple(found)[:MAX_FIGURES]


def unmatched(ours: tuple[str, ...], others: tuple[str, ...]) -> list[str]:
    """Our certain figures that the other side holds neither for certain nor maybe, as often."""
    left = list(others)
    missing: list[str] = []
    for figure in ours:
        if figure in left:
            left.remove(figure)
        elif figure[0] != MAYBE:
            missing.append(figure)
    return [figure for figure in missing if not _took(left, MAYBE + figure)]


def _took(left: list[str], figure: str) -> bool:
    if figure not in left:
        return False
    left.remove(figure)
    return True


def _language_of_numbers(vocabulary: AbstractSet[str]) -> str:
    """The language of a text that nothing but its number words tells."""
    compounds = any(word.endswith(("undzwanzig", "zehn", "zig", "hundert", "tausend")) for word in vocabulary)
    if compounds or any(word.startswith("veinti") for word in vocabulary):
        return "de" if compounds else "es"
    return next((name for name, known in _NUMBER_WORDS.items() if not known.isdisjoint(vocabulary)), "en")


def _spoken(text: str, language: str, vocabulary: AbstractSet[str]) -> str:
    """The text with its spelled numbers in digits."""
    if language == "en" and text.isascii() and vocabulary.isdisjoint(_ENGLISH_NUMBERS) and not _ANY_DIGIT.search(text):
        return text
    if _ANY_DIGIT.search(text):
        text = _SCALED.sub(lambda m: _scaled(m, language), text)  # Before "million" is read as a number of its own.
    if not text.isascii() or not vocabulary.isdisjoint(_OF_PERCENT):
        text = _PERCENT_WORDS.sub("%", text)  # Before "cent" is read as a hundred.
    text = alpha2digit(text, language, threshold=_ONE)
    if "dozen" in text:
        text = _DOZEN.sub(lambda match: str(12 * int(match[1] or 1)), text)
    if not text.isascii():
        text = _CJK_RUN.sub(_cjk_value, text)
    # Again for what has become digits meanwhile: 二十万.
    return _SCALED.sub(lambda m: _scaled(m, language), text) if _ANY_DIGIT.search(text) else text


def _scaled(match: re.Match[str], language: str) -> str:
    scale = _SCALES.get(match[2].casefold())
    value = _value(match[1], language)
    if scale is None or len(value) > _LONGEST or value.count(".") + value.count(",") > 1:
        return match.group()
    return f"{_plain(Decimal(value) * scale)} "


def _cjk_value(match: re.Match[str]) -> str:
    """二十五 is 25; a single character is left to stand: 一 is a part of many words."""
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
    """A number's value in plain digits: thousands marks gone, trailing zeros of a fraction gone."""
    point = r"[,'](?=\d{3}(?!\d))"
    if language in {"de", "es"}:
        number = re.sub(r"\.(?=\d{3}(?!\d))", "", number)
    plain = re.sub(point, "", number)
    if plain.count(".") + plain.count(",") > 1:
        return plain
    whole, _, fraction = plain.replace(",", ".").partition(".")
    fraction = fraction.rstrip("0")
    return (whole.lstrip("0") or "0") + (f".{fraction}" if fraction else "")


def _measured(number: str, unit: Unit, language: str) -> str:
    sign, digits = ("-", number[1:]) if number[0] == "-" else ("", number)
    value = sign + _value(digits, language)
    if value.count(".") > 1 or "," in value or len(value) > _LONGEST:
        return f"{value} {unit.name}"
    return _plain(Decimal(value) * unit.factor + unit.offset)


def _plain(value: Decimal) -> str:
    """Six significant digits: a mile is 1609.344 m, and 5 km are 5000 m."""
    rounded = value.normalize() if value == value.to_integral() else Decimal(f"{value:.6g}").normalize()
    return f"{rounded:f}"


_UNIT_NAMES = "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True))
_QUANTITY_AFTER = re.compile(
    rf"(?<![\w.,])((?<![\w)\]])[-+](?=\d))?({_NUMBER})\s*-?({_UNIT_NAMES})(?![A-Za-z\u00c0-\u024f])", re.IGNORECASE
)
