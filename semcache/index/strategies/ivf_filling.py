"""An IVF index between its training and its first search, filled in small steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semcache.index.rows import Rows
from semcache.index.strategies.ivf_codes import IvfCodes


class IvfFilling:
    """Fills a trained index in two rounds over a snapshot of the partition's ids. Not thread-safe.

    The first round finds each vector's list, so that the lists are allocated once. The second round fills them. Changes
    since the snapshot reach `codes` at once, and the rounds pass over what they touched.

    Args:
        codes: trained and empty.
        snapshot: the partition's ids now, (n,); a copy.

    Attributes:
        codes: the index, complete when `finished`.
    """

    def __init__(self, codes: IvfCodes, snapshot: NDArray[np.int64]) -> None:
        self.codes = codes
        self._snapshot = snapshot
        self._lists = np.full(len(snapshot), -1, dtype=np.int64)
        self._next = 0
        self._second_round = False
        self._added: set[int] = set()  # since the snapshot: already in `codes`

    @property
    def finished(self) -> bool:
        """Whether `codes` holds every vector of the partition."""
        return self._second_round and self._next >= len(self._snapshot)

    def add(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Follow an addition to the partition: vectors (n, dimension) under new ids."""
        self._added.update(ids.tolist())
        self.codes.add(ids, vectors)

    def remove(self, entry_id: int) -> None:
        """Follow a removal from the partition."""
        self._added.discard(entry_id)
        self.codes.remove([entry_id])

    def advance(self, count: int, rows: Rows) -> None:
        """Handle the next `count` ids of the snapshot.

        Args:
            count: ids to handle.
            rows: the partition's vectors now.
        """
        chunk = slice(self._next, self._next + count)
        self._next += count
        ids, lists = self._snapshot[chunk], self._lists[chunk]
        wanted = np.array([i in rows and i not in self._added for i in ids.tolist()], dtype=bool)
        if self._second_round:
            # An id that was absent in the first round and is back has been added since the snapshot.
            wanted &= lists >= 0
        ids = ids[wanted]
        if len(ids) and self._second_round:
            self.codes.add_to(lists[wanted], ids, rows.gather(ids.tolist()))
        elif len(ids):
            lists[wanted] = self.codes.lists_of(rows.gather(ids.tolist()))
        if not self._second_round and self._next >= len(self._snapshot):
            self.codes.reserve(self._lists[self._lists >= 0])
            self._second_round, self._next = True, 0
