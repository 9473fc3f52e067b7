"""Damaged rows: how a row is held against its key and its checksum, and where readers report one that doesn't fit."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import lmdb
import structlog

from semcache.errors import StoreError, StoreUnusableError
from semcache.model import Entry, LedgerHour, LedgerRecord, ServedHit
from semcache.store import layout
from semcache.store.codec import decode_entry, decode_hour, decode_record, decode_served

_log = structlog.get_logger(__name__)

PAGE_ERRORS = (lmdb.CorruptedError, lmdb.PageNotFoundError)
"""What LMDB raises when it meets a page that can't be one."""
_HINT = "Stop the server and run `semcache check --repair`, which removes it; it isn't served meanwhile."
_NAMED = 10
"""Rows that one log line names; the rest are counted."""

_Row = TypeVar("_Row")

_CONTRADICTIONS = (struct.error, ValueError, LookupError, TypeError, AttributeError)
"""What decoding raises for a row whose checksum fits and whose lengths or texts don't: somebody wrote it on purpose."""


class Damage:
    """Counts the damaged rows that readers meet, and names them in the log. Any thread may call it.

    Attributes:
        count: rows that could not be read so far, each counted as often as it was met.
    """

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def note(self, rows: Sequence[str], reason: str) -> None:
        """Count rows, named as people know them, and log them with the reason; nothing for none."""
        if rows:
            with self._lock:
                self.count += len(rows)
            _log.error("store.damaged", rows=list(rows[:_NAMED]), count=len(rows), reason=reason, hint=_HINT)

    @contextmanager
    def skipped(self, what: str) -> Iterator[None]:
        """End the block quietly at a page that LMDB can't read: count it, and log what was being read."""
        try:
            yield
        except PAGE_ERRORS as error:
            self.note([what], str(error))

    def read(self, decode: Callable[[bytes, bytes], _Row], key: bytes, row: bytes) -> _Row | None:
        """Return what `decode` makes of a key and its row, or None when the row is damaged.

        Raises:
            StoreUnusableError: a newer semcache wrote the row.
        """
        try:
            return decode(key, row)
        except StoreUnusableError:
            raise
        except StoreError as error:
            self.note([f"{decode.__name__} {key.hex()}"], str(error))
            return None


def entry(key: bytes, row: bytes) -> Entry:
    """Return the entry of a row.

    Raises:
        StoreError: the row is damaged, or it belongs under another key.
        StoreUnusableError: a newer semcache wrote it.
    """
    try:
        return decode_entry(layout.unpack_id(key), row)
    except _CONTRADICTIONS as error:
        raise _contradictory("entry", error) from error


def log_line(key: bytes, row: bytes) -> LedgerRecord:
    """Return the log line of a row.

    Raises:
        StoreError: the row is damaged, or it belongs under another key.
        StoreUnusableError: a newer semcache wrote it.
    """
    return _placed("log line", row, decode_record, lambda line: layout.is_key_of(key, line))


def ledger_hour(key: bytes, row: bytes) -> LedgerHour:
    """Return the hour of the rollup of a row.

    Raises:
        StoreError: the row is damaged, or it belongs under another key.
        StoreUnusableError: a newer semcache wrote it.
    """
    return _placed("ledger hour", row, decode_hour, lambda hour: layout.hour_key(hour) == key)


def served_hit(key: bytes, row: bytes) -> ServedHit:
    """Return the served hit of a row.

    Raises:
        StoreError: the row is damaged, or it belongs under another key.
        StoreUnusableError: a newer semcache wrote it.
    """
    return _placed("served hit", row, decode_served, lambda served: layout.served_key(served.hit_id) == key)


def _placed(name: str, row: bytes, decode: Callable[[bytes], _Row], is_in_place: Callable[[_Row], bool]) -> _Row:
    try:
        value = decode(row)
        if is_in_place(value):
            return value
    except _CONTRADICTIONS as error:
        raise _contradictory(name, error) from error
    raise _misplaced(name)


def _misplaced(name: str) -> StoreError:
    return StoreError(
        f"this {name} is damaged: it lies under the key of another.",
        hint="`semcache check --repair` removes it.",
        reason="STORE_DAMAGED",
    )


def _contradictory(name: str, error: Exception) -> StoreError:
    return StoreError(
        f"this {name} is damaged: its checksum fits, and its contents contradict themselves ({error}).",
        hint="`semcache check --repair` removes it.",
        reason="STORE_DAMAGED",
    )
