"""Lookups that missed, remembered so that a later Store needs no second keying and no second embedding."""

from __future__ import annotations

import secrets
from dataclasses import replace

from semcache.fair_memory import FairMemory
from semcache.ports import Clock, PendingLookup

_OVERHEAD_BYTES = 2_500
"""Bytes of the objects of one lookup beside its texts and its vector, by tracemalloc on typical lookups."""


class PendingLookups:
    """Lookups by id, bounded in number, bytes and time. Belongs to the event loop.

    When there are too many, the tenant that holds most loses its oldest one.

    Args:
        clock: monotonic time decides when a lookup is over.
        limit: how many are remembered.
        limit_bytes: how much memory they may take, estimated.
        ttl_s: for how long, in seconds.
    """

    def __init__(self, clock: Clock, *, limit: int, limit_bytes: int, ttl_s: float) -> None:
        self._clock = clock
        self._ttl_s = ttl_s
        self._by_id: FairMemory[str, tuple[PendingLookup, float]] = FairMemory(max_items=limit, max_bytes=limit_bytes)

    def __len__(self) -> int:
        """Lookups that are remembered."""
        return len(self._by_id)

    def remember(self, pending: PendingLookup) -> str:
        """Keep a lookup, without the body of its request, which no Store needs; return its id."""
        now_s = self._clock.monotonic()
        while (oldest := self._by_id.oldest()) is not None and oldest[1][1] <= now_s:
            self._by_id.pop(oldest[0])
        request = replace(pending.keyed.request, body=b"")
        pending = replace(pending, keyed=replace(pending.keyed, request=request))
        lookup_id = secrets.token_hex(16)
        self._by_id.put(request.tenant, lookup_id, (pending, now_s + self._ttl_s), _size(pending))
        return lookup_id

    def find(self, lookup_id: str, tenant: str) -> PendingLookup | None:
        """Return the lookup behind an id, None for another tenant's. It stays: a Store may be sent again."""
        pending, expires_s = self._by_id.get(lookup_id) or (None, 0.0)
        if pending is None or pending.keyed.request.tenant != tenant or expires_s <= self._clock.monotonic():
            return None
        return pending


def _size(pending: PendingLookup) -> int:
    request, template = pending.keyed.request, pending.keyed.request.template
    slots = sum([len(name) + len(value) for name, value in template.slots]) if template is not None else 0
    names = sum(map(len, (*request.tags, *request.sources)))
    vector_bytes = 0 if pending.vector is None else pending.vector.nbytes
    return _OVERHEAD_BYTES + 4 * (len(pending.keyed.text) + slots) + names + vector_bytes
