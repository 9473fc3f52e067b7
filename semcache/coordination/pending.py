"""Lookups that missed, remembered so that a later Store needs no second keying and no second embedding."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass

from semcache.model import KeyedRequest, Vector
from semcache.ports import Clock


@dataclass(frozen=True, slots=True)
class PendingLookup:
    """What a lookup found out about its request. `generation` is the invalidations' at that moment."""

    keyed: KeyedRequest
    vector: Vector | None
    generation: int
    request_id: str
    expires_s: float


class PendingLookups:
    """Bounded in number and time; the oldest leave first."""

    def __init__(self, clock: Clock, *, limit: int, ttl_s: float) -> None:
        self._clock = clock
        self._limit = limit
        self._ttl_s = ttl_s
        self._by_id: OrderedDict[str, PendingLookup] = OrderedDict()

    def __len__(self) -> int:
        """Lookups that are remembered."""
        return len(self._by_id)

    def remember(self, keyed: KeyedRequest, vector: Vector | None, generation: int, request_id: str) -> str:
        """Keep a lookup; returns its id."""
        now_s = self._clock.monotonic()
        while self._by_id and (len(self._by_id) >= self._limit or next(iter(self._by_id.values())).expires_s <= now_s):
            self._by_id.popitem(last=False)
        lookup_id = secrets.token_hex(16)
        self._by_id[lookup_id] = PendingLookup(keyed, vector, generation, request_id, now_s + self._ttl_s)
        return lookup_id

    def find(self, lookup_id: str, tenant: str) -> PendingLookup | None:
        """The lookup behind an id, None also for another tenant's. It stays: a Store may be sent again."""
        pending = self._by_id.get(lookup_id)
        if pending is None or pending.keyed.request.tenant != tenant or pending.expires_s <= self._clock.monotonic():
            return None
        return pending
