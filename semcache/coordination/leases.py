"""Leases of the look-aside API: who looks up a key first may generate its answer; others wait until it is stored."""

from __future__ import annotations

import asyncio
import secrets

from semcache.errors import PreconditionFailedError
from semcache.fair_memory import FairMemory
from semcache.model import Lease
from semcache.ports import Clock

_LEASE_BYTES = 1_000
"""Bytes of one lease's objects."""


class Leases:
    """Leases by exact key (the tenant is part of the key). Belongs to the event loop.

    When too many are held, the tenant that holds most gets no more. For another tenant's sake its oldest one ends.

    Args:
        clock: monotonic time decides when a lease is over.
        limit: how many leases may be held.
    """

    def __init__(self, clock: Clock, limit: int) -> None:
        self._clock = clock
        self._held: FairMemory[bytes, tuple[Lease, asyncio.Event]] = FairMemory(
            max_items=limit, max_bytes=limit * _LEASE_BYTES, on_forgotten=lambda _, __, held: held[1].set()
        )

    def __len__(self) -> int:
        """Leases that are remembered."""
        return len(self._held)

    def take(self, tenant: str, exact_key: bytes, ttl_s: float) -> Lease | None:
        """Return a lease for a tenant's key; None while another holds it, or when the tenant holds too many."""
        held = self._held.get(exact_key)
        if held is not None:
            if held[0].expires_s > self._clock.monotonic():
                return None
            self._end(held[0])
        if self._held.is_full and self._held.largest == tenant:
            return None
        lease = Lease(secrets.token_hex(16), exact_key, self._clock.monotonic() + ttl_s)
        self._held.put(tenant, exact_key, (lease, asyncio.Event()), _LEASE_BYTES)
        asyncio.get_running_loop().call_later(ttl_s, self._end, lease)
        return lease

    async def wait(self, exact_key: bytes) -> bool:
        """Wait until the key's lease is over and return True; return False at once when nobody holds it."""
        held = self._held.get(exact_key)
        if held is None:
            return False
        await held[1].wait()
        return True

    def use(self, lease_id: str, exact_key: bytes) -> None:
        """Check that the lease is held, before its holder stores.

        Raises:
            PreconditionFailedError: LEASE_EXPIRED, when the lease is over or was never given for this key.
        """
        held = self._held.get(exact_key)
        if held is None or held[0].lease_id != lease_id or held[0].expires_s <= self._clock.monotonic():
            raise PreconditionFailedError(
                "The lease has ended, so another caller may be generating this answer.",
                reason="LEASE_EXPIRED",
                hint="Look the request up again, or store without a lease.",
            )

    def release(self, lease_id: str, exact_key: bytes) -> None:
        """End the lease if it is held: the answer is stored, or won't be. Its waiters go on."""
        held = self._held.get(exact_key)
        if held is not None and held[0].lease_id == lease_id:
            self._end(held[0])

    def _end(self, lease: Lease) -> None:
        held = self._held.get(lease.exact_key)
        if held is not None and held[0] is lease:
            self._held.pop(lease.exact_key)
            held[1].set()
