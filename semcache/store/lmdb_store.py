"""The durable store in LMDB: opens the environment, and holds the four ports over it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Self

from semcache import encryption
from semcache.disk import Environment, FileRoom
from semcache.errors import SemcacheError
from semcache.model import StoreStats
from semcache.ports import Capabilities, Clock
from semcache.settings import StoreSettings
from semcache.store import embedders, opening
from semcache.store.committing import Committer
from semcache.store.core import Core
from semcache.store.damage import Damage
from semcache.store.entries import LmdbEntries
from semcache.store.expiring import FIRST_ROW, Sweep
from semcache.store.ledger import LmdbLedger
from semcache.store.ledger_room import LedgerRoom
from semcache.store.opening import OwnerLock
from semcache.store.vectors import LmdbVectors
from semcache.store.verdicts import LmdbVerdicts

_CAPABILITIES = Capabilities(unit_of_work=True, durable=True, shared=False, ordered_changes=True, immediate_reads=True)


class LmdbStore:
    """A `Store` on disk. Open it with `open`, close it with `close`.

    Any thread may read. The event loop alone writes, notes and closes.

    Attributes:
        entries: stored answers.
        vectors: stored vectors.
        ledger: the request log and its rollup.
        verdicts: hits as they were served, and what was said of them.
    """

    def __init__(self, core: Core, lock: OwnerLock) -> None:
        """Take over an open environment and the lock on its folder; callers use `open`."""
        self._core = core
        self._lock = lock
        self._withdrawn = FIRST_ROW
        self.entries = LmdbEntries(core)
        self.vectors = LmdbVectors(core)
        self.ledger = LmdbLedger(core)
        self.verdicts = LmdbVerdicts(core)

    @classmethod
    def open(
        cls,
        settings: StoreSettings,
        clock: Clock,
        *,
        secret_key_ids: Sequence[str],
        embedder_fingerprint: str = "",
    ) -> Self:
        """Open the store at `settings.path`, making it if it isn't there. Takes about a second for each GB of pages.

        Args:
            settings: where, how large, how often.
            clock: wall time decides what has expired.
            secret_key_ids: ids of the partition secrets, the current one first, then those kept for reading.
            embedder_fingerprint: recorded with the entries put from now on. Entries of another embedder are logged
                here, and `stats` counts them.

        Raises:
            StoreUnusableError: another process has it, a newer semcache or another secret wrote it, the disk refuses.
        """
        opening.make_folder(settings.path)
        lock = opening.lock_folder(settings.path)
        damage = Damage()
        try:
            opening.narrow_modes(settings.path)
            # Read once, for the file may be opened again in the middle of trouble.
            master_keys = encryption.master_keys(settings.encryption)
            # Once: a reopening in the middle of trouble may not keep readers waiting for as long as this takes.
            opening.check_pages(settings.path)
            file = Environment(lambda: opening.open_checked(settings, readonly=False, master_keys=master_keys))
            try:
                file.free_readers()
                counters = opening.settle_meta(file, settings.path, secret_key_ids, embedder_fingerprint, damage=damage)
                room = LedgerRoom(
                    FileRoom(settings.path / opening.DATA_FILE, *file.sizes()), settings.ledger_room_bytes
                )
            except BaseException:
                file.close()
                raise
        except BaseException:
            lock.release()
            raise
        embedders.warn_of_inert(embedders.inert(counters.embedder_runs))
        return cls(Core(Committer(file, room, settings, clock, counters, damage=damage)), lock)

    @property
    def capabilities(self) -> Capabilities:
        """What this back end can do: everything but share its data with other processes."""
        return _CAPABILITIES

    def stats(self) -> StoreStats:
        """Return counts and sizes, after `close` the last ones. Any thread may call this; it costs microseconds."""
        core = self._core
        file_bytes, map_size_bytes = core.file.sizes()
        counters, counts = core.writer.counters, core.writer.counts
        return StoreStats(
            entries=counters.entries,
            inert=embedders.inert(counters.embedder_runs),
            used_bytes=counters.entry_bytes + counters.history_bytes,
            entry_bytes=counters.entry_bytes,
            history_bytes=counters.history_bytes,
            file_bytes=file_bytes,
            map_size_bytes=map_size_bytes,
            max_bytes=core.settings.max_bytes,
            max_entries=core.settings.max_entries,
            evictions=counts.evicted,
            expirations=counts.expired,
            reembedded=counts.reembedded,
            pending=core.writer.pending,
            damaged=core.damage.count,
            commits=counts.commits,
            failed_commits=counts.failed_commits,
            notes_dropped=counts.notes_dropped,
            history_dropped=counts.history_dropped,
            ledger_room_bytes=core.room.left_bytes,
            is_writable=core.writer.trouble is None,
            reopened=core.file.reopened,
            clock_jumps=core.clock_watch.jumps,
        )

    async def sweep(self) -> int:
        """Delete what has ended (entries, served hits, rejections, old log lines), in slices (`Sweep`).

        Returns:
            How many entries that were.
        """
        core = self._core
        core.file.free_readers()
        before = core.writer.counts.expired
        sweep = Sweep(core.settings, core.clock_watch, self._withdrawn)
        await core.writer.write(sweep.step, urgent=True, undo=sweep.undo)
        self._withdrawn = sweep.row
        return core.writer.counts.expired - before

    async def failed(self) -> SemcacheError:
        """Wait until the disk has failed for so long that the store is given up; return why."""
        return await asyncio.shield(asyncio.wrap_future(self._core.writer.broken))

    async def close(self) -> None:
        """Write what waits and close; a second time does nothing. Later writes raise ShuttingDownError."""
        if await self._core.close():
            self._lock.release()
