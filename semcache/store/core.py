"""What the four ports of the LMDB store share: the data file, the writer, the clock, and the count of damaged rows."""

from __future__ import annotations

import asyncio

from semcache.model import Entry, ServedHit
from semcache.observe.clock_watch import ClockWatch
from semcache.store import damage
from semcache.store.committing import Committer
from semcache.store.writer import Writer


class Core:
    """One open data file. Any thread may read it, by `file`; the event loop alone writes, by `writer`.

    Attributes:
        file: begins all transactions.
        damage: the damaged rows that readers and the writer have met since the store was opened.
        clock_watch: tells whether anything may be deleted for its age; the writer's thread asks it.
    """

    def __init__(self, committer: Committer) -> None:
        """Start the writer over a committer, and share what it has."""
        self.file, self.room = committer.file, committer.room
        self.settings, self.clock, self.damage = committer.settings, committer.clock, committer.damage
        self.clock_watch = ClockWatch(self.clock)
        self.writer = Writer(committer, self.settings, self.clock)
        self._closed = False

    def live_entry(self, key: bytes, row: bytes, expired_s: float = 0.0) -> Entry | None:
        """Return the entry of a row, or None when it expired `expired_s` seconds ago or before, or its row is damaged.

        Raises:
            StoreUnusableError: a newer semcache wrote the row.
        """
        entry = self.damage.read(damage.entry, key, row)
        return entry if entry is not None and entry.expires_s + expired_s > self.clock.wall() else None

    def is_remembered(self, hit: ServedHit) -> bool:
        """Return whether a verdict on a served hit is still taken."""
        return hit.at_s + self.settings.served_ttl_s > self.clock.wall()

    async def close(self) -> bool:
        """Write what waits, wait for the reads and close the file; return False when it was closed before.

        Later writes raise ShuttingDownError.
        """
        if not self._closed:
            await self.writer.close()
            await asyncio.to_thread(self.file.close)
        closes, self._closed = not self._closed, True  # Another call may have waited at the same time, and ended first.
        if closes:
            self.room.close()
        return closes
