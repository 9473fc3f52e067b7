"""Leases of the look-aside API: who looks up a key first may generate its answer; others wait until it is stored."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass

from semcache.errors import PreconditionFailedError
from semcache.ports import Clock


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to generate the answer for one exact key, until a moment (monotonic seconds)."""

    lease_id: str
    exact_key: bytes
    expires_s: float


class Leases:
    """Leases by exact key (tenant included in the key)."""

    def __init__(self, clock: Clock, limit: int) -> None:
        self._clock = clock
        self._limit = limit
        self._held: dict[bytes, tuple[Lease, asyncio.Event]] = {}

    def __len__(self) -> int:
        """Leases that are remembered."""
        return len(self._held)

    def take(self, exact_key: bytes, ttl_s: float) -> Lease | None:
        """A lease for the key; None while another holds it, or when too many are held."""
        held = self._held.get(exact_key)
        if held is not None:
            if held[0].expires_s > self._clock.monotonic():
                return None
            self._end(held[0])
        if len(self._held) >= self._limit:
            return None
        lease = Lease(secrets.token_hex(16), exact_key, self._clock.monotonic() + ttl_s)
        self._held[exact_key] = (lease, asyncio.Event())
        asyncio.get_running_loop().call_later(ttl_s, self._end, lease)
        return lease

    def held(self, exact_key: bytes) -> bool:
        """Whether somebody holds the key's lease."""
        return exact_key in self._held

    async def wait(self, exact_key: bytes) -> None:
        """Wait until the key's lease is over; at once when nobody holds it."""
        held = self._held.get(exact_key)
        if held is not None:
            await held[1].wait()

    def use(self, lease_id: str, exact_key: bytes) -> None:
        """End a lease by its holder's Store.

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
        """Let the waiters go: the answer is stored, or won't be."""
        held = self._held.get(exact_key)
        if held is not None and held[0].lease_id == lease_id:
            self._end(held[0])

    def _end(self, lease: Lease) -> None:
        held = self._held.get(lease.exact_key)
        if held is not None and held[0] is lease:
            del self._held[lease.exact_key]
            held[1].set()
