"""What the cost commands have in common: which ledger, which tenants, which window, and when it was read."""

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
"""A ledger is read without the server's keys and certificates: who counts the money needn't be able to read them."""


def wall_s() -> float:
    """Now, in wall-clock seconds."""
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


Store = Annotated[Path | None, typer.Option("--store", help="The store's folder, instead of the configuration's.")]
Tenants = Annotated[list[str] | None, typer.Option("--tenant", help="Only this tenant; may be repeated.")]
From = Annotated[
    dt.date | None, typer.Option("--from", parser=_date, metavar="DATE", help="The first day, in costs.time_zone.")
]
To = Annotated[dt.date | None, typer.Option("--to", parser=_date, metavar="DATE", help="The last day, included.")]
Month = Annotated[
    dt.date | None, typer.Option("--month", parser=_month, metavar="YYYY-MM", help="A month, as in 2026-11.")
]


@dataclass(frozen=True, slots=True)
class OpenLedger:
    """A ledger that is open for reading, and the calendar that its days and months follow."""

    settings: Settings
    reader: LedgerReader
    calendar: Calendar
    extent: LedgerExtent
    now_s: float

    def whole(self) -> Period:
        """From the first hour to the end of the last one; empty where there is nothing."""
        first_s, last_s = self.extent.first_hour_s, self.extent.last_hour_s
        if first_s is None or last_s is None:
            return Period(self.now_s, self.now_s, "the whole ledger")
        first, last = self._date(first_s), self._date(last_s)
        days = str(first) if first == last else f"{first} to {last}"
        return Period(first_s, last_s + SECONDS_PER_HOUR, f"{days}, the whole ledger")

    def window(self, first: dt.date | None, last: dt.date | None, month: dt.date | None) -> Period:
        """The window that the options name; without any, all there is.

        Raises:
            InvalidRequestError: they contradict each other.
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
            # Before the ledger's first day there is nothing, and nothing is what is told of it.
            first = min(self._date(self.whole().start_s), last)
        elif last is None:
            last = max(first, self._date(self.now_s))
        elif last < first:
            raise InvalidRequestError(f"--to {last} is before --from {first}.", hint="Exchange them.")
        return self.calendar.days(first, last)

    def month(self, day: dt.date) -> Period:
        """The month that a date lies in."""
        return self.calendar.month(day.year, day.month)

    def begun(self, month: Period) -> Period:
        """The month itself.

        Raises:
            InvalidRequestError: it hasn't begun.
        """
        if month.start_s > self.now_s:
            raise InvalidRequestError(f"{month.name} hasn't begun.", hint="Name a month that has.")
        return month

    def hours(self, window: Period, tenants: Sequence[str] | None) -> tuple[LedgerHour, ...]:
        """The rollup's rows of a window."""
        return self.reader.hours(window.start_s, window.end_s, tenants or ())

    def lines(self, window: Period, tenants: Sequence[str] | None) -> Iterator[LedgerRecord]:
        """The request log's lines of a window, oldest first, as they are read."""
        return self.reader.records(window.start_s, window.end_s, tenants or ())

    def time(self, at_s: float) -> str:
        """A moment as people write it, in the costs' time zone."""
        return f"{dt.datetime.fromtimestamp(at_s, tz=self.calendar.zone):%Y-%m-%d %H:%M:%S %Z}"

    def read(self) -> str:
        """Which ledger, when it was read, and how far it goes: a sentence."""
        last_s = self.extent.last_line_s
        through = "it has no requests" if last_s is None else f"its last request is of {self.time(last_s)}"
        damaged = f"; {self.reader.damaged:,} damaged rows are left out, `semcache check` names them"
        return (
            f"Ledger at {self.reader.path}, read {self.time(self.now_s)}; {through}"
            f"{damaged if self.reader.damaged else ''}."
        )

    def as_json(self, window: Period) -> dict[str, object]:
        """The same for programs, with the window: [start, end)."""
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
        """A moment for programs: ISO 8601 with the costs' time zone."""
        return dt.datetime.fromtimestamp(at_s, tz=self.calendar.zone).isoformat(timespec="seconds")


@contextmanager
def open_ledger(config: Path | None, store: Path | None) -> Iterator[OpenLedger]:
    """The ledger of `store`, or of the configuration's store; changes nothing, and may run beside a server.

    Raises:
        SettingsError: the configuration has problems, all of them at once.
        StoreUnusableError: there is no store, a newer semcache wrote it, or it can't be read.
    """
    settings = load_settings(config, _SERVERS_OWN)
    place = settings.store if store is None else settings.store.model_copy(update={"path": store})
    with LedgerReader(place) as reader:
        yield OpenLedger(settings, reader, Calendar(settings.costs.time_zone), reader.extent(), wall_s())
