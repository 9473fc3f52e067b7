"""The `Coordination` of one process: its callers share one event loop, so nothing needs a network."""

from __future__ import annotations

from collections.abc import Mapping

from semcache.coordination.invalidations import Invalidations
from semcache.coordination.leases import Leases
from semcache.coordination.pending import PendingLookups
from semcache.model import Entry, Lease, Selector
from semcache.ports import Clock, PendingLookup
from semcache.settings import LimitSettings


class LocalCoordination:
    """Leases, pending lookups and invalidations in this process's memory (see `ports.Coordination` for the promises).

    Args:
        clock: monotonic time decides what is over.
        limits: `pending_lookups` and `pending_lookup_bytes` bound leases and lookups, `lookup_ttl_s` their time.
    """

    def __init__(self, clock: Clock, limits: LimitSettings) -> None:
        self._leases = Leases(clock, limits.pending_lookups)
        self._lookups = PendingLookups(
            clock,
            limit=limits.pending_lookups,
            limit_bytes=limits.pending_lookup_bytes,
            ttl_s=limits.lookup_ttl_s,
        )
        self._invalidations = Invalidations()

    async def take_lease(self, tenant: str, exact_key: bytes, ttl_s: float) -> Lease | None:
        """Return a lease on a tenant's exact key for `ttl_s` seconds; None while it is held, or the tenant has most."""
        return self._leases.take(tenant, exact_key, ttl_s)

    async def wait_for_lease(self, exact_key: bytes) -> bool:
        """Wait until the key's lease is over and return True; return False at once when nobody holds it."""
        return await self._leases.wait(exact_key)

    async def use_lease(self, lease_id: str, exact_key: bytes) -> None:
        """Check that the caller still holds the key's lease; raise PreconditionFailedError LEASE_EXPIRED otherwise."""
        self._leases.use(lease_id, exact_key)

    async def release_lease(self, lease_id: str, exact_key: bytes) -> None:
        """End a lease, if it is still held."""
        self._leases.release(lease_id, exact_key)

    async def remember_lookup(self, pending: PendingLookup) -> str:
        """Keep a lookup for its Store; return its id."""
        return self._lookups.remember(pending)

    async def find_lookup(self, lookup_id: str, tenant: str) -> PendingLookup | None:
        """Return the lookup behind an id; None when it is unknown, over, or another tenant's."""
        return self._lookups.find(lookup_id, tenant)

    async def generation(self) -> int:
        """Return how many invalidations there have been."""
        return self._invalidations.generation

    async def invalidated(self, selector: Selector) -> int:
        """Note an invalidation; return the new generation."""
        return self._invalidations.add(selector)

    async def names_since(self, generation: int, entry: Entry) -> bool:
        """Return whether an invalidation after `generation` names `entry`."""
        return self._invalidations.name_since(generation, entry)

    def sizes(self) -> Mapping[str, int]:
        """Return how many `leases` and `lookups` are remembered."""
        return {"leases": len(self._leases), "lookups": len(self._lookups)}
