"""Reading a TOML file of prices or amounts so that all its problems are reported at once, each with its place."""

from __future__ import annotations

import datetime as dt
import hashlib
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from semcache.errors import SettingsError

MAX_USD = Decimal(1_000_000_000)
"""The largest amount in a file; a larger one has the wrong unit."""
MAX_COUNT = 10**15
MAX_DECIMALS = 18


class TomlTable:
    """One table of a file. A missing or wrong value becomes a problem, and a harmless value is returned for it.

    Nothing is computed with such a value: `TomlFile.finish` raises when there is any problem.
    """

    def __init__(self, where: str, values: Mapping[str, object], problems: list[str]) -> None:
        self.where = where
        self._values = values
        self._problems = problems
        self._known: set[str] = set()

    def problem(self, what: str) -> None:
        """Note a problem of this table."""
        self._problems.append(f"{self.where}: {what}" if self.where else what)

    def has(self, key: str) -> bool:
        """Return whether the key is there."""
        return key in self._values

    def name(self, key: str, default: str | None = None) -> str:
        """Return a text that isn't empty; needed unless there is a default."""
        value = self._take(key, needed=default is None)
        if value is None:
            return default or ""
        if not isinstance(value, str) or not value.strip():
            self.problem(f"{key} must be a text")
            return ""
        return value.strip()

    def choice(self, key: str, choices: Collection[str], default: str | None = None) -> str:
        """Return one of `choices`; needed unless there is a default."""
        value = self._take(key, needed=default is None)
        if value is None:
            return default or ""
        if value not in choices:
            self.problem(f"{key} must be one of {', '.join(choices)}")
            return ""
        return str(value)

    def names(self, key: str) -> tuple[str, ...]:
        """Return a list of texts; empty when the key isn't there."""
        value = self._take(key, needed=False)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.problem(f"{key} must be a list of texts")
            return ()
        return tuple(value)

    def count(self, key: str, *, minimum: int = 1, default: int | None = None) -> int:
        """Return a whole number, `minimum` or more; needed unless there is a default."""
        value = self._take(key, needed=default is None)
        if value is None:
            return minimum if default is None else default
        if isinstance(value, bool) or not isinstance(value, int):
            self.problem(f"{key} must be a whole number")
        elif value < minimum:
            self.problem(f"{key} must not be below {minimum}")
        elif value > MAX_COUNT:
            self.problem(f"{key} must not exceed {MAX_COUNT:,}")
        else:
            return value
        return minimum

    def amount(
        self, key: str, *, default: Decimal | None = None, maximum: Decimal = MAX_USD, unit: str = "dollars"
    ) -> Decimal:
        """Return an exact decimal from 0 to `maximum`; needed unless there is a default."""
        value = self._take(key, needed=default is None)
        if value is None:
            return default or Decimal(0)
        return self._decimal(key, value, Decimal(0), maximum, unit)

    def signed_amount(self, key: str, unit: str = "dollars") -> Decimal:
        """Return an exact decimal of either sign."""
        return self._decimal(key, self._take(key, needed=True), -MAX_USD, MAX_USD, unit)

    def date(self, key: str) -> dt.date | None:
        """Return a date, or a time of a date; None when it isn't there."""
        value = self._take(key, needed=False)
        if value is None or isinstance(value, dt.date):
            return value
        self.problem(f"{key} must be a date, as in {key} = 2026-07-01")
        return None

    def table(self, key: str) -> TomlTable | None:
        """Return a table inside this one; None when it isn't there."""
        value = self._take(key, needed=False)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            self.problem(f"{key} must be a table")
            value = {}
        return TomlTable(f"{self.where}.{key}" if self.where else key, value, self._problems)

    def tables(self, key: str) -> Sequence[TomlTable]:
        """Return a list of tables, numbered from 1 in problems; empty when the key isn't there."""
        value = self._take(key, needed=False)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
            self.problem(f"{key} must be tables, as in [[{key}]]")
            return ()
        where = f"{self.where}.{key}" if self.where else key
        return [TomlTable(f"{where} {number}", item, self._problems) for number, item in enumerate(value, start=1)]

    def finish(self) -> None:
        """Note a problem for every key that nobody has read."""
        for key in self._values:
            if key not in self._known:
                self.problem(f"unknown key {key!r}")

    def _take(self, key: str, *, needed: bool) -> object:
        self._known.add(key)
        if needed and key not in self._values:
            self.problem(f"{key} is missing")
        return self._values.get(key)

    def _decimal(self, key: str, value: object, minimum: Decimal, maximum: Decimal, unit: str) -> Decimal:
        if value is None:
            return Decimal(0)
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            self.problem(f"{key} must be a number of {unit}")
            return Decimal(0)
        number = Decimal(value)
        exponent = number.as_tuple().exponent
        if not isinstance(exponent, int):  # nan and inf have a letter for an exponent
            self.problem(f"{key} must be a finite number")
        elif number < minimum:
            self.problem(f"{key} must not be {'negative' if not minimum else f'below {minimum:,} {unit}'}")
        elif number > maximum:
            self.problem(f"{key} must not exceed {maximum:,} {unit}")
        elif exponent < -MAX_DECIMALS:
            self.problem(f"{key} must not have more than {MAX_DECIMALS} decimals")
        else:
            return number
        return Decimal(0)


@dataclass(frozen=True, slots=True)
class TomlFile:
    """A file that was read.

    Attributes:
        root: its outermost table.
        digest: the first eight hex digits of its SHA-256.
    """

    path: Path
    root: TomlTable
    digest: str
    problems: list[str]

    def finish(self) -> None:
        """Raise when anything was wrong.

        Raises:
            SettingsError: all problems at once.
        """
        if self.problems:
            raise SettingsError([f"{self.path}: {problem}" for problem in self.problems], source=str(self.path))


def read_toml(path: Path) -> TomlFile:
    """Read a file's tables, numbers with a point as exact decimals.

    Raises:
        SettingsError: it can't be read, or isn't TOML.
    """
    try:
        content = path.read_bytes()
        values = tomllib.loads(content.decode("utf-8"), parse_float=_number)
    except OSError as error:
        raise SettingsError([f"{path} can't be read: {error.strerror}"]) from error
    except (ValueError, RecursionError) as error:
        raise SettingsError([f"{path}: not TOML: {error}"], source=str(path)) from error
    problems: list[str] = []
    return TomlFile(path, TomlTable("", values, problems), hashlib.sha256(content).hexdigest()[:8], problems)


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise ValueError(f"{text} is beyond any number") from error
