"""Lookups that missed, remembered so that a later Store needs no second keying and no second embedding."""

from __future__ import annotations

import secrets
from collections import OrderedDict

from semcache.ports import Clock, PendingLookup


class PendingLookups:
    """Lookups by id, bounded in number and time; the oldest leave first. Belongs to the event loop.

    Args:
        clock: monotonic time decides when a lookup is over.
        limit: how many are remembered.
        ttl_s: for how long, in seconds.
    """

    def __init__(self, clock: Clock, *, limit: int, ttl_s: float) -> None:
        self._clock = clock
        self._limit = limit
        self._ttl_s = ttl_s
        self._by_id: OrderedDict[str, tuple[PendingLookup, float]] = OrderedDict()

    def __len__(self) -> int:
        """Lookups that are remembered."""
        return len(self._by_id)

    def remember(self, pending: PendingLookup) -> str:
        """Keep a lookup; return its id."""
        now_s = self._clock.monotonic()
        while self._by_id and (len(self._by_id) >= self._limit or next(iter(self._by_id.values()))[1] <= now_s):
            self._by_id.popitem(last=False)
        lookup_id = secrets.token_hex(16)
        self._by_id[lookup_id] = pending, now_s + self._ttl_s
        return lookup_id

    def find(self, lookup_id: str, tenant: str) -> PendingLookup | None:
        """Return the lookup behind an id, None for another tenant's. It stays: a Store may be sent again."""
        pending, expires_s = self._by_id.get(lookup_id, (None, 0.0))
        if pending is None or pending.keyed.request.tenant != tenant or expires_s <= self._clock.monotonic():
            return None
        return pending
