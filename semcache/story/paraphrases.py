"""Coalescing of paraphrases: a request waits for one in flight that means the same, as it would be served its entry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from semcache.coordination import Twin, Twins
from semcache.costs.account import Account
from semcache.errors import UpstreamError
from semcache.model import ZERO_COST, Answer, Candidate, Entry, KeyedRequest, Rejection, Status, Usage, Vector
from semcache.story.judging import Judging
from semcache.story.outcomes import Fetched, Found, Outcome
from semcache.story.rooms import Rooms
from semcache.story.rules import Servability
from semcache.upstream import Blame, blame

_NO_ANSWER = Answer(b"", "", "", Usage())


class Paraphrases:
    """Finds a request in flight whose answer the decision would allow, and waits for it."""

    def __init__(self, rooms: Rooms, servability: Servability, judging: Judging, twins: Twins[Outcome]) -> None:
        """Prepare it over the requests in flight (`twins`)."""
        self._entries = rooms.store.entries
        self._verdicts = rooms.store.verdicts
        self._decider = rooms.decider
        self._twins = twins
        self._servability = servability
        self._judging = judging

    async def wait(
        self, account: Account, keyed: KeyedRequest, vector: Vector, under_way: Sequence[Twin[Outcome]]
    ) -> Found | None:
        """Wait for a request in flight that means the same; None where there is none, or its answer can't be shared.

        It waits once, as long as the other's call takes. It shares the other's failure, unless the fault lay in the
        other's own text or in a route that isn't its own. An answer that may not be stored is not shared: whoever
        waited for it asks the upstream itself. It waits for no second one, or the last of many would wait for them all.

        Args:
            account: where the wait is noted.
            keyed: the request.
            vector: its embedding, unit length, shape (dimension,).
            under_way: the twins that were in flight before the request was searched for.

        Raises:
            UpstreamError: the other's failure.
        """
        twin, similarity = await self._find(keyed, vector, under_way)
        if twin is None:
            return None
        try:
            outcome = await twin.flight.outcome()
        except UpstreamError as error:
            if blame(error) is not Blame.REQUEST and _route(twin.keyed) == _route(keyed):
                raise
            return None
        finally:
            account.lap("wait")
        if not isinstance(outcome, Fetched) or not outcome.entry_id:
            return None
        entry = (await self._entries.get_many([outcome.entry_id])).get(outcome.entry_id)
        if entry is None:
            return None
        # A verdict may have come during the wait: the stored entry has it.
        refusal = partial(self._servability.refusal, keyed)
        candidates = [Candidate(entry, similarity)]
        decision = await self._judging.judge(self._decider.decide, keyed, candidates, vector, refusal)
        if decision.served is None:
            return None
        return Found(entry, replace(decision, reason="paraphrase_in_flight"), vector, Status.COALESCED)

    async def _find(
        self, keyed: KeyedRequest, vector: Vector, under_way: Sequence[Twin[Outcome]]
    ) -> tuple[Twin[Outcome] | None, float]:
        """Return a request in flight whose answer the decision would allow, were it stored, and the similarity to it.

        It looks at the twins that were there before the search, then at those that came meanwhile, until no look finds
        a new one. It returns without an await after its last look. So its caller registers in the same step: of two
        paraphrases, one always sees the other.
        """
        seen: set[Twin[Outcome]] = set()
        least_similarity = self._decider.least_similarity(keyed)
        while unseen := [twin for twin in (*under_way, *self._twins.of(keyed.partitions)) if twin not in seen]:
            seen.update(unseen)
            for twin in unseen:
                other = await twin.vector()
                if other is None or other.shape != vector.shape:
                    continue
                similarity = float(vector @ other)
                if similarity < least_similarity:  # The usual case, and there may be as many twins as calls.
                    continue
                rejections = await self._verdicts.rejections(twin.keyed.request.tenant, twin.keyed.exact_key)
                candidate = Candidate(_entry_of(twin.keyed, rejections), similarity)
                decision = await self._judging.judge(self._decider.decide, keyed, [candidate], vector, lambda _: "")
                if decision.served is not None:
                    return twin, similarity
        return None, 0.0


def _route(keyed: KeyedRequest) -> tuple[str, str]:
    """Return what chooses among the routes of an alias."""
    return keyed.task.task_type, keyed.task.complexity


def _entry_of(keyed: KeyedRequest, rejections: Sequence[Rejection]) -> Entry:
    """Return the entry that a request in flight will become, as far as the decision compares it."""
    return Entry(
        tenant=keyed.request.tenant,
        namespace=keyed.request.namespace,
        alias=keyed.alias,
        exact_key=keyed.exact_key,
        partition=keyed.partition,
        text=keyed.text,
        answer=_NO_ANSWER,
        cost=ZERO_COST,
        created_s=0.0,
        expires_s=0.0,
        rejections=tuple(rejections),
    )
