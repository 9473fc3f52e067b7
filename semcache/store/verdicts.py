"""The port `Verdicts` over LMDB: hits as they were served, and what callers said of them."""

from __future__ import annotations

from collections.abc import Sequence

from semcache.errors import NotFoundError
from semcache.model import LedgerRecord, Rejection, ServedHit, Status
from semcache.store import layout
from semcache.store.codec import encode_record
from semcache.store.core import Core
from semcache.store.damage import served_hit
from semcache.store.rejections import RejectionRows
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

    async def rejections(self, tenant: str, exact_key: bytes) -> Sequence[Rejection]:
        """Return the requests for which a request's answer is wrong by a verdict, whether its entry is stored or not.

        It returns without suspending.
        """
        core = self._core
        rejections: list[Rejection] = []
        with core.damage.skipped(f"rejections of {exact_key.hex()}"), core.file.reading() as (txn, dbs):
            rejections += RejectionRows(txn, dbs, core.damage).of(tenant, exact_key)
        return rejections

    async def reject(self, hit_id: str, rejection: Rejection, verdict: str, line: LedgerRecord | None = None) -> bool:
        """Remember, durably, that the answer behind `hit_id` is wrong for such requests, for `store.served_ttl_s`.

        It holds in both directions between the two requests, for their entries of now and for those to come. An entry
        that is wrong for the very request that it was made for (an exact hit) is deleted.

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
            entry_key = hit.entry_key if entry is None else entry.exact_key
            if hit.status is Status.EXACT_HIT or hit.exact_key == entry_key:
                group.delete(hit.entry_id)
            elif entry_key:  # It is unknown of a hit that an older semcache served, once the entry is gone.
                ends_s = self._core.clock.wall() + self._core.settings.served_ttl_s
                group.reject(hit.tenant, entry_key, rejection, ends_s)
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
