"""Hits as they were served, and what callers said of them."""

from __future__ import annotations

from typing import Protocol

from semcache.model import LedgerRecord, Rejection, ServedHit


class Verdicts(Protocol):
    """What was served is kept for `store.served_ttl_s`, so that a verdict can be tied to it."""

    async def served(self, hit_id: str) -> ServedHit | None:
        """Return a hit as it was served, while it is remembered."""
        ...

    async def reject(self, hit_id: str, rejection: Rejection, verdict: str, line: LedgerRecord | None = None) -> bool:
        """Remember, durably, that the entry behind `hit_id` is wrong for such requests.

        An entry that is wrong for the very request that it was made for (an exact hit) is deleted.

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
