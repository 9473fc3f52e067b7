"""Rows in the order of their keys: of one transaction, or some hundreds per transaction, so that readers may pause.

A read transaction keeps the writer from reusing pages for as long as it lasts.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import lmdb

from semcache.disk import Environment
from semcache.errors import StoreError
from semcache.model import LedgerHour
from semcache.store import layout
from semcache.store.damage import PAGE_ERRORS, Damage, log_line
from semcache.store.layout import Databases
from semcache.store.rollup import SECONDS_PER_HOUR, HourName, rolled_up

_ROWS_PER_SNAPSHOT = 512
"""Rows read in one transaction: some milliseconds."""


def rows_in(
    txn: lmdb.Transaction[bytes], db: lmdb._Database, first: bytes, end: bytes
) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys in [first, end) with their values, as one transaction sees them."""
    with txn.cursor(db=db) as cursor:
        more = cursor.set_range(first)
        while more and cursor.key() < end:
            yield cursor.key(), cursor.value()
            more = cursor.next()


def rows_between(file: Environment[Databases], name: str, first: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys in [first, end) of a sub-database with their values, from one short transaction after the other.

    Rows that are written meanwhile behind the last key read are seen.

    Raises:
        StoreError: LMDB can't read a page. Sums without its rows would be wrong, and look right.
    """
    while True:
        try:
            with file.reading() as (txn, dbs):
                rows = list(islice(rows_in(txn, getattr(dbs, name), first, end), _ROWS_PER_SNAPSHOT))
        except PAGE_ERRORS as error:
            raise StoreError(
                f"the ledger has a damaged page ({error}).",
                hint="Stop the server and run `semcache check --repair`.",
                reason="STORE_DAMAGED",
            ) from error
        if not rows:
            return
        first = rows[-1][0] + b"\0"
        yield from rows


def due_rows(txn: lmdb.Transaction[bytes], dbs: Databases, first: bytes, last: bytes, limit: int) -> list[bytes]:
    """Return up to `limit` rows of `expiry` from `first` on whose kind and time are at most `last`."""
    due: list[bytes] = []
    with txn.cursor(db=dbs.expiry) as cursor:
        more = cursor.set_range(first)
        while more and len(due) < limit and cursor.key()[: len(last)] <= last:
            due.append(cursor.key())
            more = cursor.next()
    return due


def labelled_ids(txn: lmdb.Transaction[bytes], dbs: Databases, prefix: bytes, after: int, limit: int) -> list[int]:
    """Return up to `limit` ids above `after` among the keys of `tags` with a prefix, by id."""
    ids: list[int] = []
    with txn.cursor(db=dbs.tags) as cursor:
        more = cursor.set_range(prefix + layout.pack_id(after + 1))
        while more and len(ids) < limit and cursor.key().startswith(prefix):
            ids.append(layout.unpack_id(cursor.key()))
            more = cursor.next()
    return ids


def hours_from_log(
    txn: lmdb.Transaction[bytes], dbs: Databases, hour_s: int, damage: Damage
) -> dict[HourName, LedgerHour]:
    """Return the rollup rows of one hour (wall seconds of its start), summed again from its undamaged log lines."""
    first, end = layout.pack_time(hour_s), layout.pack_time(hour_s + SECONDS_PER_HOUR)
    lines = (damage.read(log_line, key, row) for key, row in rows_in(txn, dbs.log, first, end))
    return rolled_up(line for line in lines if line is not None)
