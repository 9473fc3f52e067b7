"""One invalidation as work in slices: it finds its entries by the narrowest label, and puts go on between slices."""

from __future__ import annotations

from collections.abc import Iterator

from semcache.model import Selector
from semcache.store import layout
from semcache.store.commit_group import UNFINISHED
from semcache.store.transaction import WriteTransaction

ENTRIES_PER_SLICE = 256
"""Entries looked at in one commit group, so that a large invalidation doesn't hold up a put."""


class Invalidation:
    """Counts the entries that a selector names, and deletes them with `apply`. Entries stored after its start stay."""

    def __init__(self, selector: Selector, now_s: float, *, apply: bool) -> None:
        self._selector = selector
        self._now_s = now_s
        self._apply = apply
        self._count = 0
        self._end_id: int | None = None
        self._seen: set[int] = set()
        self._prefixes = list(_prefixes(selector))
        self._after = 0
        self._ids = sorted({entry_id for entry_id in selector.entry_ids if 0 < entry_id < 1 << 64})
        self._before = self._place()

    def _place(self) -> tuple[int, list[bytes], int, list[int]]:
        return self._count, list(self._prefixes), self._after, self._ids

    def undo(self) -> None:
        """Go back to before the last slice, whose group could not be committed. What was only counted stays counted."""
        if self._apply:
            self._count, self._prefixes, self._after, self._ids = self._before
            self._before = self._place()

    def step(self, group: WriteTransaction) -> object:
        """Do one slice; return UNFINISHED, or how many live entries matched once no slice is left."""
        self._before = self._place()
        if self._end_id is None:
            self._end_id = group.counters.next_entry_id
        ids = self._next_ids(group)
        for entry_id in ids:
            self._handle(group, entry_id)
        return UNFINISHED if ids else self._count

    def _next_ids(self, group: WriteTransaction) -> list[int]:
        if self._selector.entry_ids:
            ids, self._ids = self._ids[:ENTRIES_PER_SLICE], self._ids[ENTRIES_PER_SLICE:]
            return ids
        while self._prefixes:
            ids = group.labelled_ids(self._prefixes[0], self._after, ENTRIES_PER_SLICE)
            if ids and self._end_id is not None and ids[0] < self._end_id:
                self._after = ids[-1]
                return ids
            self._prefixes.pop(0)
            self._after = 0
        return []

    def _handle(self, group: WriteTransaction, entry_id: int) -> None:
        if self._end_id is None or entry_id >= self._end_id or entry_id in self._seen:
            return
        entry = group.entry(entry_id)
        if entry is None or not self._selector.matches(entry):
            return
        self._count += entry.expires_s > self._now_s
        if self._apply:
            group.delete(entry_id)
        elif len(self._selector.tags) + len(self._selector.sources) > 1:
            self._seen.add(entry_id)  # Another of the labels may lead to it again.


def _prefixes(selector: Selector) -> Iterator[bytes]:
    if selector.tags:
        for tag in dict.fromkeys(selector.tags):
            yield layout.label_key(layout.LABEL_TAG, selector.tenant, tag)
    elif selector.sources:
        for source in dict.fromkeys(selector.sources):
            yield layout.label_key(layout.LABEL_SOURCE, selector.tenant, source)
    else:
        yield layout.label_key(layout.LABEL_TENANT, selector.tenant, "")
