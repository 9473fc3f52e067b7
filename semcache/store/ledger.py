"""The port `Ledger` over LMDB: the request log and its hourly rollup."""

from __future__ import annotations

from collections.abc import Iterator

from semcache.errors import SemcacheError
from semcache.model import LedgerHour, LedgerRecord, ServedHit
from semcache.store import layout
from semcache.store.codec import encode_record
from semcache.store.commit_group import Note
from semcache.store.core import Core
from semcache.store.damage import ledger_hour, log_line
from semcache.store.scanning import rows_between
from semcache.store.transaction import WriteTransaction

_FIND_TOLERANCE_S = 1e-3
"""How far a line's time may lie from the time that `find` is given: callers know it to the millisecond."""


class LmdbLedger:
    """Lines of requests on disk. `hours` and `records` see what is committed, not what waits."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def record(self, line: LedgerRecord, served: ServedHit | None = None) -> None:
        """Note a request; it is on disk with the next commit group, within about 250 ms.

        The line of a hit counts as a use of its entry, for eviction. `served` is kept for a later verdict.
        """
        self._core.writer.note(Note(line, served))

    async def record_durably(self, line: LedgerRecord) -> None:
        """Note a request and return when it is on disk.

        Raises:
            StoreFullError: it isn't noted.
            OverloadedError: too many writes wait; it isn't noted.
            ShuttingDownError: the store is closed.
        """
        await self._core.writer.write(_nothing, note=Note(line, row=encode_record(line)))

    async def find(self, request_id: str, at_s: float) -> LedgerRecord | None:
        """Return the oldest line on disk of a request that was logged within a millisecond of `at_s` (wall seconds)."""
        first, end = layout.pack_time(at_s - _FIND_TOLERANCE_S), layout.pack_time(at_s + _FIND_TOLERANCE_S)
        name = layout.log_name(request_id)
        for key, row in rows_between(self._core.file, "log", first, end):
            if layout.log_name_of(key) == name:
                line = self._core.damage.read(log_line, key, row)
                if line is not None and line.request_id == request_id:
                    return line
        return None

    def hours(self, tenant: str | None, start_s: float, end_s: float) -> Iterator[LedgerHour]:
        """Yield rollup rows on disk whose hour starts in [start, end), of one tenant or of all, by hour."""
        first, end = layout.hours_from(start_s), layout.hours_from(end_s)
        for key, row in rows_between(self._core.file, "hours", first, end):
            hour = self._core.damage.read(ledger_hour, key, row)
            if hour is not None and tenant in {None, hour.tenant}:
                yield hour

    def records(self, tenant: str | None, start_s: float, end_s: float) -> Iterator[LedgerRecord]:
        """Yield log lines on disk in [start, end), of one tenant or of all, oldest first."""
        first, end = layout.pack_time(start_s), layout.pack_time(end_s) + b"\xff"
        for key, row in rows_between(self._core.file, "log", first, end):
            line = self._core.damage.read(log_line, key, row)
            if line is not None and tenant in {None, line.tenant} and start_s <= line.at_s < end_s:
                yield line

    async def flush(self) -> None:
        """Return when everything that was noted is on disk.

        Raises:
            StoreFullError: the disk has no room for it; it stays noted.
            ShuttingDownError: the store is closed.
        """
        await self._core.writer.write(_nothing, urgent=True)

    @property
    def trouble(self) -> SemcacheError | None:
        """Why lines can't be written at the moment; None while they can."""
        return self._core.writer.trouble

    @property
    def durable_through_s(self) -> float:
        """Wall time, in seconds, up to which everything noted is on disk."""
        return self._core.writer.durable_through_s


def _nothing(group: WriteTransaction) -> None:
    """Change no entry: the write of a log line is its note."""
    del group
