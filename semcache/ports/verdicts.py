"""Hits as they were served, and what callers said of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from semcache.model import LedgerRecord, Rejection, ServedHit


class Verdicts(Protocol):
    """What was served, and what was said of it, are kept for `store.served_ttl_s` each."""

    async def served(self, hit_id: str) -> ServedHit | None:
        """Return a hit as it was served, while it is remembered."""
        ...

    async def rejections(self, tenant: str, exact_key: bytes) -> Sequence[Rejection]:
        """Return the requests for which a request's answer is wrong by a verdict, whether its entry is stored or not.

        Args:
            tenant: the tenant of all of them.
            exact_key: of the request whose answer would be served, 32 bytes.
        """
        ...

    async def reject(self, hit_id: str, rejection: Rejection, verdict: str, line: LedgerRecord | None = None) -> bool:
        """Remember, durably, that the answer behind `hit_id` is wrong for such requests, for `store.served_ttl_s`.

        It holds in both directions between the two requests, for their entries of now and for those to come:
        re-stores, invalidations, evictions and expiries leave it alone. Of one request the latest 64 are kept. An entry
        that is wrong for the very request that it was made for (an exact hit) is deleted.

        Returns:
            True, with `line` in the same commit, unless the same verdict was known already.

        Raises:
            NotFoundError: no such hit is remembered.
        """
        ...

    async def confirm(self, hit_id: str, verdict: str) -> None:
        """Remember a verdict that needs no action, durably, unless there is one: a rejection isn't undone.

        Raises:
            NotFoundError: no such hit is remembered.
        """
        ...
