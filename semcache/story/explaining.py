"""Explain: what would happen to a request, and why. Nothing is served, stored or counted."""

from __future__ import annotations

from semcache.decision import detail
from semcache.model import Decision, Entry, Explanation, KeyedRequest, Request, Status, Task, Tier
from semcache.story.classifying import task_of_hit, with_task
from semcache.story.exact import ExactTier
from semcache.story.judge import Judge
from semcache.story.rooms import Rooms
from semcache.story.rules import status_upstream
from semcache.story.searching import Searching

_COUNTED_AT_ONCE = 2_048
"""Vectors counted in one slice: a millisecond or two."""


class Explaining:
    """Explains requests with the same steps that answer them."""

    def __init__(self, rooms: Rooms, exact: ExactTier, searching: Searching, judge: Judge) -> None:
        """Prepare it over the steps that it shows."""
        self._accounts = rooms.accounts
        self._embedder = rooms.embedder
        self._upstream = rooms.upstream
        self._vectors = rooms.store.vectors
        self._long_work = rooms.long_work
        self._exact = exact
        self._searching = searching
        self._judge = judge

    async def explain(self, request: Request, keyed: KeyedRequest) -> Explanation:
        """Return what would happen to a request, and why.

        Args:
            request: the request as its caller sent it.
            keyed: the same with its keys, and with its task as far as rules tell.
        """
        account = self._accounts.open_unrecorded(request)
        entry = await self._exact.find(keyed)
        decision: Decision | None = None
        size = 0
        if keyed.cacheability.tier is Tier.SEMANTIC:
            searched = await self._searching.search_all(account, keyed)
            if searched.vector is None:
                searched = await self._searching.classify(account, keyed)
            keyed, decision = searched.keyed, searched.decision
            decision = self._judge.foresee(keyed, decision) if decision is not None else None
            size = sum([await self._count(request.tenant, partition) for partition in keyed.partitions])
        status, reason, task = _ending(keyed, request, entry, decision)
        return Explanation(
            request_id=account.request_id,
            keyed=with_task(keyed, task),
            status=status,
            reason=reason,
            decision=decision,
            exact_entry_id=entry.entry_id if entry else 0,
            partition_entries=size,
            embedded_tokens=self._embedder.count_tokens(keyed.text) if decision is not None else 0,
            models=self._upstream.candidates(
                keyed.alias, task_type=keyed.task.task_type, complexity=keyed.task.complexity
            ),
            detail=detail(status, reason, decision),
        )

    async def _count(self, tenant: str, partition: bytes) -> int:
        """Return how many vectors lie in a partition, counted in slices with everything else in between."""
        total, after, count = 0, 0, _COUNTED_AT_ONCE
        while count == _COUNTED_AT_ONCE:
            await self._long_work.pause(tenant)
            count, after = await self._vectors.count(partition, after, _COUNTED_AT_ONCE)
            total += count
        return total


def _ending(
    keyed: KeyedRequest, request: Request, entry: Entry | None, decision: Decision | None
) -> tuple[Status, str, Task]:
    """Return status, reason and task as the request's caller would be told them."""
    status, reason = status_upstream(keyed, decision)
    if status is Status.MISS and entry is not None:
        return Status.EXACT_HIT, "exact_match", task_of_hit(request.said_task, entry)
    if status is Status.MISS and decision is not None and decision.served is not None:
        return Status.SEMANTIC_HIT, reason, task_of_hit(keyed.task, decision.served.candidate.entry)
    return status, reason, keyed.task
