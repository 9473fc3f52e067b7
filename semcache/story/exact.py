"""The exact tier: entries by exact key, decoded entries kept in memory over the store."""

from __future__ import annotations

from semcache.costs.account import Account
from semcache.decision import Repeats
from semcache.fair_memory import FairMemory
from semcache.model import Changes, Entry, KeyedRequest, Tier
from semcache.ports import Clock, Entries
from semcache.story.rules import Servability, may_read

_ENTRY_OVERHEAD_BYTES = 2_000
"""Bytes of an Entry's objects beside its text and answer, by tracemalloc on typical entries."""


class ExactTier:
    """Finds an entry by exact key.

    It follows the store's commits, so that a removed or rewritten entry isn't served again from memory.

    Args:
        entries: the stored entries.
        clock: wall time decides what has expired.
        servability: whether an entry may be served to a request.
        repeats: is told of each hit that the semantic tier could have had.
        max_bytes: estimated memory that decoded entries may take. Of too many, the tenant that holds most loses the one
            that it used longest ago.
    """

    def __init__(
        self, entries: Entries, clock: Clock, servability: Servability, repeats: Repeats, max_bytes: int
    ) -> None:
        self._stored = entries
        self._clock = clock
        self._servability = servability
        self._repeats = repeats
        self._entries: FairMemory[bytes, Entry] = FairMemory(
            max_items=max_bytes // _ENTRY_OVERHEAD_BYTES,
            max_bytes=max_bytes,
            on_forgotten=self._forget,
        )
        self._keys: dict[int, bytes] = {}
        self._commits = 0
        entries.subscribe(self._follow)

    async def look(self, account: Account, keyed: KeyedRequest) -> Entry | None:
        """Return the entry to serve where the request may read the cache, and note the stage in its account."""
        entry = await self.find(keyed) if may_read(keyed) else None
        if entry is not None and keyed.cacheability.tier is Tier.SEMANTIC:
            self._repeats.note(keyed.request.tenant, keyed.request.namespace, has_near=True)
        account.lap("exact")
        return entry

    async def find(self, keyed: KeyedRequest) -> Entry | None:
        """Return the live entry under the request's exact key, if it may be served to it."""
        if keyed.cacheability.tier is Tier.NONE:
            return None
        entry = await self._find(keyed.exact_key)
        return entry if entry is not None and not self._servability.refusal(keyed, entry) else None

    @property
    def size_bytes(self) -> int:
        """Estimated memory of the decoded entries."""
        return self._entries.size_bytes

    async def _find(self, exact_key: bytes) -> Entry | None:
        entry = self._entries.use(exact_key)
        if entry is None:
            commits = self._commits
            entry = await self._stored.find_exact(exact_key)
            # A commit during the read may have removed the entry: `_follow` could not drop what wasn't kept yet.
            if entry is not None and commits == self._commits:
                self._keep(entry)
            return entry
        if entry.expires_s <= self._clock.wall():
            self._drop(exact_key)
            return None
        return entry

    def _keep(self, entry: Entry) -> None:
        self._drop(entry.exact_key)
        self._keys[entry.entry_id] = entry.exact_key
        self._entries.put(entry.tenant, entry.exact_key, entry, _size(entry))

    def _forget(self, tenant: str, exact_key: bytes, entry: Entry) -> None:
        del tenant, exact_key
        self._keys.pop(entry.entry_id, None)

    def _drop(self, exact_key: bytes) -> None:
        entry = self._entries.pop(exact_key)
        if entry is not None:
            self._keys.pop(entry.entry_id, None)

    def _follow(self, changes: Changes) -> None:
        self._commits += 1
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
