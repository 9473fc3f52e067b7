"""The ledger of a store, read beside its server: rollup rows and log lines, without changing anything."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import lmdb

from semcache.disk import Environment
from semcache.errors import StoreError, StoreUnusableError
from semcache.model import LedgerHour, LedgerRecord
from semcache.settings import StoreSettings
from semcache.store import layout, opening
from semcache.store.damage import ledger_hour, log_line
from semcache.store.scanning import rows_between, rows_in

_US_PER_S = 1_000_000

_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class LedgerExtent:
    """The first and last moment of a ledger, in wall-clock seconds; None where there is no row.

    Hours are of the rollup, which is kept. Lines are of the request log, whose oldest are deleted
    (`store.log_ttl_s`).
    """

    first_hour_s: int | None
    last_hour_s: int | None
    first_line_s: float | None
    last_line_s: float | None


class LedgerReader:
    """One store's ledger, open for reading. Lines of a server's last 250 ms may not be on disk yet.

    Attributes:
        path: the store's folder.
        damaged: rows that could not be read so far and are in no result; `semcache check` names them.
    """

    def __init__(self, settings: StoreSettings) -> None:
        """Open the store at `settings.path`.

        Raises:
            StoreUnusableError: there is none, a newer semcache wrote it, or it can't be read.
        """
        self.path: Path = settings.path
        self.damaged = 0
        self._file = Environment(lambda: opening.open_environment(settings, readonly=True))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def extent(self) -> LedgerExtent:
        """Return the first and last moment of the ledger."""
        with self._readable(), self._file.reading() as (txn, dbs):
            first_hour, last_hour = _ends(txn, dbs.hours)
            first_us, last_us = _ends(txn, dbs.log)
        return LedgerExtent(
            first_hour,
            last_hour,
            None if first_us is None else first_us / _US_PER_S,
            None if last_us is None else last_us / _US_PER_S,
        )

    def file_bytes(self) -> int:
        """Return the size of the store's file: entries, vectors and ledger together."""
        return self._file.sizes()[0]

    def hours(self, start_s: float, end_s: float, tenants: Collection[str] = ()) -> tuple[LedgerHour, ...]:
        """Return rollup rows whose hour starts in [start, end), by hour, as of one moment.

        Without `tenants` these are the rows of all tenants.

        Raises:
            StoreUnusableError: the store can't be read.
        """
        first, end = layout.hours_from(start_s), layout.hours_from(end_s)
        with self._readable(), self._file.reading() as (txn, dbs):
            rows = list(rows_in(txn, dbs.hours, first, end))
        decoded = (self._decoded(ledger_hour, key, row) for key, row in rows)
        return tuple(hour for hour in decoded if hour is not None and (not tenants or hour.tenant in tenants))

    def records(self, start_s: float, end_s: float, tenants: Collection[str] = ()) -> Iterator[LedgerRecord]:
        """Yield log lines in [start, end), oldest first, as they are read; of all tenants when none is named.

        Raises:
            StoreUnusableError: the store can't be read.
        """
        first, end = layout.pack_time(start_s), layout.pack_time(end_s)
        with self._readable():
            for key, row in rows_between(self._file, "log", first, end):
                record = self._decoded(log_line, key, row)
                if record is not None and (not tenants or record.tenant in tenants):
                    yield record

    def _decoded(self, decode: Callable[[bytes, bytes], _Row], key: bytes, row: bytes) -> _Row | None:
        try:
            return decode(key, row)
        except StoreUnusableError:
            raise
        except StoreError:
            self.damaged += 1
            return None

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except lmdb.Error as error:
            raise StoreUnusableError(
                f"the store at {self.path} can't be read ({error}).",
                hint="`semcache check` says what is wrong with it.",
            ) from error


def _ends(txn: lmdb.Transaction[bytes], db: lmdb._Database) -> tuple[int | None, int | None]:
    """Return the numbers that the first and the last key begin with."""
    with txn.cursor(db=db) as cursor:
        first = int.from_bytes(cursor.key()[:8], "big") if cursor.first() else None
        last = int.from_bytes(cursor.key()[:8], "big") if cursor.last() else None
    return first, last
