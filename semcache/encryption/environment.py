"""An LMDB environment that decrypts what is read.

Its transactions and cursors have the part of LMDB's interface that the store uses, so that a store without encryption
uses LMDB's own and pays nothing. Writers say whose a row is (`stored_row`), because only they know. A row that nobody
encrypted is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from types import TracebackType
from typing import Any, Self

import lmdb

from semcache.encryption.key_ring import KeyRing
from semcache.encryption.rows import is_encrypted
from semcache.errors import FULL_ERRNOS

Row = bytes | memoryview
Record = Callable[["lmdb.Transaction[bytes]", set[bytes]], None]
"""Writes into a transaction that the store is encrypted, and the ids of its data keys."""


class EncryptedEnvironment:
    """An open environment with the keys of its rows. What isn't here is LMDB's own."""

    def __init__(self, env: lmdb.Environment, ring: KeyRing, encrypted: Collection[str], record: Record) -> None:
        """Take over an open environment.

        Args:
            env: LMDB's own.
            ring: the data keys.
            encrypted: the names of the sub-databases whose rows are encrypted.
            record: called in each transaction that commits with a key that none has committed with before.
        """
        self.ring = ring
        self._env = env
        self._encrypted = frozenset(encrypted)
        self._record = record
        self.recorded_revision = -1
        self.places: dict[lmdb._Database, bytes] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)

    def open_db(self, name: bytes, *arguments: Any, **options: Any) -> lmdb._Database:
        """Open a sub-database as LMDB does; its handle then says whether its rows are encrypted."""
        db = self._env.open_db(name, *arguments, **options)
        if name.decode() in self._encrypted:
            self.places[db] = name + b"/"
        return db

    def begin(self, *, write: bool = False, buffers: bool = False) -> EncryptedTransaction:
        """Begin a transaction, as LMDB does."""
        txn: Any = self._env.begin(write=write, buffers=True) if buffers else self._env.begin(write=write)
        return EncryptedTransaction(self, txn, write=write)

    def before_commit(self, txn: lmdb.Transaction[bytes]) -> None:
        """Bring the keys of a transaction's rows to disk before the rows, and record their ids beside the rows.

        The ids count as recorded once the transaction is committed (`recorded_revision`), for a commit may fail.

        Raises:
            lmdb.DiskError: the disk has no room for the key file.
            lmdb.Error: the key file can't be written for another reason.
        """
        try:
            self.ring.sync()
        except OSError as error:
            kind = lmdb.DiskError if error.errno in FULL_ERRNOS else lmdb.Error
            raise kind(f"the key file can't be written: {error}") from error
        if self.ring.revision != self.recorded_revision:
            self._record(txn, self.ring.key_ids)


class EncryptedTransaction:
    """A transaction that decrypts what it reads. What isn't here is LMDB's own."""

    __slots__ = ("_decrypt", "_env", "_places", "_txn", "_write")

    def __init__(self, env: EncryptedEnvironment, txn: lmdb.Transaction[bytes], *, write: bool) -> None:
        self._env = env
        self._txn = txn
        self._write = write
        self._places = env.places
        self._decrypt = env.ring.decrypt

    def __getattr__(self, name: str) -> Any:
        return getattr(self._txn, name)

    def __enter__(self) -> Self:
        self._txn.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None or not self._write:
            self._txn.__exit__(kind, error, traceback)
            return
        try:
            self._env.before_commit(self._txn)
        except BaseException:
            self._txn.abort()
            raise
        self._txn.__exit__(None, None, None)
        self._env.recorded_revision = self._env.ring.revision

    def get(self, key: bytes, default: Row | None = None, *, db: lmdb._Database) -> Row | None:
        """Return the row of a key in clear, or the default where there is none."""
        row = self._txn.get(key, db=db)
        return default if row is None else self._opened(key, row, db)

    def pop(self, key: bytes, *, db: lmdb._Database) -> Row | None:
        """Delete a row and return it in clear; None where there is none."""
        return self._opened(key, self._txn.pop(key, db=db), db)

    def replace(self, key: bytes, value: bytes, *, db: lmdb._Database) -> Row | None:
        """Write a row and return the former one in clear; None where there was none."""
        self._checked(value, db)
        return self._opened(key, self._txn.replace(key, value, db=db), db)

    def put(self, key: bytes, value: bytes, *, db: lmdb._Database, **options: Any) -> bool:
        """Write a row, as LMDB does.

        Raises:
            ValueError: the row should be encrypted, and isn't.
        """
        self._checked(value, db)
        return self._txn.put(key, value, db=db, **options)

    def cursor(self, db: lmdb._Database) -> Any:
        """Return a cursor: LMDB's own where rows are in clear."""
        cursor = self._txn.cursor(db=db)
        place = self._places.get(db)
        return cursor if place is None else EncryptedCursor(cursor, place, self._decrypt)

    def encrypted(self, tenant: str | None, key: bytes, row: bytes, db: lmdb._Database) -> bytes:
        """Return a row as it is stored."""
        place = self._places.get(db)
        return row if place is None else self._env.ring.encrypt(tenant, place + key, row)

    def _opened(self, key: bytes, row: Row | None, db: lmdb._Database) -> Row | None:
        place = self._places.get(db)
        return row if place is None or row is None else self._decrypt(place + key, row)

    def _checked(self, value: bytes, db: lmdb._Database) -> None:
        if db in self._places and not is_encrypted(value):
            raise ValueError("a row of an encrypted store would be written in clear")


class EncryptedCursor:
    """A cursor that decrypts the values that it reads. What isn't here is LMDB's own."""

    __slots__ = ("_cursor", "_decrypt", "_place", "key", "next")

    def __init__(self, cursor: lmdb.Cursor[bytes], place: bytes, decrypt: Callable[[bytes, Row], Row]) -> None:
        self._cursor = cursor
        self._place = place
        self._decrypt = decrypt
        self.key, self.next = cursor.key, cursor.next

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def __enter__(self) -> Self:
        self._cursor.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._cursor.__exit__(kind, error, traceback)

    def __iter__(self) -> Iterator[tuple[bytes, Row]]:
        for key, row in self._cursor:
            yield key, self._decrypt(self._place + key, row)

    def value(self) -> Row:
        """Return the row under the cursor in clear."""
        return self._decrypt(self._place + bytes(self.key()), self._cursor.value())

    def stored_value(self) -> Row:
        """Return the row under the cursor as it is stored."""
        return self._cursor.value()


def stored_row(txn: Any, tenant: str | None, key: bytes, row: bytes, db: lmdb._Database) -> bytes:
    """Return a row as it is stored: encrypted under the key of its tenant, where the store is encrypted.

    Args:
        txn: the transaction that will write it.
        tenant: whose row it is; None: the store's own.
        key: the row's key.
        row: the row in clear.
        db: the sub-database that it is written to.
    """
    return txn.encrypted(tenant, key, row, db) if isinstance(txn, EncryptedTransaction) else row
