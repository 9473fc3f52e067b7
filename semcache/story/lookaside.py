"""The look-aside API: stacks that generate answers themselves look here first and store what they made."""

from __future__ import annotations

from semcache.costs.account import Account
from semcache.errors import InvalidRequestError, PreconditionFailedError
from semcache.model import Deposit, Deposited, KeyedRequest, LookupResult, Request, Response, Status, Tier, Vector
from semcache.ports import PendingLookup
from semcache.story.answers import Answers
from semcache.story.classifying import Classifying
from semcache.story.exact import ExactTier
from semcache.story.filling import Filling
from semcache.story.rooms import Rooms
from semcache.story.rules import key_request, miss_reason
from semcache.story.searching import Searched, Searching


class LookAside:
    """Lookup and Store."""

    def __init__(
        self,
        rooms: Rooms,
        *,
        exact: ExactTier,
        classifying: Classifying,
        searching: Searching,
        filling: Filling,
        answers: Answers,
    ) -> None:
        """Prepare it over the steps of the story that it shares with `SemanticCache.complete`."""
        self._accounts = rooms.accounts
        self._coordination = rooms.coordination
        self._embedder = rooms.embedder
        self._keying = rooms.keying
        self._long_work = rooms.long_work
        self._exact = exact
        self._classifying = classifying
        self._searching = searching
        self._filling = filling
        self._answers = answers

    async def lookup(self, request: Request, *, lease_s: float | None, waits: bool) -> LookupResult:
        """Look for an answer and ask no upstream.

        While another caller holds a lease on the same request, a miss waits until that lease ends, and looks again.

        Args:
            request: the request.
            lease_s: how long a lease is wanted for, in seconds; None: none.
            waits: whether to wait for another's lease.
        """
        with self._accounts.open(request) as account:
            keyed = await key_request(self._keying, self._long_work, account, request)
            if keyed.cacheability.tier is Tier.NONE:
                reason = keyed.cacheability.reason
                account.end_as_lookup(Status.BYPASS, reason=reason)
                return LookupResult(self._answers.without_answer(account, Status.BYPASS, reason))
            while True:
                generation = await self._coordination.generation()
                hit, searched = await self._look(account, keyed)
                if hit is not None:
                    return LookupResult(hit)
                if not waits or not await self._coordination.wait_for_lease(keyed.exact_key):
                    break
                account.lap("lease")
            lease = None
            if lease_s is not None:
                lease = await self._coordination.take_lease(request.tenant, keyed.exact_key, lease_s)
            pending = PendingLookup(searched.keyed, searched.vector, generation)
            lookup_id = await self._coordination.remember_lookup(pending)
            reason = miss_reason(keyed, searched.decision)
            account.end_as_lookup(Status.MISS, reason=reason)
            response = self._answers.without_answer(account, Status.MISS, reason, searched.decision)
            return LookupResult(response, lookup_id, lease)

    async def recall(self, tenant: str, lookup_id: str) -> KeyedRequest:
        """Return the request of a lookup that missed.

        Raises:
            PreconditionFailedError: LOOKUP_FORGOTTEN, also for another tenant's id.
        """
        pending = await self._coordination.find_lookup(lookup_id, tenant)
        if pending is None:
            raise PreconditionFailedError(
                "The lookup id is unknown or was forgotten.",
                reason="LOOKUP_FORGOTTEN",
                hint="Send the request itself with the Store.",
            )
        return pending.keyed

    async def store(self, deposit: Deposit) -> Deposited:
        """Store a caller's own answer; return when it is durable.

        Raises:
            InvalidRequestError: LOOKUP_MISMATCH, FINGERPRINT_MISMATCH, EMBEDDING_MISMATCH.
            PreconditionFailedError: LEASE_EXPIRED.
            StoreFullError, OverloadedError: nothing was stored.
        """
        keyed, vector = deposit.keyed, deposit.vector
        generation = await self._coordination.generation()
        pending = await self._coordination.find_lookup(deposit.lookup_id, keyed.request.tenant)
        if pending is not None:
            if pending.keyed.exact_key != keyed.exact_key:
                raise InvalidRequestError("The lookup id belongs to another request.", reason="LOOKUP_MISMATCH")
            generation = pending.generation
        if vector is not None:
            self._check_vector(vector, deposit.fingerprint)
        elif pending is not None:
            vector = pending.vector
        if not deposit.lease_id:
            return await self._deposit(deposit, vector, generation)
        await self._coordination.use_lease(deposit.lease_id, keyed.exact_key)
        try:
            return await self._deposit(deposit, vector, generation)
        finally:
            await self._coordination.release_lease(deposit.lease_id, keyed.exact_key)

    async def _deposit(self, deposit: Deposit, vector: Vector | None, generation: int) -> Deposited:
        request_id = self._accounts.new_id()
        return await self._filling.deposit(deposit, request_id=request_id, vector=vector, generation=generation)

    async def _look(self, account: Account, keyed: KeyedRequest) -> tuple[Response | None, Searched]:
        """Return the hit, or what the semantic tier found out on the way to a miss."""
        entry = await self._exact.look(account, keyed)
        if entry is not None:
            return self._answers.serve_exact(account, keyed, entry), Searched(keyed)
        searched = await self._searching.search(account, self._classifying.by_rule(account, keyed))
        if searched.found is None:
            return None, searched
        return self._answers.serve_found(account, searched.keyed, searched.found), searched

    def _check_vector(self, vector: Vector, fingerprint: str) -> None:
        if fingerprint != self._embedder.fingerprint or vector.shape != (self._embedder.dimension,):
            raise InvalidRequestError(
                "The embedding was made by another embedder than the server's, or has another dimension.",
                reason="FINGERPRINT_MISMATCH",
                hint="GetStats names the server's embedder; or send no embedding.",
            )
