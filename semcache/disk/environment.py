"""The open data file of a running store. After an error that ends LMDB's environment it is opened again.

Every transaction of the process begins here. LMDB refuses to have a file open twice in one process, so a reopening
waits until no transaction is left, and transactions that begin meanwhile wait for the reopening.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, Literal, TypeVar, overload

import lmdb
import structlog

from semcache.disk.pages import PAGE_BYTES
from semcache.errors import StoreError

_log = structlog.get_logger(__name__)

_Handles = TypeVar("_Handles")

_ENDED = (lmdb.PanicError, lmdb.MapResizedError, lmdb.BadRslotError)
"""What the begin of a transaction raises when the environment can't be used any more, though the file may be whole."""


class Environment(Generic[_Handles]):
    """One data file. Any thread may read; the writer's thread alone writes, reopens and closes.

    Attributes:
        reopened: how often it was opened again.
    """

    def __init__(self, open_file: Callable[[], tuple[lmdb.Environment, _Handles]]) -> None:
        """Open the file.

        Args:
            open_file: opens it, and is called again after an error.

        Raises:
            StoreUnusableError: it can't be opened.
        """
        self._open_file = open_file
        self._opened: tuple[lmdb.Environment, _Handles] | None = open_file()
        self._changed = threading.Condition()
        self._users: deque[None] = deque()
        self._held = False
        self._closed = False
        self.reopened = 0
        self._sizes = self._measured_sizes(self._opened[0])

    @contextmanager
    def reading(self) -> Iterator[tuple[lmdb.Transaction[bytes], _Handles]]:
        """Give a read transaction and the handles of the sub-databases; both end with the block.

        Raises:
            StoreError: the store is closed, or can't be opened again at the moment.
        """
        txn, dbs = self._begin(buffers=False, write=False)
        try:
            with txn:
                yield txn, dbs
        finally:
            self._leave()

    @contextmanager
    def reading_buffers(self) -> Iterator[tuple[lmdb.Transaction[memoryview], _Handles]]:
        """Give a read transaction whose keys and values lie in the map and end with the block.

        Raises:
            StoreError: the store is closed, or can't be opened again at the moment.
        """
        txn, dbs = self._begin(buffers=True)
        try:
            with txn:
                yield txn, dbs
        finally:
            self._leave()

    @contextmanager
    def writing(self) -> Iterator[tuple[lmdb.Transaction[bytes], _Handles, int]]:
        """Give the write transaction, the sub-databases and the bytes of the file's pages, free ones among them.

        The transaction is committed when the block ends, and undone when the block raises.

        Raises:
            StoreError: the store is closed, or can't be opened again at the moment.
            lmdb.Error: it wasn't committed.
        """
        txn, dbs = self._begin(buffers=False, write=True)
        try:
            with txn:
                yield txn, dbs, (0 if self._opened is None else _file_bytes(self._opened[0]))
        finally:
            self._leave()

    @overload
    def _begin(self, *, buffers: Literal[False], write: bool) -> tuple[lmdb.Transaction[bytes], _Handles]: ...

    @overload
    def _begin(self, *, buffers: Literal[True]) -> tuple[lmdb.Transaction[memoryview], _Handles]: ...

    def _begin(
        self, *, buffers: bool, write: bool = False
    ) -> tuple[lmdb.Transaction[bytes] | lmdb.Transaction[memoryview], _Handles]:
        while True:
            env, dbs = self._enter()
            try:
                return env.begin(write=write, buffers=True) if buffers else env.begin(write=write), dbs
            except _ENDED:
                self._leave()
                self.reopen(env)
            except BaseException:
                self._leave()
                raise

    def _enter(self) -> tuple[lmdb.Environment, _Handles]:
        # A transaction takes no lock, which would cost more than its begin. None runs into a reopening:
        #   1. Here, a user is appended. 2. Here, `_held` is read.
        #   3. The reopening sets `_held`. 4. The reopening looks for users.
        # If 2 comes before 3, 4 finds the user and waits for it. Otherwise 2 finds `_held`, and the user waits.
        self._users.append(None)
        if self._held:
            self._leave()
            with self._changed:
                self._changed.wait_for(lambda: not self._held or self._closed)
                if self._closed:
                    raise StoreError("the store is closed.")
                self._users.append(None)
        opened = self._opened
        if opened is None:
            self._leave()
            raise _down()
        return opened

    def _leave(self) -> None:
        self._users.pop()
        if self._held:
            with self._changed:
                self._changed.notify_all()

    def reopen(self, broken: lmdb.Environment | None = None) -> None:
        """Close the file and open it again, unless another thread has done so already.

        Args:
            broken: the environment that failed; None: whichever is open.

        Raises:
            StoreError: the store is closed.
            StoreUnusableError: it can't be opened; transactions are refused until a later call succeeds.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._held or self._closed)
            if self._closed:
                raise StoreError("the store is closed.")
            if self._opened is not None and broken is not None and self._opened[0] is not broken:
                return
            self._held = True
            self._changed.wait_for(lambda: not self._users)
        try:
            if self._opened is not None:
                opened, self._opened = self._opened, None
                opened[0].close()
            self._opened = self._open_file()
            self.reopened += 1
            _log.warning("disk.reopened", times=self.reopened)
        finally:
            with self._changed:
                self._held = False
                self._changed.notify_all()

    def is_committed(self, number: int) -> bool:
        """Return whether a transaction, or a later one, is on disk, though its commit may have raised an error.

        Raises:
            StoreError: the store is closed, or can't be opened again at the moment.
            lmdb.Error: nobody knows, for the disk refuses.
        """
        env, _ = self._enter()
        try:
            if env.info()["last_txnid"] < number:
                return False
            env.sync(True)  # noqa: FBT003 - LMDB's own argument: wait for the disk
            return True
        finally:
            self._leave()

    def free_readers(self) -> None:
        """Free the pages that readers of killed processes hold back."""
        env, _ = self._enter()
        try:
            env.reader_check()
        finally:
            self._leave()

    def sizes(self) -> tuple[int, int]:
        """Return the size of the file and of its map, in bytes; while it isn't open, as they were last."""
        try:
            env, _ = self._enter()
        except StoreError:
            return self._sizes
        try:
            self._sizes = self._measured_sizes(env)
            return self._sizes
        finally:
            self._leave()

    @staticmethod
    def _measured_sizes(env: lmdb.Environment) -> tuple[int, int]:
        return _file_bytes(env), env.info()["map_size"]

    def close(self) -> None:
        """Wait until no transaction is left, and close the file; a second time does nothing."""
        self.sizes()
        with self._changed:
            self._changed.wait_for(lambda: not self._held or self._closed)
            self._closed = self._held = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._users)
            if self._opened is not None:
                self._opened[0].close()
                self._opened = None


def _file_bytes(env: lmdb.Environment) -> int:
    size_bytes: int = (env.info()["last_pgno"] + 1) * PAGE_BYTES
    return size_bytes


def _down() -> StoreError:
    return StoreError(
        "the store's disk failed, and the store can't be opened again yet.",
        hint="It is tried every second; the log has the cause.",
    )
