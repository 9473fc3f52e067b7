"""Dates and times of day, by date: "March 5" is "5 March" and isn't "6 March"; "3pm" is "15:00"; Monday isn't Tuesday.

Evidence: with numbers, a changed date is the trap that a cosine sees least (median .964). Two dates agree when nothing
that both say differs ("5 March" agrees with "5 March 2024"). A date on one side only
vetoes where all else is the same, and lowers the score where little else differs.
"""

from __future__ import annotations

from semcache.decision.guards.guard import differing
from semcache.decision.pair import Pair
from semcache.model import GuardVerdict
from semcache.text.dates import dates_agree
from semcache.text.texts import Text

_TIME = "at "


class DatesGuard:
    """See the module."""

    name = "dates"
    version = 2
    most = 0.0
    passes_equal = True

    def parse(self, text: Text) -> tuple[str, ...]:
        """Dates as `calendar.find_dates` writes them, and times of day as "at " and minutes since midnight."""
        return (*text.figures.dates, *(_TIME + minutes for minutes in text.figures.times))

    def compare(self, pair: Pair) -> GuardVerdict:
        """Veto when each side has a date or time that agrees with none on the other."""
        asked, stored = pair.parses(self)
        return differing(self.name, _without_match(asked, stored), _without_match(stored, asked), pair)


def _without_match(ours: tuple[str, ...], others: tuple[str, ...]) -> list[str]:
    return [one for one in ours if not any(_agree(one, other) for other in others)]


def _agree(one: str, other: str) -> bool:
    if one.startswith(_TIME) or other.startswith(_TIME):
        return one == other
    return dates_agree(one, other)
