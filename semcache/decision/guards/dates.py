"""Compare dates and times: "March 5" is "5 March" and isn't "6 March"; "3pm" is "15:00"; Monday isn't Tuesday.

Evidence: beside a changed number, a changed date is the trap that a cosine shows least (median .964). Two dates agree
when no part that both give differs: "5 March" agrees with "5 March 2024". A date in one text only vetoes where all else
is equal, and lowers the score where little else differs.
"""

from __future__ import annotations

import operator

from semcache.decision.guards.guard import judge_difference
from semcache.decision.pair import Pair
from semcache.model import GuardVerdict
from semcache.text.dates import dates_agree
from semcache.text.numbers import unmatched
from semcache.text.texts import Text

_TIME = "at "
_DIGIT_OR_ANY = frozenset("0123456789*")
"""How a date with a year, a month and a day begins, unlike a weekday, a time or a day from now."""

_MAX_PAIRED = 32
"""Dates of a text up to which each is held against each of the other text. More must be written in the same way."""


class DatesGuard:
    """Vetoes another date or time of day."""

    name = "dates"
    feature = "dates/2"
    max_lift = 0.0
    passes_equal = True

    def read(self, text: Text) -> tuple[str, ...]:
        """Return the dates as `text.dates.find_dates` writes them, then times as "at " and minutes since midnight."""
        return (*text.numbers.dates, *(_TIME + minutes for minutes in text.numbers.times))

    def compare(self, pair: Pair) -> GuardVerdict:
        """Judge the dates and times that agree with none of the other text, by `judge_difference`."""
        asked, stored = pair.features(self.feature)
        return judge_difference(self.name, _without_match(asked, stored), _without_match(stored, asked), pair)


def _without_match(dates: tuple[str, ...], others: tuple[str, ...]) -> list[str]:
    """Return the dates that no date of the other text matches; each of its dates matches one.

    A date whose parts another date of that text gives too is no difference: "in March 2024" against "March 5, in 2024".
    """
    if max(len(dates), len(others)) > _MAX_PAIRED:
        return unmatched(dates, others)
    free = list(others)
    missing = list(dates)
    for agree in (operator.eq, _agree):  # Equal dates first, so that "March" doesn't take the partner of "March 5".
        for date in tuple(missing):
            partner = next((other for other in free if agree(date, other)), None)
            if partner is not None:
                missing.remove(date)
                free.remove(partner)
    return [date for date in missing if not any(_says(other, date) for other in others)]


def _says(date: str, part: str) -> bool:
    """Return whether a date gives all that another one gives."""
    if not (date[:1] in _DIGIT_OR_ANY and part[:1] in _DIGIT_OR_ANY):
        return False
    return all(theirs in (ours, "*") for ours, theirs in zip(date.split("-"), part.split("-"), strict=False))


def _agree(first: str, second: str) -> bool:
    if first.startswith(_TIME) or second.startswith(_TIME):
        return first == second
    return dates_agree(first, second)
