"""What the four ports of the LMDB store share: environment, databases, writer, clock, and the count of damaged rows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import lmdb

from semcache.errors import StoreError
from semcache.model import Entry, ServedHit
from semcache.ports import Clock
from semcache.settings import StoreSettings
from semcache.store import damage
from semcache.store.damage import Damage
from semcache.store.layout import Counters, Databases
from semcache.store.writer import Writer


class Core:
    """One open environment. Any thread may read; the event loop alone writes, through `writer`.

    Attributes:
        damage: the damaged rows that readers and the writer have met since the store was opened.
    """

    def __init__(
        self,
        env: lmdb.Environment,
        dbs: Databases,
        settings: StoreSettings,
        clock: Clock,
        counters: Counters,
        *,
        found_damage: Damage,
    ) -> None:
        self.env = env
        self.dbs = dbs
        self.settings = settings
        self.clock = clock
        self.writer = Writer(env, dbs, settings, clock, counters, damage=found_damage)
        self.damage = found_damage
        self._closed = False
        self._readers = 0
        self._readers_changed = threading.Condition()
        self._sizes = self._measured_sizes()

    def live_entry(self, key: bytes, row: bytes) -> Entry | None:
        """Return the entry of a row, or None when it has expired or its row is damaged.

        Raises:
            StoreUnusableError: a newer semcache wrote the row.
        """
        entry = self.damage.read(damage.entry, key, row)
        return entry if entry is not None and entry.expires_s > self.clock.wall() else None

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
