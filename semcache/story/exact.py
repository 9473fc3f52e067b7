"""The exact tier: decoded entries in memory, bounded in bytes, over the store."""

from __future__ import annotations

from collections import OrderedDict

from semcache.model import Changes, Entry
from semcache.ports import Clock, EntryStore

_ENTRY_OVERHEAD_BYTES = 2_000
"""An Entry's objects beside its text and answer, as measured with tracemalloc on typical entries."""


class ExactTier:
    """Finds an entry by exact key. Follows the store's commits, so that a removed entry isn't served again."""

    def __init__(self, store: EntryStore, clock: Clock, max_bytes: int) -> None:
        self._store = store
        self._clock = clock
        self._max_bytes = max_bytes
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        self._keys: dict[int, bytes] = {}
        self._bytes = 0
        store.subscribe(self._follow)

    def find(self, exact_key: bytes) -> Entry | None:
        """The live entry under `exact_key`."""
        entry = self._entries.get(exact_key)
        if entry is None:
            entry = self._store.find_exact(exact_key)
            if entry is not None:
                self._keep(entry)
            return entry
        if entry.expires_s <= self._clock.wall():
            self._drop(exact_key)
            return None
        self._entries.move_to_end(exact_key)
        return entry

    @property
    def size_bytes(self) -> int:
        """Estimated memory of what is kept."""
        return self._bytes

    def _keep(self, entry: Entry) -> None:
        self._entries[entry.exact_key] = entry
        self._keys[entry.entry_id] = entry.exact_key
        self._bytes += _size(entry)
        while self._bytes > self._max_bytes and self._entries:
            self._drop(next(iter(self._entries)))

    def _drop(self, exact_key: bytes) -> None:
        entry = self._entries.pop(exact_key, None)
        if entry is not None:
            self._keys.pop(entry.entry_id, None)
            self._bytes -= _size(entry)

    def _follow(self, changes: Changes) -> None:
        for _, entry_id, _ in changes.removed:
            self._drop_id(entry_id)
        for entry_id in changes.rewritten:
            self._drop_id(entry_id)

    def _drop_id(self, entry_id: int) -> None:
        exact_key = self._keys.get(entry_id)
        if exact_key is not None:
            self._drop(exact_key)


def _size(entry: Entry) -> int:
    return len(entry.answer.body) + 2 * len(entry.text) + len(entry.answer.text) + _ENTRY_OVERHEAD_BYTES
