"""The rows of a store in memory: one write at a time, with the limits, errors and changes of the real one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from operator import itemgetter

import numpy as np

from semcache.errors import NotFoundError, SemcacheError, ShuttingDownError
from semcache.model import Changes, Entry, LedgerHour, LedgerRecord, Rejection, ServedHit, Vector
from semcache.ports import Clock
from semcache.settings import StoreSettings
from semcache.store import eviction
from semcache.store.codec import encode_entry
from semcache.store.layout import entry_bytes
from semcache.store.rejections import MAX_REJECTIONS, latest
from semcache.store.rollup import HourName, merged, rolled_up


class Memory:
    """What `MemoryStore` and its four ports share. A write is `begin`, changes, `commit`, without an await between.

    Attributes:
        fail_writes: an error that each awaited write raises, changing nothing; None: writes succeed.
        closed: whether writes raise ShuttingDownError.
    """

    def __init__(self, clock: Clock, settings: StoreSettings, embedder_fingerprint: str) -> None:
        self.clock = clock
        self.settings = settings
        self.embedder_fingerprint = embedder_fingerprint
        self.fail_writes: SemcacheError | None = None
        self.closed = False
        self.entries: dict[int, Entry] = {}
        self.exact: dict[bytes, int] = {}
        self.vectors: dict[bytes, dict[int, Vector]] = {}
        self.served: dict[str, ServedHit] = {}
        self.rejections: dict[tuple[str, bytes], dict[bytes, tuple[float, Rejection]]] = {}
        self.lines: list[LedgerRecord] = []
        self.hours: dict[HourName, LedgerHour] = {}
        self.listeners: list[Callable[[Changes], None]] = []
        self.entry_bytes = 0
        self.evictions = 0
        self.reembedded = 0
        self.commits = 0
        self.failed_commits = 0
        self._embedders: dict[int, str] = {}
        self._access: dict[int, eviction.Access] = {}
        self._bytes: dict[int, int] = {}
        self._next_id = 1
        self._added: dict[int, tuple[bytes, int, Vector]] = {}
        self._removed: list[tuple[bytes, int, bytes]] = []
        self._rewritten: dict[int, None] = {}

    # -- reading

    def live_entry(self, entry_id: int, expired_s: float = 0.0) -> Entry | None:
        """Return an entry, unless it is gone or expired `expired_s` seconds ago or before."""
        entry = self.entries.get(entry_id)
        return entry if entry is not None and entry.expires_s + expired_s > self.clock.wall() else None

    def remembered(self, hit_id: str) -> ServedHit | None:
        """Return a hit as it was served, while verdicts on it are taken."""
        hit = self.served.get(hit_id)
        return hit if hit is not None and hit.at_s + self.settings.served_ttl_s > self.clock.wall() else None

    def judged(self, hit_id: str) -> ServedHit:
        """Return the hit that a verdict is about.

        Raises:
            NotFoundError: no such hit is remembered.
        """
        hit = self.remembered(hit_id)
        if hit is None:
            raise NotFoundError(
                "no hit with this id is remembered.", hint="Verdicts are taken for as long as store.served_ttl_s says."
            )
        return hit

    def inert(self) -> int:
        """Return how many entries have a vector of another known embedder."""
        current = self.embedder_fingerprint
        return sum(name not in {"", current} for name in self._embedders.values()) if current else 0

    # -- one write

    def begin(self) -> None:
        """Begin a write.

        Raises:
            ShuttingDownError: the store is closed.
            SemcacheError: what `fail_writes` holds.
        """
        if self.closed:
            raise ShuttingDownError("the store is closed.", hint="Another replica answers.")
        if self.fail_writes is not None:
            self.failed_commits += 1
            raise self.fail_writes

    async def commit(self) -> None:
        """End a write: call the listeners, then suspend once.

        The real store suspends its writers always, so what must hold while others run is tested here too.
        """
        self.commits += 1
        changes = Changes(tuple(self._added.values()), tuple(self._removed), tuple(self._rewritten))
        self._added, self._removed, self._rewritten = {}, [], {}
        if changes.added or changes.removed or changes.rewritten:
            for listener in self.listeners:
                listener(changes)
        await asyncio.sleep(0)

    def log(self, line: LedgerRecord) -> None:
        """Append a ledger line and add it to its hour of the rollup."""
        self.lines.append(line)
        for name, hour in rolled_up([line]).items():
            self.hours[name] = merged(self.hours[name], hour) if name in self.hours else hour

    def use(self, line: LedgerRecord) -> None:
        """Count the use of an entry that the line of a hit tells of, for eviction."""
        access = self._access.get(line.entry_id, eviction.NO_ACCESS)
        self._access[line.entry_id] = access.plus(eviction.access_of(line))

    def put(self, entry: Entry, vector: Vector | None) -> Entry:
        """Store an entry under the next id in place of the one that has its exact key; return it with its id."""
        embedder = self._embedders.get(self.exact.get(entry.exact_key, 0), "")
        replaced = self.delete(self.exact.get(entry.exact_key, 0))
        before = replaced.rejections if replaced is not None and replaced.text == entry.text else ()
        taken = (*before, *self.rejections_of(entry.tenant, entry.exact_key))
        if embedder not in {"", self.embedder_fingerprint}:
            taken = self._in_current_space(taken)
        entry = replace(entry, rejections=latest((*taken, *entry.rejections)))
        entry = replace(entry, entry_id=self._next_id)
        self._next_id += 1
        self.entries[entry.entry_id] = entry
        self.exact[entry.exact_key] = entry.entry_id
        if vector is not None:
            self._put_vector(entry, vector)
        self._measure(entry)
        return entry

    def rejections_of(self, tenant: str, exact_key: bytes) -> list[Rejection]:
        """Return the rejections of a request's entry that are kept, the one that ends first first."""
        kept = self.rejections.get((tenant, exact_key), {}).values()
        return [rejection for _, rejection in sorted(kept, key=itemgetter(0))]

    def reject(self, tenant: str, exact_key: bytes, rejection: Rejection) -> None:
        """Keep what a verdict says of two requests, in both directions, beside their entries and in them."""
        entry = self.entries.get(self.exact.get(exact_key, 0))
        vector = None if entry is None else self.vectors.get(entry.partition, {}).get(entry.entry_id)
        raw = b"" if vector is None else vector.astype(np.float16).tobytes()
        self._reject(tenant, exact_key, rejection)
        self._reject(tenant, rejection.exact_key, Rejection(exact_key, raw))

    def _reject(self, tenant: str, exact_key: bytes, rejection: Rejection) -> None:
        kept = self.rejections.setdefault((tenant, exact_key), {})
        kept.pop(rejection.exact_key, None)
        kept[rejection.exact_key] = (self.clock.wall() + self.settings.served_ttl_s, rejection)
        while len(kept) > MAX_REJECTIONS:
            del kept[min(kept, key=lambda key: kept[key][0])]
        entry = self.entries.get(self.exact.get(exact_key, 0))
        if entry is not None:
            entry = replace(entry, rejections=latest((*entry.rejections, rejection)))
            self.entries[entry.entry_id] = entry
            self._rewritten[entry.entry_id] = None
            self._measure(entry)

    def forget_rejections(self) -> None:
        """Forget the rejections whose time is over."""
        now_s = self.clock.wall()
        for pair, kept in list(self.rejections.items()):
            self.rejections[pair] = {key: row for key, row in kept.items() if row[0] > now_s}

    def delete(self, entry_id: int) -> Entry | None:
        """Remove an entry with all its traces; return it, or None when there is none."""
        entry = self.entries.pop(entry_id, None)
        if entry is None:
            return None
        if self.exact.get(entry.exact_key) == entry_id:
            del self.exact[entry.exact_key]
        rows = self.vectors.get(entry.partition, {})
        rows.pop(entry_id, None)
        if not rows:
            self.vectors.pop(entry.partition, None)
        self._embedders.pop(entry_id, None)
        self._access.pop(entry_id, None)
        self.entry_bytes -= self._bytes.pop(entry_id)
        self._added.pop(entry_id, None)
        self._rewritten.pop(entry_id, None)
        self._removed.append((entry.partition, entry_id, entry.exact_key))
        return entry

    def other_embedders(self) -> list[str]:
        """Return the names of other embedders whose vectors are stored, the latest first."""
        names = dict.fromkeys(self._embedders[entry_id] for entry_id in sorted(self._embedders, reverse=True))
        return (
            [name for name in names if name not in {"", self.embedder_fingerprint}] if self.embedder_fingerprint else []
        )

    def reembed(self, entry_id: int, partition: bytes, target: bytes, vector: Vector | None) -> bool:
        """Move an entry to a partition of the current embedder, with its new vector; return whether it has that."""
        entry = self.entries.get(entry_id)
        rows = self.vectors.get(partition, {})
        if entry is None or rows.pop(entry_id, None) is None:
            return False
        if not rows:
            del self.vectors[partition]
        self._embedders.pop(entry_id, None)
        self._added.pop(entry_id, None)
        self._removed.append((partition, entry_id, entry.exact_key))
        if vector is not None:
            rejections = self._in_current_space(entry.rejections)
            entry = replace(entry, partition=target, embedder=self.embedder_fingerprint, rejections=rejections)
            self.entries[entry_id] = entry
            self._put_vector(entry, vector)
            self._rewritten[entry_id] = None
            self._renew_rejections(entry, vector)
            self.reembedded += 1
        self._measure(entry)
        return vector is not None

    def _renew_rejections(self, entry: Entry, vector: Vector) -> None:
        """Follow that an entry moved: its kept rejections get its own, and those that name it get its new vector."""
        renewed = Rejection(entry.exact_key, np.asarray(vector, np.float32).astype(np.float16).tobytes())
        for rejection in entry.rejections:
            self._renew_kept(entry.tenant, entry.exact_key, rejection)
            other = self.entries.get(self.exact.get(rejection.exact_key, 0))
            if other is not None and not self._is_current(other):
                continue
            self._renew_kept(entry.tenant, rejection.exact_key, renewed)
            if other is not None and any(one.exact_key == renewed.exact_key for one in other.rejections):
                changed = [renewed if one.exact_key == renewed.exact_key else one for one in other.rejections]
                self.entries[other.entry_id] = replace(other, rejections=tuple(changed))
                self._rewritten[other.entry_id] = None
                self._measure(self.entries[other.entry_id])

    def _renew_kept(self, tenant: str, exact_key: bytes, renewed: Rejection) -> None:
        kept = self.rejections.get((tenant, exact_key), {})
        if renewed.exact_key in kept:
            kept[renewed.exact_key] = (kept[renewed.exact_key][0], renewed)

    def _in_current_space(self, rejections: Iterable[Rejection]) -> tuple[Rejection, ...]:
        """Return rejections with the current embedder's vectors of their requests; without one where there is none."""
        return tuple(Rejection(one.exact_key, self._current_vector(one.exact_key)) for one in rejections)

    def _current_vector(self, exact_key: bytes) -> bytes:
        """Return the current embedder's vector of a request's entry, as float16 bytes; empty where there is none."""
        entry = self.entries.get(self.exact.get(exact_key, 0))
        if entry is None or not self._is_current(entry):
            return b""
        return self.vectors[entry.partition][entry.entry_id].astype(np.float16).tobytes()

    def _is_current(self, entry: Entry) -> bool:
        """Return whether an entry has a vector of the current embedder."""
        return self._embedders.get(entry.entry_id) == self.embedder_fingerprint

    def withdraw(self, now_s: float) -> None:
        """Take the vectors of expired entries away, so that no search finds what is kept for its exact key alone."""
        for entry in self.entries.values():
            rows = self.vectors.get(entry.partition, {})
            if entry.expires_s > now_s or rows.pop(entry.entry_id, None) is None:
                continue
            if not rows:
                del self.vectors[entry.partition]
            self._embedders.pop(entry.entry_id, None)
            self._added.pop(entry.entry_id, None)
            self._removed.append((entry.partition, entry.entry_id, entry.exact_key))
            self._measure(entry)

    def delete_all(self, entries: Iterable[Entry]) -> None:
        """Remove several entries with all their traces."""
        for entry in list(entries):
            self.delete(entry.entry_id)

    def evict(self, *, keep: int) -> None:
        """Delete the entries least worth keeping, except `keep`, until the limits on number and bytes hold."""
        limit_bytes = eviction.limit_bytes(self.settings.max_bytes, self.settings.map_size_bytes)
        now_s = self.clock.wall()
        standings = (
            eviction.standing_of(entry, self._access.get(entry_id, eviction.NO_ACCESS), self._bytes[entry_id], now_s)
            for entry_id, entry in self.entries.items()
            if entry_id != keep
        )
        if len(self.entries) <= self.settings.max_entries and self.entry_bytes <= limit_bytes:
            return
        for standing in eviction.by_worth(standings, self.settings.eviction):
            if len(self.entries) <= self.settings.max_entries and self.entry_bytes <= limit_bytes:
                return
            self.delete(standing.entry_id)
            self.evictions += 1

    def _put_vector(self, entry: Entry, vector: Vector) -> None:
        kept = np.array(vector, dtype=np.float32)
        kept.flags.writeable = False
        self.vectors.setdefault(entry.partition, {})[entry.entry_id] = kept
        self._embedders[entry.entry_id] = self.embedder_fingerprint
        self._added[entry.entry_id] = (entry.partition, entry.entry_id, kept)

    def _measure(self, entry: Entry) -> None:
        vector = self.vectors.get(entry.partition, {}).get(entry.entry_id)
        size = entry_bytes(entry, len(encode_entry(entry)), 0 if vector is None else vector.nbytes)
        self.entry_bytes += size - self._bytes.get(entry.entry_id, 0)
        self._bytes[entry.entry_id] = size
