"""Rows in the order of their keys, some hundreds per transaction, so that a reader may pause between them.

A read transaction keeps the writer from reusing pages for as long as it lasts.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import lmdb

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


def rows_between(env: lmdb.Environment, db: lmdb._Database, first: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys in [first, end) with their values, from one short transaction after the other.

    Rows that are written meanwhile behind the last key read are seen.
    """
    while True:
        with env.begin() as txn:
            rows = list(islice(rows_in(txn, db, first, end), _ROWS_PER_SNAPSHOT))
        if not rows:
            return
        first = rows[-1][0] + b"\0"
        yield from rows
