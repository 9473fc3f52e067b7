"""Who waits for whom where several callers want one answer: leases, lookups that await their Store, invalidations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from semcache.model import Entry, KeyedRequest, Lease, Selector, Vector


@dataclass(frozen=True, slots=True)
class PendingLookup:
    """What a lookup that missed found out about its request.

    Attributes:
        keyed: the request with its keys.
        vector: its embedding, unit length, shape (dimension,); None when it wasn't embedded.
        generation: how many invalidations there had been when it was looked up.
    """

    keyed: KeyedRequest
    vector: Vector | None
    generation: int


class Coordination(Protocol):
    """What all processes over one store must agree on while requests run.

    An adapter within one process returns from each coroutine without suspending, but for `wait_for_lease`.
    """

    async def take_lease(self, tenant: str, exact_key: bytes, ttl_s: float) -> Lease | None:
        """Return a lease on a tenant's exact key for `ttl_s` seconds.

        It is None while the key's lease is held, and where the tenant holds most of too many.
        """
        ...

    async def wait_for_lease(self, exact_key: bytes) -> bool:
        """Wait until the key's lease is over and return True; return False at once when nobody holds it."""
        ...

    async def use_lease(self, lease_id: str, exact_key: bytes) -> None:
        """Check that the caller still holds the key's lease, before it stores.

        Raises:
            PreconditionFailedError: LEASE_EXPIRED, when the lease is over or was never given for this key.
        """
        ...

    async def release_lease(self, lease_id: str, exact_key: bytes) -> None:
        """End a lease, if it is still held: its waiters go on."""
        ...

    async def remember_lookup(self, pending: PendingLookup) -> str:
        """Keep a lookup for its Store, without the body of its request; return its id.

        Of too many lookups, the tenant that holds most loses its oldest.
        """
        ...

    async def find_lookup(self, lookup_id: str, tenant: str) -> PendingLookup | None:
        """Return the lookup behind an id; None when it is unknown, over, or another tenant's."""
        ...

    async def generation(self) -> int:
        """Return how many invalidations there have been."""
        ...

    async def invalidated(self, selector: Selector) -> int:
        """Note an invalidation, before it is applied; return the new generation."""
        ...

    async def names_since(self, generation: int, entry: Entry) -> bool:
        """Return whether an invalidation after `generation` names `entry`.

        True also when more of its tenant came than can be remembered.
        """
        ...

    def sizes(self) -> Mapping[str, int]:
        """Return how many `leases` and `lookups` are remembered."""
        ...
