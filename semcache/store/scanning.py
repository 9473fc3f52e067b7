"""Rows in the order of their keys, some per transaction: whoever iterates may pause for as long as they like.

A snapshot that lasts holds back the pages that the writer would reuse.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import lmdb

_ROWS_PER_SNAPSHOT = 512


def rows_in(
    txn: lmdb.Transaction[bytes], db: lmdb._Database, first: bytes, end: bytes
) -> Iterator[tuple[bytes, bytes]]:
    """Keys in [first, end) with their values, as one transaction sees them."""
    with txn.cursor(db=db) as cursor:
        found = cursor.set_range(first)
        while found and cursor.key() < end:
            yield cursor.key(), cursor.value()
            found = cursor.next()


def rows_between(env: lmdb.Environment, db: lmdb._Database, first: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The same, some hundreds in each transaction; what is written meanwhile behind the last key read is seen."""
    while True:
        with env.begin() as txn:
            rows = list(islice(rows_in(txn, db, first, end), _ROWS_PER_SNAPSHOT))
        if not rows:
            return
        first = rows[-1][0] + b"\0"
        yield from rows
