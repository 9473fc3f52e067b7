"""The port `Verdicts` over LMDB: hits as they were served, and what callers said of them."""

from __future__ import annotations

from semcache.errors import NotFoundError
from semcache.model import LedgerRecord, Rejection, ServedHit, Status
from semcache.store import layout
from semcache.store.codec import encode_record
from semcache.store.core import Core
from semcache.store.damage import served_hit
from semcache.store.transaction import WriteTransaction


class LmdbVerdicts:
    """Served hits on disk, and those that wait for their commit in the writer's memory."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def served(self, hit_id: str) -> ServedHit | None:
        """Return a hit as it was served, while it is remembered."""
        hit = self._core.writer.noted_served(hit_id)
        if hit is None:
            key = layout.served_key(hit_id)
            if key is None:
                return None
            row = None
            with self._core.damage.skipped(f"served hit {hit_id}"), self._core.file.reading() as (txn, dbs):
                row = txn.get(key, db=dbs.served)
            hit = None if row is None else self._core.damage.read(served_hit, key, row)
        return hit if hit is not None and self._core.is_remembered(hit) else None

    async def reject(self, hit_id: str, rejection: Rejection, verdict: str, line: LedgerRecord | None = None) -> bool:
        """Remember, durably, that the entry behind `hit_id` is wrong for such requests.

        An entry that is wrong for the very request that it was made for (an exact hit) is deleted.

        Returns:
            True, with `line` in the same commit, unless the same verdict was known already.

        Raises:
            NotFoundError: no such hit is remembered.
            StoreFullError: nothing was written.
        """
        row = None if line is None else encode_record(line)

        def apply(group: WriteTransaction) -> bool:
            hit = self._remembered(group, hit_id)
            entry = group.entry(hit.entry_id)
            if entry is not None:
                if hit.status is Status.EXACT_HIT or hit.exact_key == entry.exact_key:
                    group.delete(hit.entry_id)
                else:
                    group.add_rejection(hit.entry_id, rejection)
            group.set_verdict(hit, verdict)
            is_new = hit.verdict != verdict
            if is_new and line is not None and row is not None:
                group.log([(line, row)])
            return is_new

        is_new: bool = await self._core.writer.write(apply)
        return is_new

    async def confirm(self, hit_id: str, verdict: str) -> None:
        """Remember a verdict that needs no action, durably, unless there is one: a rejection isn't undone.

        Raises:
            NotFoundError: no such hit is remembered.
            StoreFullError: nothing was written.
        """

        def apply(group: WriteTransaction) -> None:
            hit = self._remembered(group, hit_id)
            if not hit.verdict:
                group.set_verdict(hit, verdict)

        await self._core.writer.write(apply)

    def _remembered(self, group: WriteTransaction, hit_id: str) -> ServedHit:
        hit = group.served(hit_id)
        if hit is None or not self._core.is_remembered(hit):
            raise NotFoundError(
                "no hit with this id is remembered.", hint="Verdicts are taken for as long as store.served_ttl_s says."
            )
        return hit
