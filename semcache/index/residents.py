"""The partitions in memory: the least recently searched leave first, and sizes and kinds are counted as they change."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping

from semcache.index.partition import Partition


class Residents:
    """Partitions by key. Changed by one thread; `followed` may be asked by another, a set's membership test is atomic.

    Args:
        max_partitions: how many stay.
        max_vectors: how many vectors they may hold together; the most recent partition stays, whatever its size.
    """

    def __init__(self, *, max_partitions: int, max_vectors: int) -> None:
        self._max_partitions = max_partitions
        self._max_vectors = max_vectors
        self._partitions: OrderedDict[bytes, Partition] = OrderedDict()
        self._vectors = 0
        self._partitions_of: Counter[str] = Counter()
        self._vectors_of: Counter[str] = Counter()
        self._evicted = 0
        self.followed: set[bytes] = set()

    def get(self, key: bytes) -> Partition | None:
        """The partition, its place in the order unchanged."""
        return self._partitions.get(key)

    def touch(self, key: bytes) -> Partition | None:
        """The partition, now the most recently searched."""
        partition = self._partitions.get(key)
        if partition is not None:
            self._partitions.move_to_end(key)
        return partition

    def put(self, key: bytes, partition: Partition) -> None:
        """Takes a partition that was just loaded."""
        self._partitions[key] = partition
        self.note(partition)

    def note(self, partition: Partition) -> None:
        """Counts a partition as it is now."""
        self._discount(partition)
        partition.counted = (partition.kind, len(partition))
        self._partitions_of[partition.kind] += 1
        self._vectors_of[partition.kind] += len(partition)
        self._vectors += len(partition)

    def drop(self, key: bytes) -> None:
        """Forgets a partition; its next search loads it anew."""
        self.followed.discard(key)
        partition = self._partitions.pop(key, None)
        if partition is not None:
            self._discount(partition)

    def evict(self) -> None:
        """Drops the least recently searched until the limits hold."""
        while len(self._partitions) > 1 and (
            len(self._partitions) > self._max_partitions or self._vectors > self._max_vectors
        ):
            self.drop(next(iter(self._partitions)))
            self._evicted += 1

    def clear(self) -> None:
        """Drops all."""
        for key in list(self._partitions):
            self.drop(key)
        self.followed.clear()

    def stats(self) -> Mapping[str, int]:
        """`partitions`, `vectors`, partitions `evicted` since the start; by kind, `partitions_flat`, `vectors_flat`."""
        by_kind: dict[str, int] = {}
        for kind, count in self._partitions_of.items():
            if count:
                by_kind |= {f"partitions_{kind}": count, f"vectors_{kind}": self._vectors_of[kind]}
        return {"partitions": len(self._partitions), "vectors": self._vectors, "evicted": self._evicted, **by_kind}

    def _discount(self, partition: Partition) -> None:
        """Takes back what `note` counted last."""
        kind, size = partition.counted
        if kind:
            self._partitions_of[kind] -= 1
            self._vectors_of[kind] -= size
            self._vectors -= size
