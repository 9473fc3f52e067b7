"""The port `Vectors` over LMDB: the vectors of a partition lie side by side and are read in one pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from semcache.model import Vector, format_entry_id
from semcache.store import damage, embedders, layout, seals
from semcache.store.core import Core
from semcache.store.damage import PAGE_ERRORS
from semcache.store.transaction import WriteTransaction

_MOVED_BYTES = 256
"""What an entry that moves may grow by at most, beside its vector: its row names its embedder now."""


class LmdbVectors:
    """Stored vectors on disk, by partition. `load` runs on a worker thread, the others on the event loop."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def has(self, partition: bytes) -> bool:
        """Return whether any vector lies in the partition (32 bytes)."""
        try:
            with self._core.file.reading() as (txn, dbs), txn.cursor(db=dbs.vectors) as cursor:
                return cursor.set_range(partition) and cursor.key().startswith(partition)
        except PAGE_ERRORS as error:
            self._core.damage.note([f"vectors of partition {partition.hex()}"], str(error))
            return False

    async def count(self, partition: bytes, after: int, limit: int) -> tuple[int, int]:
        """Count up to `limit` vectors of the partition with an id above `after`; return the number and the last id.

        This walks over their keys: a thousand in a millisecond. `after` comes back where there is none.
        """
        with self._core.file.reading() as (txn, dbs), txn.cursor(db=dbs.vectors) as cursor:
            count = 0
            more = cursor.set_range(partition + layout.pack_id(after + 1))
            while more and count < limit and (key := cursor.key()).startswith(partition):
                count += 1
                after = layout.unpack_id(key)
                more = cursor.next()
            return count, after

    def load(self, partition: bytes) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Read all vectors of a partition: ids (n,) ascending and unit vectors (n, dimension).

        A damaged vector is left out, counted and logged: its checksum doesn't fit, its length isn't 1 or isn't that of
        most, or LMDB can't read its page.

        Raises:
            StoreError: the store is closed.
        """
        try:
            return self._load(partition)
        except PAGE_ERRORS as error:
            self._core.damage.note([f"vectors of partition {partition.hex()}"], str(error))
            return np.empty(0, np.int64), np.empty((0, 0), np.float32)

    def _load(self, partition: bytes) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        # The vectors go straight from the map into their place. A list of 100,000 byte strings would enlarge the
        # process for good. Each length has arrays of its own, whose memory the system gives as it is written to.
        damaged: list[str] = []
        places: dict[int, tuple[NDArray[np.int64], NDArray[np.float32]]] = {}
        counts: Counter[int] = Counter()
        with self._core.file.reading_buffers() as (txn, dbs), txn.cursor(db=dbs.vectors) as cursor:
            total = 0
            more = cursor.set_range(partition)
            while more and cursor.key()[: len(partition)] == partition:
                total += 1
                more = cursor.next()
            cursor.set_range(partition)
            for _ in range(total):
                key, value = bytes(cursor.key()), cursor.value()
                dimension = seals.payload_bytes(len(value)) // 4
                if dimension and seals.is_whole_vector(key, value):
                    if dimension not in places:
                        places[dimension] = np.empty(total, np.int64), np.empty((total, dimension), np.float32)
                    ids, vectors = places[dimension]
                    ids[counts[dimension]] = layout.unpack_id(key)
                    vectors[counts[dimension]] = np.frombuffer(value, np.float32, dimension)
                    counts[dimension] += 1
                else:
                    damaged.append(_name(layout.unpack_id(key)))
                cursor.next()
        usual = max(counts, key=counts.__getitem__, default=0)
        for dimension, (ids, _) in places.items():
            if dimension != usual:
                damaged += map(_name, ids[: counts[dimension]].tolist())
        ids, vectors = places.get(usual, (np.empty(0, np.int64), np.empty((0, 0), np.float32)))
        ids, vectors = ids[: counts[usual]], vectors[: counts[usual]]
        units = seals.are_units(vectors)
        if not units.all():
            damaged += map(_name, ids[~units].tolist())
            ids, vectors = ids[units], vectors[units]
        self._core.damage.note(damaged, "their vectors can't be read; these entries have exact hits alone.")
        return ids, vectors

    def other_embedders(self) -> Sequence[str]:
        """Return the fingerprints of other embedders than the current one whose vectors are stored, latest first."""
        return embedders.others(self._core.writer.counters.embedder_runs)

    async def texts(self, partition: bytes, limit: int) -> Mapping[int, str | None]:
        """Return the compared texts of up to `limit` entries with a vector in the partition, by id, lowest first.

        The text is None where there is a vector and no readable entry.
        """
        texts: dict[int, str | None] = {}
        with (
            self._core.damage.skipped(f"vectors of partition {partition.hex()}"),
            self._core.file.reading() as (txn, dbs),
            txn.cursor(db=dbs.vectors) as cursor,
        ):
            more = cursor.set_range(partition)
            while more and len(texts) < limit and (key := cursor.key()).startswith(partition):
                row = txn.get(key[-8:], db=dbs.entries)
                entry = None if row is None else self._core.damage.read(damage.entry, key[-8:], row)
                texts[layout.unpack_id(key)] = None if entry is None else entry.text
                more = cursor.next()
        return texts

    async def reembed(self, partition: bytes, target: bytes, vectors: Mapping[int, Vector | None]) -> int:
        """Move entries from a partition of another embedder to one of the current embedder, in one commit.

        Args:
            partition: where the entries' vectors lie.
            target: the partition of the same requests under the current embedder.
            vectors: new unit vectors (dimension,) by entry id; None takes an entry's vector away.

        Returns:
            How many entries have their new vector.

        Raises:
            StoreFullError: nothing was moved.
            OverloadedError: too many writes wait; nothing was moved.
            ShuttingDownError: the store is closed.
        """

        def apply(group: WriteTransaction) -> int:
            return sum([group.reembed(entry_id, partition, target, vector) for entry_id, vector in vectors.items()])

        moved: int = await self._core.writer.write(
            apply,
            growth_bytes=sum([vector.nbytes + _MOVED_BYTES for vector in vectors.values() if vector is not None]),
        )
        return moved


def _name(entry_id: int) -> str:
    return f"vector of {format_entry_id(entry_id)}"
