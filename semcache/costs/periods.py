"""Calendar days and months of a time zone, in wall-clock seconds: where one ends the next begins.

A day on which clocks are put forward or back has 23 or 25 hours, and its month an hour less or more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

PeriodKind = Literal["day", "month"]


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """A span [start_s, end_s) in wall-clock seconds; `name` is `2026-11` or `2026-11-24`."""

    start_s: float
    end_s: float
    name: str

    def __contains__(self, at_s: float) -> bool:
        return self.start_s <= at_s < self.end_s


class Calendar:
    """The days and months of one time zone."""

    def __init__(self, time_zone: str = "UTC") -> None:
        self.zone = ZoneInfo(time_zone)
        self._latest: dict[PeriodKind, Period] = {}

    def period(self, kind: PeriodKind, at_s: float) -> Period:
        """Return the period that a moment lies in."""
        latest = self._latest.get(kind)
        if latest is None or at_s not in latest:
            latest = self._latest[kind] = self._find(kind, at_s)
        return latest

    def _find(self, kind: PeriodKind, at_s: float) -> Period:
        day = datetime.fromtimestamp(at_s, tz=self.zone).date()
        return self.month(day.year, day.month) if kind == "month" else self.day(day)

    def day(self, day: date) -> Period:
        """Return the period of a day."""
        return Period(self._midnight_s(day), self._midnight_s(day + timedelta(days=1)), day.isoformat())

    def month(self, year: int, month: int) -> Period:
        """Return the period of a month, 1 to 12."""
        first = date(year, month, 1)
        following = date(year + month // 12, month % 12 + 1, 1)
        return Period(self._midnight_s(first), self._midnight_s(following), f"{year:04}-{month:02}")

    def days(self, first: date, last: date) -> Period:
        """Return the period of the days from `first` to `last`, both included."""
        name = first.isoformat() if first == last else f"{first} to {last}"
        return Period(self._midnight_s(first), self._midnight_s(last + timedelta(days=1)), name)

    def _midnight_s(self, day: date) -> float:
        return datetime(day.year, day.month, day.day, tzinfo=self.zone).timestamp()
