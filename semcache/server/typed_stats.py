"""The string-keyed statistics of the store and the index as typed values."""

from __future__ import annotations

from collections.abc import Mapping

from semcache.model import IndexSize, IndexStats, StoreStats


def store_stats(stats: Mapping[str, int]) -> StoreStats:
    """Return what `EntryStore.stats` says as a typed value."""
    values = dict(stats)
    return StoreStats(used_bytes=values.pop("bytes", 0), **values)


def index_stats(stats: Mapping[str, int]) -> IndexStats:
    """Return what `VectorIndex.stats` says as a typed value."""
    return IndexStats(
        partitions=stats.get("partitions", 0),
        vectors=stats.get("vectors", 0),
        evicted=stats.get("evicted", 0),
        by_strategy={
            kind: IndexSize(stats[f"partitions_{kind}"], stats.get(f"vectors_{kind}", 0))
            for kind in (name.removeprefix("partitions_") for name in stats if name.startswith("partitions_"))
        },
    )
