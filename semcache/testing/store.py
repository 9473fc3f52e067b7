"""A store in memory that behaves as the real one does: the same answers, limits and errors, no disk, no thread."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future

from semcache.errors import SemcacheError
from semcache.model import StoreStats
from semcache.observe.clock_watch import ClockWatch
from semcache.ports import Capabilities, Clock
from semcache.settings import StoreSettings
from semcache.store import embedders
from semcache.testing.memory import Memory
from semcache.testing.memory_ports import MemoryEntries, MemoryLedger, MemoryVectors, MemoryVerdicts

_CAPABILITIES = Capabilities(unit_of_work=True, durable=False, shared=False, ordered_changes=True, immediate_reads=True)


class MemoryStore:
    """A `Store` without a disk. Each write is one commit, made before its first await ends.

    Attributes:
        entries: stored answers.
        vectors: stored vectors.
        ledger: the request log and its rollup.
        verdicts: hits as they were served, and what was said of them.
        broken: what `failed` returns, once a test sets it.
    """

    def __init__(self, clock: Clock, settings: StoreSettings | None = None, *, embedder_fingerprint: str = "") -> None:
        self._memory = memory = Memory(clock, settings or StoreSettings(), embedder_fingerprint)
        self._expirations = 0
        self._clock_watch = ClockWatch(clock)
        self.broken: Future[SemcacheError] = Future()
        self.entries = MemoryEntries(memory)
        self.vectors = MemoryVectors(memory)
        self.ledger = MemoryLedger(memory)
        self.verdicts = MemoryVerdicts(memory)

    @property
    def capabilities(self) -> Capabilities:
        """What this back end can do: everything but survive its process or share its data."""
        return _CAPABILITIES

    @property
    def fail_writes(self) -> SemcacheError | None:
        """An error (a StoreFullError, say) that every awaited write raises, changing nothing; None: writes succeed."""
        return self._memory.fail_writes

    @fail_writes.setter
    def fail_writes(self, error: SemcacheError | None) -> None:
        self._memory.fail_writes = error

    def stats(self) -> StoreStats:
        """Return counts and sizes; history takes no bytes here."""
        memory = self._memory
        return StoreStats(
            entries=len(memory.entries),
            inert=memory.inert(),
            used_bytes=memory.entry_bytes,
            entry_bytes=memory.entry_bytes,
            file_bytes=memory.entry_bytes,
            map_size_bytes=memory.settings.map_size_bytes,
            max_bytes=memory.settings.max_bytes,
            max_entries=memory.settings.max_entries,
            evictions=memory.evictions,
            expirations=self._expirations,
            reembedded=memory.reembedded,
            commits=memory.commits,
            failed_commits=memory.failed_commits,
            is_writable=memory.fail_writes is None,
            clock_jumps=self._clock_watch.jumps,
        )

    async def sweep(self) -> int:
        """Delete what has ended (entries, hits, rejections, old log lines); return how many entries that were."""
        memory = self._memory
        memory.begin()
        now_s = self._clock_watch.settled_wall_s()
        if now_s is None:
            await memory.commit()
            return 0
        kept_since_s = now_s - memory.settings.serve_stale_s
        ended = [entry for entry in memory.entries.values() if entry.expires_s <= kept_since_s]
        memory.delete_all(ended)
        memory.withdraw(now_s)
        self._expirations += len(ended)
        memory.forget_rejections()
        memory.served = {name: hit for name, hit in memory.served.items() if memory.remembered(name) is not None}
        memory.lines = [line for line in memory.lines if line.at_s >= now_s - memory.settings.log_ttl_s]
        await memory.commit()
        return len(ended)

    async def failed(self) -> SemcacheError:
        """Wait until `broken` is set; return its error."""
        return await asyncio.shield(asyncio.wrap_future(self.broken))

    async def close(self) -> None:
        """Refuse further writes."""
        self._memory.closed = True

    def reopen(self, embedder_fingerprint: str = "") -> None:
        """Take writes again as after a restart, perhaps under another embedder; what was put is there."""
        self._memory.closed = False
        self._clock_watch = ClockWatch(self._memory.clock)
        self._memory.embedder_fingerprint = embedder_fingerprint
        embedders.warn_of_inert(self._memory.inert())
