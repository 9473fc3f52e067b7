"""Opens the ledger for all cost commands, and defines their options for ledger, tenants and window."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from semcache.costs.periods import Calendar, Period
from semcache.errors import InvalidRequestError
from semcache.model import LedgerHour, LedgerRecord
from semcache.settings import AuthSettings, ServerSettings, Settings, UpstreamSettings, load_settings
from semcache.store import LedgerExtent, LedgerReader
from semcache.store.rollup import SECONDS_PER_HOUR

_FIRST_YEAR, _LAST_YEAR = 1970, 9998
_SERVERS_OWN = {"server": ServerSettings(), "auth": AuthSettings(), "upstream": UpstreamSettings()}
"""Sections that are not read from the settings: readers of the ledger needn't have access to keys and certificates."""


def wall_s() -> float:
    """Return the wall-clock time in seconds."""
    return time.time()


def _date(text: str) -> dt.date:
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no date; write it as 2026-11-24.") from None
    return _in_range(day, text)


def _month(text: str) -> dt.date:
    try:
        day = dt.datetime.strptime(text, "%Y-%m").replace(tzinfo=dt.UTC).date()
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no month; write it as 2026-11.") from None
    return _in_range(day, text)


def _in_range(day: dt.date, text: str) -> dt.date:
    if not _FIRST_YEAR <= day.year <= _LAST_YEAR:
        raise typer.BadParameter(f"{text!r} is before {_FIRST_YEAR} or after {_LAST_YEAR}.")
    return day


Store = Annotated[Path | None, typer.Option("--store", help="The store's folder, instead of that in the settings.")]
Tenants = Annotated[list[str] | None, typer.Option("--tenant", help="Only this tenant; may be repeated.")]
From = Annotated[
    dt.date | None, typer.Option("--from", parser=_date, metavar="DATE", help="The first day, in costs.time_zone.")
]
To = Annotated[
    dt.date | None, typer.Option("--to", parser=_date, metavar="DATE", help="The last day, which is included.")
]
Month = Annotated[
    dt.date | None, typer.Option("--month", parser=_month, metavar="YYYY-MM", help="A month, such as 2026-11.")
]


@dataclass(frozen=True, slots=True)
class OpenLedger:
    """A ledger that is open for reading, and the calendar of its days and months.

    Attributes:
        settings: the settings, without the sections of the server.
        reader: reads the ledger.
        calendar: says where days and months begin.
        extent: the first and the last hour and line.
        now_s: the wall-clock time at which the ledger was opened, in seconds.
    """

    settings: Settings
    reader: LedgerReader
    calendar: Calendar
    extent: LedgerExtent
    now_s: float

    def whole(self) -> Period:
        """Return the window from the first hour to the end of the last; it is empty if the ledger is empty."""
        first_s, last_s = self.extent.first_hour_s, self.extent.last_hour_s
        if first_s is None or last_s is None:
            return Period(self.now_s, self.now_s, "the whole ledger")
        first, last = self._date(first_s), self._date(last_s)
        days = str(first) if first == last else f"{first} to {last}"
        return Period(first_s, last_s + SECONDS_PER_HOUR, f"{days}, the whole ledger")

    def window(self, first: dt.date | None, last: dt.date | None, month: dt.date | None) -> Period:
        """Return the window that the options name; without options, the whole ledger.

        Args:
            first: the first day.
            last: the last day, which is included.
            month: a day of the month.

        Raises:
            InvalidRequestError: the options contradict each other.
        """
        if month is not None:
            if first is not None or last is not None:
                raise InvalidRequestError(
                    "Both --month and --from or --to are there.", hint="A month has its own first and last day."
                )
            return self.month(month)
        if first is None:
            if last is None:
                return self.whole()
            # A last day before the ledger begins makes a window of that day, which is empty.
            first = min(self._date(self.whole().start_s), last)
        elif last is None:
            last = max(first, self._date(self.now_s))
        elif last < first:
            raise InvalidRequestError(f"--to {last} is before --from {first}.", hint="Exchange them.")
        return self.calendar.days(first, last)

    def month(self, day: dt.date) -> Period:
        """Return the month that contains a date."""
        return self.calendar.month(day.year, day.month)

    def begun(self, month: Period) -> Period:
        """Return the month if it has begun.

        Raises:
            InvalidRequestError: it hasn't begun.
        """
        if month.start_s > self.now_s:
            raise InvalidRequestError(f"{month.name} hasn't begun.", hint="Name a month that has begun.")
        return month

    def hours(self, window: Period, tenants: Sequence[str] | None) -> tuple[LedgerHour, ...]:
        """Return the ledger hours of a window; None or no tenants stands for all."""
        return self.reader.hours(window.start_s, window.end_s, tenants or ())

    def lines(self, window: Period, tenants: Sequence[str] | None) -> Iterator[LedgerRecord]:
        """Yield the ledger lines of a window, oldest first, while they are read."""
        return self.reader.records(window.start_s, window.end_s, tenants or ())

    def time(self, at_s: float) -> str:
        """Return a moment as text for people, in the time zone of the costs."""
        return f"{dt.datetime.fromtimestamp(at_s, tz=self.calendar.zone):%Y-%m-%d %H:%M:%S %Z}"

    def provenance(self) -> str:
        """Return a sentence that says which ledger was read, when, and where it ends."""
        last_s = self.extent.last_line_s
        through = "it has no requests" if last_s is None else f"its last request is of {self.time(last_s)}"
        damaged = f"; {self.reader.damaged:,} damaged rows are left out, `semcache check` names them"
        return (
            f"Ledger at {self.reader.path}, read {self.time(self.now_s)}; {through}"
            f"{damaged if self.reader.damaged else ''}."
        )

    def as_json(self, window: Period) -> dict[str, object]:
        """Return the ledger's path, its window as [start, end), and when it was read, for `json.dumps`."""
        last_s = self.extent.last_line_s
        return {
            "store": str(self.reader.path),
            "window": {
                "name": window.name,
                "start_time": self.iso(window.start_s),
                "end_time": self.iso(window.end_s),
                "time_zone": self.settings.costs.time_zone,
            },
            "read_time": self.iso(self.now_s),
            "last_request_time": None if last_s is None else self.iso(last_s),
            "damaged_rows": self.reader.damaged,
        }

    def _date(self, at_s: float) -> dt.date:
        return dt.datetime.fromtimestamp(at_s, tz=self.calendar.zone).date()

    def iso(self, at_s: float) -> str:
        """Return a moment in ISO 8601, in the time zone of the costs."""
        return dt.datetime.fromtimestamp(at_s, tz=self.calendar.zone).isoformat(timespec="seconds")


@contextmanager
def open_ledger(config: Path | None, store: Path | None) -> Iterator[OpenLedger]:
    """Open the ledger of `store`, or of the store in the settings, for reading; a server may be running.

    Raises:
        SettingsError: the settings have problems; all are listed.
        StoreUnusableError: there is no store, a newer semcache wrote it, or it can't be read.
    """
    settings = load_settings(config, _SERVERS_OWN)
    location = settings.store if store is None else settings.store.model_copy(update={"path": store})
    with LedgerReader(location) as reader:
        yield OpenLedger(settings, reader, Calendar(settings.costs.time_zone), reader.extent(), wall_s())
