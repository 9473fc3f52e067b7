"""Find dates and times of day by value: "5. März" and "2024-03-05" as year, month and day; "3pm" as 15:00."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet

FIGURE = "\ue000"
"""The character that stands for a date, a time or another figure where a text is read without them."""
_MONTHS: dict[str, int] = {
    name: number
    for names in (
        "january february march april may june july august september october november december",
        "jan feb mar apr may jun jul aug sep oct nov dec",
        "januar februar märz april mai juni juli august september oktober november dezember",
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
        "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    )
    for number, name in enumerate(names.split(), start=1)
} | {"sept": 9}
_DAYS: dict[str, int] = {
    name: number
    for names in (
        "monday tuesday wednesday thursday friday saturday sunday",
        "mon tue wed thu fri sat sun",
        "montag dienstag mittwoch donnerstag freitag samstag sonntag",
        "lunes martes miércoles jueves viernes sábado domingo",
        "lundi mardi mercredi jeudi vendredi samedi dimanche",
        "月曜 火曜 水曜 木曜 金曜 土曜 日曜",
        "周一 周二 周三 周四 周五 周六 周日",
        "星期一 星期二 星期三 星期四 星期五 星期六 星期日",
        "월요일 화요일 수요일 목요일 금요일 토요일 일요일",
    )
    for number, name in enumerate(names.split(), start=1)
}
_RELATIVE: dict[str, str] = {
    "today": "0d",
    "tonight": "0d",
    "tomorrow": "1d",
    "tmrw": "1d",
    "yesterday": "-1d",
    "heute": "0d",
    "morgen": "1d",
    "gestern": "-1d",
    "hoy": "0d",
    "mañana": "1d",
    "ayer": "-1d",
    "aujourd'hui": "0d",
    "demain": "1d",
    "hier": "-1d",
    "今日": "0d",
    "明日": "1d",
    "昨日": "-1d",
    "今天": "0d",
    "明天": "1d",
    "昨天": "-1d",
    "오늘": "0d",
    "내일": "1d",
    "어제": "-1d",
}
# "may", "mar", "sat", "sun" and "mon" have other meanings: they count only beside a day's number or with a capital.
_M = "|".join(sorted(_MONTHS, key=len, reverse=True))
_FULL_MONTHS = "|".join(
    sorted((m for m in _MONTHS if len(m) > 4 or m in {"june", "july", "juni", "juli", "mayo"}), key=len, reverse=True)
)
_OWNER = r"(?:'s\b)?"
"""The ending of a possessive, taken together with the name before it."""
_YEAR = r"(?P<y>(?:19|20)\d\d)"
_DAY = r"(?P<d>[0-3]?\d)(?:st|nd|rd|th|er|\.)?"
_ISO = re.compile(rf"(?<![\d/.-]){_YEAR}[-/.](?P<m>[01]?\d)[-/.](?P<d>[0-3]?\d)(?![\d/-])")
_WIDE: Sequence[re.Pattern[str]] = [
    re.compile(pattern)
    for pattern in (
        rf"{_YEAR}\s*[年년]\s*(?P<m>[01]?\d)\s*[月월](?:\s*(?P<d>[0-3]?\d)\s*[日号일])?",
        r"(?<!\d)(?P<m>[01]?\d)\s*[月월]\s*(?P<d>[0-3]?\d)\s*[日号일]",
    )
]
_WITH_MONTH: Sequence[re.Pattern[str]] = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b(?P<name>{_M})\b\.?\s+{_DAY}(?:\s*,\s*|\s+(?:of\s+)?){_YEAR}\b",
        rf"(?<![\d.,]){_DAY}\s+(?:of\s+|de\s+)?(?P<name>{_M})\b\.?(?:\s*,\s*|\s+(?:de\s+)?){_YEAR}\b",
        rf"\b(?P<name>{_M})\b\.?\s+{_DAY}(?![\d:%])\b",
        rf"(?<![\d.,]){_DAY}\s+(?:of\s+|de\s+)?(?P<name>{_M})\b",
        rf"\b(?P<name>{_M})\b\.?,?\s+(?:of\s+|de\s+)?{_YEAR}\b",
    )
]
_SLASHED = re.compile(r"(?<![\d/.-])(?P<a>[0-3]?\d)([/.-])(?P<b>[0-3]?\d)\2(?P<y>(?:19|20)?\d\d)(?![\d/.-])")
_NAMED_MONTH = re.compile(rf"\b(?P<name>{_FULL_MONTHS})\b{_OWNER}", re.IGNORECASE)
_BARE_YEAR = re.compile(r"(?<![\d.,$€£#])(?:19|20)\d\d(?![\d%]|[.,]\d|\s*[$€£¥₹₩])(?:\s*[年년])?")
_LATIN_DAYS = "|".join(sorted((d for d in _DAYS if d[0].isascii() or d[0] in "ms"), key=len, reverse=True))
_OTHER_DAYS = "|".join(d for d in _DAYS if not d[0].isascii())
_SHORT_DAYS = frozenset({"mon", "tue", "wed", "thu", "fri", "sat", "sun"})
_WEEKDAY = re.compile(rf"\b(?P<latin>{_LATIN_DAYS})(?P<plural>s)?\b{_OWNER}|(?P<other>{_OTHER_DAYS})", re.IGNORECASE)
_TODAY = re.compile(
    "(?P<word>"
    + "|".join(
        rf"\b{re.escape(w)}\b" if w[0].isascii() else re.escape(w) for w in sorted(_RELATIVE, key=len, reverse=True)
    )
    + f"){_OWNER}",
    re.IGNORECASE,
)
_NEXT = re.compile(
    rf"\b(?P<which>next|last|this|previous|past|coming)\s+(?P<what>week|month|year|quarter|weekend)\b{_OWNER}",
    re.IGNORECASE,
)
_WHICH = {"next": "1", "coming": "1", "this": "0", "last": "-1", "previous": "-1", "past": "-1"}
_ANY_DIGIT = re.compile(r"\d")
_DIGITS_APART = re.compile(r"\d[-/.]\d")
_WIDE_LETTER = re.compile(r"[\u3040-\u9fff\uac00-\ud7a3]")
_CLOCK = re.compile(r"\d\s*(?:[:.h]\s?\d|[ap]\.?m|uhr|[시時点點])", re.IGNORECASE)
"""A text without any of these has no time of day in digits."""
_AFTERNOON = frozenset({"오후", "午後", "下午", "晚上"})
_HOURS = frozenset({"noon", "midday", "midnight"})
_PERIODS = frozenset({"week", "month", "year", "quarter", "weekend"})
_MONTH_WORDS = frozenset(_MONTHS)
_DAY_WORDS = frozenset(_DAYS) | {f"{day}s" for day in _DAYS}
_TODAY_WORDS = frozenset(_RELATIVE) | {"hui"}  # The last part of "aujourd'hui".
_NAMES = _MONTH_WORDS | _DAY_WORDS | _TODAY_WORDS | _PERIODS
DATE_WORDS = _NAMES | _HOURS
"""An ASCII text without digits has a date or a time only if one of these is among its `split_apostrophes` words."""
_NEXT_DAY = re.compile(rf"\b(?P<which>next|last|previous|past)\s+(?P<day>{_LATIN_DAYS})\b{_OWNER}", re.IGNORECASE)
_TIME = re.compile(
    r"(?<![\d:.])(?P<h>[012]?\d)(?:[:.h](?P<min>[0-5]\d))?\s*(?P<half>[ap]\.?m\.?)(?![a-z])"
    r"|(?<![\d:.])(?P<h24>[012]?\d):(?P<min24>[0-5]\d)(?::[0-5]\d)?(?![\d:])"
    r"|(?<![\d:.])(?P<hfr>[012]?\d)\s?h\s?(?P<minfr>[0-5]\d)(?!\w)"
    r"|(?<![\d:.])(?P<hde>[012]?\d)(?:[:.](?P<minde>[0-5]\d))?\s*Uhr(?:\s+(?P<minde2>[0-5]\d))?\b"
    r"|(?:(?P<part>오전|오후|午前|午後|上午|下午|早上|晚上)\s*)?(?<!\d)(?P<hcjk>[012]?\d)\s*[시時点點](?![간間])"
    r"(?:\s*(?P<mincjk>[0-5]?\d)\s*[분分])?"
    rf"|\b(?P<word>noon|midday|midnight)\b{_OWNER}",
    re.IGNORECASE,
)


def split_apostrophes(text: str, vocabulary: AbstractSet[str]) -> AbstractSet[str]:
    """Return the folded words of a text, and the parts that apostrophes join in them.

    "Monday's", "d'hier" and "march'24" hold names of dates.

    Args:
        text: the normalised text.
        vocabulary: its words, folded.
    """
    if "'" not in text:
        return vocabulary
    return frozenset(vocabulary).union(*[word.split("'") for word in vocabulary if "'" in word])


def find_dates(text: str, vocabulary: AbstractSet[str]) -> tuple[str, list[str]]:
    """Return the text with `FIGURE` and blanks in the place of its dates, and the dates.

    A date is written "y-m-d", with "*" for an unknown part, and "y-3|5" where the order of day and month is unknown.
    A weekday is written "day n", and a date that depends on today "from now …".

    Args:
        text: the normalised text.
        vocabulary: its words by `split_apostrophes`. A pattern is searched only where one of its words occurs, since a
            search costs more than a look at the words.
    """
    digits = _ANY_DIGIT.search(text) is not None
    # These scripts put no space between words, so a name may begin anywhere.
    wide = not text.isascii() and _WIDE_LETTER.search(text) is not None
    if not digits and not wide and vocabulary.isdisjoint(_NAMES):
        return text, []
    dates: list[str] = []

    def blank_if(read: Callable[[re.Match[str]], str]) -> Callable[[re.Match[str]], str]:
        """Return a replacement that blanks a match if `read` returns a date for it, and keeps it otherwise."""

        def replace(match: re.Match[str]) -> str:
            date = read(match)
            if not date:
                return match.group()
            dates.append(date)
            return FIGURE.rjust(len(match.group()))

        return replace

    if _DIGITS_APART.search(text):
        text = _SLASHED.sub(blank_if(_read_slashed), text)
        text = _ISO.sub(blank_if(_read_date), text)
    for names, pattern, read in (*(_IN_DIGITS if digits else ()), *_IN_WORDS):
        if wide or not vocabulary.isdisjoint(names):
            text = pattern.sub(blank_if(read), text)
    return text, dates


def find_years(text: str) -> tuple[str, list[str]]:
    """Return the text with `FIGURE` and blanks for numbers that look like a year, and these years as dates.

    To be called when quantities have been taken out: "2000 km" is no year.
    """
    years = [f"{year[:4]}-*-*" for year in _BARE_YEAR.findall(text)]
    return _BARE_YEAR.sub(FIGURE.rjust(4), text) if years else text, years


def _read_date(match: re.Match[str]) -> str:
    groups = match.groupdict()
    month = _MONTHS[groups["name"].casefold()] if groups.get("name") else int(groups["m"])
    day = groups.get("d")
    if not 1 <= month <= 12 or (day is not None and not 1 <= int(day) <= 31):
        return ""
    return f"{groups.get('y') or '*'}-{month}-{int(day) if day else '*'}"


def _read_slashed(match: re.Match[str]) -> str:
    a, b = int(match["a"]), int(match["b"])
    if not (1 <= a <= 31 and 1 <= b <= 31) or (a > 12 and b > 12):
        return ""
    year = match["y"] if len(match["y"]) == 4 else f"20{match['y']}"
    low, high = min(a, b), max(a, b)
    return f"{year}-{low}-{high}" if high > 12 or low == high else f"{year}-{a}|{b}"


def _read_weekday(match: re.Match[str]) -> str:
    name = (match["latin"] or match["other"]).casefold()
    # "sat" and "sun" are also other words, and "the Sun's rays" has no Sunday.
    begins = (match["latin"] or "")[:1].isupper() or match.string[: match.start()].casefold().endswith(" on ")
    other_meaning = name in _SHORT_DAYS and (not begins or match.group().casefold() == "sun's")
    return "" if other_meaning else f"day {_DAYS[name]}"


_Search = tuple[AbstractSet[str], re.Pattern[str], Callable[[re.Match[str]], str]]
"""Words of which the text must have one (ignored in scripts without spaces), the pattern, and how a match is read."""
_IN_DIGITS: Sequence[_Search] = [
    *((frozenset[str](), pattern, _read_date) for pattern in _WIDE),
    *((_MONTH_WORDS, pattern, _read_date) for pattern in _WITH_MONTH),
]
_IN_WORDS: Sequence[_Search] = [
    (_PERIODS, _NEXT, lambda m: f"from now {_WHICH[m['which'].casefold()]} {m['what'].casefold()}"),
    (_TODAY_WORDS, _TODAY, lambda m: f"from now {_RELATIVE[m['word'].casefold()]}"),
    (_DAY_WORDS, _NEXT_DAY, lambda m: f"day {_DAYS[m['day'].casefold()]} {_WHICH[m['which'].casefold()]}"),
    (_DAY_WORDS, _WEEKDAY, _read_weekday),
    (_MONTH_WORDS, _NAMED_MONTH, lambda m: f"*-{_MONTHS[m['name'].casefold()]}-*"),
]


def find_times(text: str, vocabulary: AbstractSet[str]) -> tuple[str, list[str]]:
    """Return the text with `FIGURE` and blanks for its times of day, and the times as minutes since midnight.

    Args:
        text: the normalised text.
        vocabulary: its words by `split_apostrophes`.
    """
    times: list[str] = []
    if vocabulary.isdisjoint(_HOURS) and not _CLOCK.search(text):
        return text, times

    def replace(match: re.Match[str]) -> str:
        minutes = _read_minutes(match)
        if minutes is None:
            return match.group()
        times.append(str(minutes))
        return FIGURE.rjust(len(match.group()))

    return _TIME.sub(replace, text), times


def _read_minutes(match: re.Match[str]) -> int | None:
    """Return the minutes since midnight, or None where the match is no time of day."""
    if match["word"]:
        return 0 if match["word"].casefold() == "midnight" else 720
    parts = match.groupdict(default="")
    hour = int(parts["h"] or parts["h24"] or parts["hfr"] or parts["hde"] or parts["hcjk"])
    minute = int(
        parts["min"] or parts["min24"] or parts["minfr"] or parts["minde"] or parts["minde2"] or parts["mincjk"] or 0
    )
    half = "p" if parts["half"][:1] in {"p", "P"} or parts["part"] in _AFTERNOON else "a"
    if parts["half"] or parts["part"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half == "p" else 0)
    return None if hour > 24 else hour % 24 * 60 + minute


def dates_agree(first: str, second: str) -> bool:
    """Return whether two dates may be the same day: no part that both give differs."""
    if first == second:
        return True
    if first.startswith(("day", "from")) or second.startswith(("day", "from")):
        return False
    if "|" in first and "|" in second:
        return (
            False  # Both put day and month in the same order, whichever it is, so different digits are different days.
        )
    return any(
        all(a == b or "*" in (a, b) for a, b in zip(parts, other_parts, strict=True))
        for parts in _interpretations(first)
        for other_parts in _interpretations(second)
    )


def _interpretations(date: str) -> list[list[str]]:
    """Return the year, month and day that a date may mean: two lists where their order is unknown."""
    year, _, rest = date.partition("-")
    if "|" in rest:
        a, b = rest.split("|")
        return [[year, a, b], [year, b, a]]
    return [[year, *rest.split("-")]]
