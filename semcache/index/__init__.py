"""Nearest neighbours within a partition, derived from the store and loaded when a partition is first searched.

- Owns: the vectors in memory (`Rows`), and by size and device the strategies that search them (`strategies/`).
- Reading order: `factory` → `partitioned_index` (event loop) → `worker` (thread) → `residents` → `partition`.
- Threads: the event loop queues searches and changes. The thread `semcache-index` alone touches partitions. The thread
  `semcache-index-training` trains one IVF index at a time and touches none.
- Remembers: up to `index.max_partitions` partitions and `index.max_vectors` vectors; the least recently searched leave.
- Forgets: an evicted partition loses nothing. Its next search loads it again, as the store commits before the index.
- Libraries: numpy for all of it, FAISS for IVF on a CPU, FAISS or torch for a GPU; each is imported when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from semcache.index.factory import open_index

__all__ = ["open_index"]


def __getattr__(name: str) -> object:
    """Import `open_index` when it is first asked for: the strategies alone need numpy and their own library."""
    if name in __all__:
        from semcache.index import factory

        return getattr(factory, name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
