"""Corrections of what is cached: verdicts on hits, and invalidations."""

from __future__ import annotations

from semcache.errors import NotFoundError
from semcache.model import Invalidated, Rejection, Selector, ServedHit, VerdictOutcome
from semcache.story.rooms import Rooms


class Corrections:
    """Takes verdicts and invalidations."""

    def __init__(self, rooms: Rooms) -> None:
        """Prepare it over the store, the invalidations under way, and the books."""
        self._store = rooms.store
        self._coordination = rooms.coordination
        self._accounts = rooms.accounts

    async def report_verdict(self, tenant: str, hit_id: str, *, right: bool) -> VerdictOutcome:
        """Tie a caller's verdict to a hit. Wrong: the entry isn't served to such a request again, durably.

        Raises:
            NotFoundError: HIT_NOT_FOUND, also for another tenant's hit.
        """
        served = await self._store.verdicts.served(hit_id)
        if served is None or served.tenant != tenant:
            raise NotFoundError(
                "No such hit is remembered.",
                reason="HIT_NOT_FOUND",
                hint="Verdicts are taken for as long as store.served_ttl_s says.",
            )
        if right:
            await self._store.verdicts.confirm(hit_id, "right")
        else:
            await self._reject(served)
        self._accounts.metrics.verdict_reported("right" if right else "wrong", tenant)
        removed = not right and not await self._store.entries.get_many([served.entry_id])
        return VerdictOutcome(served, removed)

    async def invalidate(self, selector: Selector, *, apply: bool) -> Invalidated:
        """Count the live entries that `selector` names.

        With `apply` they are gone when this returns, and an answer in flight that it names isn't stored.
        """
        if not apply:
            count = await self._store.entries.invalidate(selector, apply=False)
            return Invalidated(count, await self._coordination.generation())
        generation = await self._coordination.invalidated(selector)
        return Invalidated(await self._store.entries.invalidate(selector, apply=True), generation)

    async def _reject(self, served: ServedHit) -> None:
        await self._store.ledger.flush()  # The verdict's line joins the hit's own, which may not be on disk yet.
        entry = (await self._store.entries.get_many([served.entry_id])).get(served.entry_id)
        line = await self._accounts.wrong_hit(served, entry)
        rejection = Rejection(served.exact_key, served.vector)
        if await self._store.verdicts.reject(served.hit_id, rejection, "wrong", line):
            self._accounts.metrics.request_done(line, (), "wrong_hit")
