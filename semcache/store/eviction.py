"""Which entries are deleted when the store is full: policies as data, applied to a sample of the entries."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import lmdb

from semcache.model import Entry, LedgerRecord
from semcache.store import layout, seals

START_RATIO = 0.8
"""Share of `max_bytes` from which on entries are evicted: deletes need free pages too, and readers hold pages back."""
MAP_RATIO = 0.5
"""Largest share of the map that `max_bytes` may mean. Commits copy pages, readers hold pages back, and large values
need adjacent free pages. The map is address space and costs nothing."""
HISTORY_RATIO = 0.25
"""Share of `max_bytes` that the request log, the served hits and the rejections may take before their oldest rows are
deleted."""
SAMPLE_PER_VICTIM = 5
"""Entries in the sample for each entry to evict. Five come close to the true order; Redis uses the same number."""
SMALLEST_SAMPLE = 64
"""Size of the smallest sample. A store of no more entries is looked at whole."""
_SECONDS_PER_HOUR = 3600.0
_MAX_SAVED = (1 << 63) - 1
_ACCESS = struct.Struct("<QQd")
"""uses, nanodollars that they saved, wall seconds of the last one"""


@dataclass(frozen=True, slots=True)
class Access:
    """How an entry was used: how often, nanodollars that this saved, wall seconds of the last use (0 for never)."""

    uses: int = 0
    saved_nanousd: int = 0
    last_s: float = 0.0

    def plus(self, other: Access) -> Access:
        """Return the sum of both; savings beyond 63 bits are cut."""
        saved_nanousd = min(self.saved_nanousd + other.saved_nanousd, _MAX_SAVED)
        return Access(self.uses + other.uses, saved_nanousd, max(self.last_s, other.last_s))


NO_ACCESS = Access()


def pack_access(key: bytes, access: Access) -> bytes:
    """Return the row of an entry's accesses."""
    return seals.sealed_row(key, _ACCESS.pack(access.uses, access.saved_nanousd, access.last_s))


def unpack_access(key: bytes, row: bytes) -> Access | None:
    """Return the accesses of a row; None when it is damaged."""
    payload = seals.payload_of(key, row, bare=len(row) == _ACCESS.size)
    return Access(*_ACCESS.unpack(payload)) if payload is not None and len(payload) == _ACCESS.size else None


def access_of(hit: LedgerRecord) -> Access:
    """Return the one use of an entry that the line of a hit stands for."""
    return Access(1, max(hit.saved.total_nanousd, 0), hit.at_s)


@dataclass(frozen=True, slots=True)
class Standing:
    """The values by which an eviction policy ranks an entry.

    Attributes:
        cost_nanousd: what the next hit saves: the cost of making the answer again.
        saved_nanousd: what its hits have saved so far.
        idle_s: wall seconds since its last use, or since it was made.
        size_bytes: bytes of the file that it takes.
        expired: whether its time is over, so that it is kept for `store.serve_stale_s` alone.
    """

    entry_id: int
    cost_nanousd: int
    saved_nanousd: int
    idle_s: float
    size_bytes: int
    expired: bool = False


def cost_worth(standing: Standing) -> float:
    """Return nanodollars per byte: cost plus savings so far, divided by the idle hours + 1."""
    value = max(standing.cost_nanousd, 1) + standing.saved_nanousd  # An unpriced answer still saves time.
    return value / (1 + standing.idle_s / _SECONDS_PER_HOUR) / standing.size_bytes


def lru_worth(standing: Standing) -> float:
    """Return the negative idle time: the longest idle entry is worth least."""
    return -standing.idle_s


POLICIES: Mapping[str, Callable[[Standing], float]] = {"cost": cost_worth, "lru": lru_worth}
"""Worth of an entry by the name of the policy. The entry of least worth is evicted first; of equals, the older."""


def limit_bytes(max_bytes: int, map_size_bytes: int) -> int:
    """Return how many live bytes, entries and history together, the store may hold before entries are evicted."""
    return int(min(max_bytes, map_size_bytes * MAP_RATIO) * START_RATIO)


def standing_of(entry: Entry, access: Access, size_bytes: int, now_s: float) -> Standing:
    """Return the values by which a policy ranks an entry."""
    last_s = max(access.last_s, entry.created_s)
    return Standing(
        entry_id=entry.entry_id,
        cost_nanousd=entry.cost.total_nanousd,
        saved_nanousd=access.saved_nanousd,
        idle_s=max(0.0, now_s - last_s),
        size_bytes=max(size_bytes, 1),
        expired=entry.expires_s <= now_s,
    )


def by_worth(standings: Iterable[Standing], policy: str) -> list[Standing]:
    """Return the expired entries, then the others, each by rising worth, the older first among equals."""
    worth = POLICIES[policy]
    return sorted(standings, key=lambda standing: (not standing.expired, worth(standing), standing.entry_id))


def sample_size(victims: int) -> int:
    """Return how many entries to sample in order to evict `victims` of them."""
    return max(SMALLEST_SAMPLE, victims * SAMPLE_PER_VICTIM)


def sampled_ids(
    first_id: int, last_id: int, count: int, at_or_after: Callable[[int], int | None], chance: random.Random
) -> set[int]:
    """Return up to `count` different ids, each by one seek to a random place.

    An id behind a gap is drawn more often. Gaps are where entries were deleted, mostly among the old.

    Args:
        first_id: the lowest stored id.
        last_id: the highest stored id.
        count: how many ids are wanted.
        at_or_after: returns the first stored id at or after an id; None when there is none.
        chance: source of randomness.
    """
    ids: set[int] = set()
    for _ in range(count * 2):  # Twice as many draws as ids: some draws repeat an id.
        entry_id = at_or_after(chance.randint(first_id, last_id))
        if entry_id is not None:
            ids.add(entry_id)
            if len(ids) >= count:
                break
    return ids


def sample_of(cursor: lmdb.Cursor[bytes], entries: int, last_id: int, victims: int, chance: random.Random) -> set[int]:
    """Return the ids of the entries to choose `victims` from: a random sample, or all of a small store.

    Args:
        cursor: over the sub-database of entries.
        entries: how many there are.
        last_id: the highest id that may be evicted.
        victims: how many entries are to be evicted.
        chance: source of randomness.
    """
    if not cursor.first():
        return set()
    first_id = layout.unpack_id(cursor.key())
    size = sample_size(victims)
    if entries <= size:
        ids = {layout.unpack_id(key) for key in cursor.iternext(keys=True, values=False)}
        return {entry_id for entry_id in ids if entry_id <= last_id}
    if first_id > last_id:
        return set()

    def at_or_after(entry_id: int) -> int | None:
        if not cursor.set_range(layout.pack_id(entry_id)):
            return None
        stored_id = layout.unpack_id(cursor.key())
        return stored_id if stored_id <= last_id else None

    return sampled_ids(first_id, last_id, size, at_or_after, chance)
