"""Stored answers: found by exact key or id, written with their ledger line, invalidated, followed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from semcache.model import Changes, Entry, LedgerRecord, Selector, Vector


class EntryPage(NamedTuple):
    """A page of a tenant's entries.

    Attributes:
        entries: the live ones that were asked for, by id.
        last_id: the last id that was looked at; None where there are no more.
    """

    entries: Sequence[Entry]
    last_id: int | None


class Entries(Protocol):
    """Stored answers. A read returns only live entries: one that has expired or is damaged counts as absent.

    `find_exact` alone returns one that has expired, where it is asked to.

    A back end whose reads need no waiting (memory, LMDB) returns from the coroutine without suspending, so that an
    `await` costs no task switch.
    """

    async def find_exact(self, exact_key: bytes, *, expired_s: float = 0.0) -> Entry | None:
        """Return the live entry under an exact key (32 bytes), or one that expired less than `expired_s` seconds ago.

        A store keeps expired entries for `store.serve_stale_s` at least; after that a sweep deletes them.
        """
        ...

    async def get_many(self, entry_ids: Sequence[int]) -> Mapping[int, Entry]:
        """Return the live entries among `entry_ids`, by id; the others are left out."""
        ...

    async def page(self, tenant: str, after: int, *, tag: str = "") -> EntryPage:
        """Return the next live entries of a tenant with an id above `after`, by id, and where the next page begins.

        A page takes about a millisecond to read, so it may be empty though others follow.

        Args:
            tenant: whose entries.
            after: 0 for the first page, then the `last_id` of the page before.
            tag: where it isn't empty, only entries with this tag.
        """
        ...

    async def put(self, entry: Entry, vector: Vector | None, line: LedgerRecord | None = None) -> Entry:
        """Store `entry` and its vector, replacing the entry under its exact key; durable when it returns.

        This is the unit of work. Where `Capabilities.unit_of_work` is set, `line` is written in the same commit.
        Elsewhere it is durable before the entry can be read.

        Args:
            entry: its `entry_id` is ignored.
            vector: unit vector of shape (dimension,), or None for an entry that is found by its exact key alone.
            line: the ledger line of the upstream call that this answer cost.

        Returns:
            The entry with its id.

        Raises:
            StoreFullError: nothing was stored; `line` neither.
            OverloadedError: too many writes wait; nothing was stored.
            ValueError: a key that isn't 32 bytes long, or a number out of range.
        """
        ...

    async def invalidate(self, selector: Selector, *, apply: bool) -> int:
        """Return how many live entries `selector` names; with `apply` they are gone, durably, when it returns."""
        ...

    def subscribe(self, listener: Callable[[Changes], None]) -> None:
        """Call `listener` on the event loop after each commit that changed entries, before its writers are told."""
        ...
