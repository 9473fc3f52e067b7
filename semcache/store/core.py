"""What the four ports of the LMDB store share: environment, databases, writer, clock, and the count of damaged rows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import lmdb
import structlog

from semcache.errors import StoreError, StoreUnusableError
from semcache.model import Entry, ServedHit, format_entry_id
from semcache.ports import Clock
from semcache.settings import StoreSettings
from semcache.store.codec import decode_entry
from semcache.store.layout import Counters, Databases
from semcache.store.writer import Writer

_log = structlog.get_logger(__name__)

_Row = TypeVar("_Row")


class Core:
    """One open environment. Any thread may read; the event loop alone writes, through `writer`.

    Attributes:
        damaged: rows that could not be read since the store was opened, each counted as often as it was met.
    """

    def __init__(
        self, env: lmdb.Environment, dbs: Databases, settings: StoreSettings, clock: Clock, counters: Counters
    ) -> None:
        self.env = env
        self.dbs = dbs
        self.settings = settings
        self.clock = clock
        self.writer = Writer(env, dbs, settings, clock, counters)
        self.damaged = 0
        self._closed = False
        self._readers = 0
        self._readers_changed = threading.Condition()
        self._sizes = self._measured_sizes()

    def live_entry(self, entry_id: int, row: bytes) -> Entry | None:
        """Return the entry of a row, or None when it has expired or its row is damaged.

        Raises:
            StoreUnusableError: a newer semcache wrote the row.
        """
        try:
            entry = decode_entry(entry_id, row)
        except StoreUnusableError:
            raise
        except StoreError as error:
            self.damaged += 1
            _log.error("store.entry_damaged", entry_id=format_entry_id(entry_id), hint=error.hint)
            return None
        return entry if entry.expires_s > self.clock.wall() else None

    def decoded(self, decode: Callable[[bytes], _Row], row: bytes) -> _Row | None:
        """Return what `decode` makes of a row, or None when the row is damaged.

        Raises:
            StoreUnusableError: a newer semcache wrote the row.
        """
        try:
            return decode(row)
        except StoreUnusableError:
            raise
        except StoreError as error:
            self.damaged += 1
            _log.error("store.row_damaged", error=str(error))
            return None

    def note_damaged_vectors(self, count: int) -> None:
        """Count and log vectors that were left out because their length is wrong."""
        if count:
            self.damaged += count
            _log.error("store.vectors_damaged", count=count, hint="`semcache check --repair` removes them.")

    def is_remembered(self, hit: ServedHit) -> bool:
        """Return whether a verdict on a served hit is still taken."""
        return hit.at_s + self.settings.served_ttl_s > self.clock.wall()

    def sizes(self) -> tuple[int, int]:
        """Return the size of the file and of its map, in bytes; after `close`, as they were then."""
        with self._readers_changed:
            if not self._closed:
                self._sizes = self._measured_sizes()
            return self._sizes

    def _measured_sizes(self) -> tuple[int, int]:
        info = self.env.info()
        return (info["last_pgno"] + 1) * self.env.stat()["psize"], info["map_size"]

    @contextmanager
    def long_read(self) -> Iterator[None]:
        """Keep the environment open during a read on a worker thread: `close` waits until the block ends.

        Raises:
            StoreError: the store is closed.
        """
        with self._readers_changed:
            if self._closed:
                raise StoreError("the store is closed.")
            self._readers += 1
        try:
            yield
        finally:
            with self._readers_changed:
                self._readers -= 1
                self._readers_changed.notify_all()

    async def close(self) -> bool:
        """Write what waits, wait for the long reads and close the environment; return False when it was closed before.

        Later writes raise ShuttingDownError.
        """
        if self._closed:
            return False
        await self.writer.close()
        with self._readers_changed:
            self._sizes = self._measured_sizes()
            self._closed = True
            self._readers_changed.wait_for(lambda: self._readers == 0)
        self.env.close()
        return True
