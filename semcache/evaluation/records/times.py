"""Reads a record's time of arrival, in any unit and under any name that exports use."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from semcache.evaluation.records.messages import is_empty
from semcache.evaluation.records.record import Record, refuse

OWN = "at"
EXPORTED = (
    *("starttime", "timestamp", "@timestamp", "createdat", "created", "createtime", "creationtime", "tstamp", "ts"),
    *("datetime", "startedat", "requestedat", "receivedat", "requesttimestamp", "eventtime", "arrivaltime", "loggedat"),
)
"""Plain names of the time in exports, best first."""
_AMBIGUOUS = ("time", "requesttime")
"""Plain names that mean a duration in other logs, so that only a moment with a date counts."""
_BLANKS = frozenset({"nat", "nan", "none", "n/a", "-"})
"""What programs write for a missing time, in lower case."""
_EARLIEST_S = 1e9
"""The least number that is a moment under an ambiguous name: a day in 2001. A duration is shorter."""
_UNITS: Mapping[float, float] = {1e17: 1e-9, 1e14: 1e-6, 1e11: 1e-3}
"""Seconds in a unit, by the value from which on a number counts in it: nano-, micro- and milliseconds since 1970.

1e11 milliseconds are a day in 1973, and 1e11 seconds a day in the year 5138: no time of both kinds is likely.
"""
_LATEST_S = 1e11
_ZONE = re.compile(r"(?i)\s*(?:UTC|GMT|Z)$|\s+(?=[+-]\d\d:?\d\d$)")
_GO_ZONE = re.compile(r"(?<=[+-]\d{4}) (?:UTC|GMT)$")


def read_time(record: Record) -> float | None:
    """Return a record's time in seconds; None if it has none.

    Raises:
        InvalidRequestError: BAD_FILE: a field of a time holds something else.
    """
    own = record.fields.get(OWN)
    if own is not None and own != "":
        return _seconds(record.where, own)
    for field in EXPORTED:
        if field in record.fields and not _is_blank(record.fields[field]):
            return _seconds(record.where, record.fields[field])
    moments = (_moment(record.fields[field]) for field in _AMBIGUOUS if field in record.fields)
    return next(filter(None, moments), None)


def _is_blank(value: Any) -> bool:
    return is_empty(value) or str(value).strip().casefold() in _BLANKS


def _moment(value: Any) -> float | None:
    """Return the seconds of a value that can only be a moment; None for a duration, a time of day and other texts."""
    try:
        seconds = _parsed(value)
    except (ValueError, OverflowError):
        return None
    return seconds if _EARLIEST_S <= seconds <= _LATEST_S else None


def _seconds(where: str, value: Any) -> float:
    try:
        seconds = _parsed(value)
    except (ValueError, OverflowError):
        seconds = math.nan
    if not abs(seconds) <= _LATEST_S:
        hint = "Write seconds, or ISO 8601 as in 2026-11-24T20:00:00Z."
        refuse(where, f"has the time {str(value)[:40]!r}", hint)
    return seconds


def _parsed(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _from_number(float(value))
    return _from_text(str(value).strip())


def _from_text(text: str) -> float:
    try:
        return _from_number(float(text))
    except ValueError:
        bare = _GO_ZONE.sub("", text)
        zoned = _ZONE.sub(lambda match: "" if match[0].isspace() else "+00:00", bare)
        moment = datetime.fromisoformat(zoned)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _from_number(value: float) -> float:
    return value * next((unit_s for least, unit_s in _UNITS.items() if value >= least), 1.0)
