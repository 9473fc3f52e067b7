"""The port `Entries` over LMDB: reads at once on the event loop, writes through the writer's thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from semcache.model import Changes, Entry, LedgerRecord, Selector, Vector
from semcache.ports import EntryPage
from semcache.store import layout
from semcache.store.codec import encode_entry, encode_record
from semcache.store.commit_group import Note
from semcache.store.core import Core
from semcache.store.damage import PAGE_ERRORS
from semcache.store.invalidation import Invalidation
from semcache.store.scanning import labelled_ids

_PAGE_ROWS, _PAGE_BYTES = 64, 512 * 1024
"""Rows of a page and their bytes: to read and decode so many takes one or two milliseconds of the event loop."""


class LmdbEntries:
    """Stored answers on disk. Each read is one short LMDB transaction and returns without suspending."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def find_exact(self, exact_key: bytes, *, expired_s: float = 0.0) -> Entry | None:
        """Return the live entry under an exact key (32 bytes), or one that expired less than `expired_s` s ago."""
        try:
            with self._core.file.reading() as (txn, dbs):
                key = txn.get(exact_key, db=dbs.exact)
                row = None if key is None else txn.get(key, db=dbs.entries)
        except PAGE_ERRORS as error:
            self._core.damage.note([f"exact key {exact_key.hex()}"], str(error))
            return None
        if key is None or row is None:
            return None  # Without a row, the key is one that the deletion of a damaged entry has left behind.
        entry = self._core.live_entry(key, row, expired_s)
        if entry is not None and entry.exact_key != exact_key:
            self._core.damage.note([f"exact key {exact_key.hex()}"], "it leads to the entry of another request.")
            return None
        return entry

    async def get_many(self, entry_ids: Sequence[int]) -> Mapping[int, Entry]:
        """Return the live entries among `entry_ids`, by id, as of one moment; the others are left out."""
        keys = [layout.pack_id(entry_id) for entry_id in entry_ids if 0 < entry_id < 1 << 64]
        try:
            with self._core.file.reading() as (txn, dbs):
                rows = [(key, txn.get(key, db=dbs.entries)) for key in keys]
        except PAGE_ERRORS as error:
            self._core.damage.note([f"entries beside {keys[0].hex()}"], str(error))
            return {}
        return {
            entry.entry_id: entry
            for key, row in rows
            if row is not None and (entry := self._core.live_entry(key, row)) is not None
        }

    async def page(self, tenant: str, after: int, *, tag: str = "") -> EntryPage:
        """Return the next live entries of a tenant with an id above `after`, by id; of those with a tag where named.

        A page ends after `_PAGE_ROWS` rows, or with the row that makes it larger than `_PAGE_BYTES`.
        """
        prefix = layout.label_key(layout.LABEL_TAG if tag else layout.LABEL_TENANT, tenant, tag)
        entries: list[Entry] = []
        last_id, size_bytes = None, 0
        with self._core.damage.skipped(f"entries of tenant {tenant}"), self._core.file.reading() as (txn, dbs):
            for entry_id in labelled_ids(txn, dbs, prefix, after, _PAGE_ROWS):
                key = layout.pack_id(entry_id)
                row = txn.get(key, db=dbs.entries)
                last_id, size_bytes = entry_id, size_bytes + len(row or b"")
                entry = None if row is None else self._core.live_entry(key, row)
                if entry is not None and entry.tenant == tenant:
                    entries.append(entry)
                if size_bytes > _PAGE_BYTES:
                    break
        return EntryPage(entries, last_id)

    async def put(self, entry: Entry, vector: Vector | None, line: LedgerRecord | None = None) -> Entry:
        """Store `entry`, its vector and `line` in one commit; return the entry with its id once that is on disk.

        Args:
            entry: replaces the entry under its exact key; its `entry_id` is ignored.
            vector: unit vector of shape (dimension,), or None.
            line: the ledger line of the upstream call that this answer cost.

        Raises:
            StoreFullError: nothing was stored; `line` neither.
            OverloadedError: too many writes wait; nothing was stored.
            ShuttingDownError: the store is closed.
            ValueError: a key that isn't 32 bytes long, or a number out of range.
        """
        row = encode_entry(entry)
        note = None if line is None else Note(line, row=encode_record(line))
        stored: Entry = await self._core.writer.write(
            lambda group: group.put(entry, row, vector),
            note=note,
            growth_bytes=layout.entry_bytes(entry, len(row), 0 if vector is None else vector.nbytes),
        )
        return stored

    async def invalidate(self, selector: Selector, *, apply: bool) -> int:
        """Return how many live entries `selector` names; with `apply` they are gone, durably, when it returns.

        It works in slices of some hundred entries, one commit each, so that puts go on in between.
        """
        work = Invalidation(selector, self._core.clock.wall(), apply=apply)
        count: int = await self._core.writer.write(work.step, urgent=True, undo=work.undo)
        return count

    def subscribe(self, listener: Callable[[Changes], None]) -> None:
        """Call `listener` on the event loop after each commit that changed entries, before its writers are told."""
        self._core.writer.subscribe(listener)
