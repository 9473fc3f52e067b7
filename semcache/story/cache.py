"""The story of a request: keyed, looked up exactly, coalesced, embedded, searched, decided, forwarded, stored, priced.

Every other module does one step of it; the branching is here.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import structlog

from semcache.coordination import Flight, Flights, Invalidations, Lease, Leases, PendingLookups, Twin, Twins
from semcache.costs.accounts import Account, Accounts
from semcache.decision import Decider
from semcache.errors import (
    EmbeddingFailedError,
    InvalidRequestError,
    NotFoundError,
    PreconditionFailedError,
    UpstreamError,
)
from semcache.model import (
    ZERO_COST,
    Answer,
    CacheMode,
    Candidate,
    Decision,
    Deposit,
    Deposited,
    Entry,
    Explanation,
    Finished,
    KeyedRequest,
    Neighbour,
    Rejection,
    Request,
    Response,
    Selector,
    ServedHit,
    Started,
    Status,
    Task,
    Tier,
    Usage,
    Vector,
)
from semcache.ports import Clock, Embedder, EntryStore, Upstream, VectorIndex
from semcache.request import Keying, Tasks
from semcache.settings import Settings
from semcache.story.exact import ExactTier
from semcache.story.filling import Fetched, Filling
from semcache.upstream import Blame, blame, replay_chunks

_log = structlog.get_logger(__name__)
_NO_ANSWER = Answer(b"", "", "", Usage())


@dataclass(frozen=True, slots=True)
class Found:
    """The semantic tier's answer to a flight: an entry that the decision allows.

    `status` is COALESCED when the entry was made while the flight waited for a request that means the same.
    """

    entry: Entry
    decision: Decision
    vector: Vector
    status: Status = Status.SEMANTIC_HIT


@dataclass(frozen=True, slots=True)
class NotCached:
    """No answer, and the caller wanted none from elsewhere."""

    decision: Decision | None


Outcome = Found | Fetched | NotCached


class SemanticCache:
    """Answers requests from earlier, equivalent ones when it has good reason to, and forwards them when it hasn't."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        keying: Keying,
        tasks: Tasks,
        store: EntryStore,
        embedder: Embedder,
        index: VectorIndex,
        decider: Decider,
        upstream: Upstream,
        accounts: Accounts,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._keying = keying
        self._tasks = tasks
        self._store = store
        self._embedder = embedder
        self._index = index
        self._decider = decider
        self._upstream = upstream
        self._accounts = accounts
        self._exact = ExactTier(store, clock, settings.store.exact_cache_bytes)
        self._flights: Flights[Outcome] = Flights()
        self._twins: Twins[Outcome] = Twins()
        self._leases = Leases(clock, settings.limits.pending_lookups)
        self._pending = PendingLookups(clock, limit=settings.limits.pending_lookups, ttl_s=settings.limits.lookup_ttl_s)
        self._invalidations = Invalidations()
        self._filling = Filling(
            settings=settings,
            clock=clock,
            store=store,
            embedder=embedder,
            decider=decider,
            upstream=upstream,
            accounts=accounts,
            invalidations=self._invalidations,
        )
        store.subscribe(index.apply)

    # -- read-through ------------------------------------------------------------------------------------------------

    async def complete(self, request: Request) -> Response:
        """Answer from the cache when the decision allows, else from the upstream, and store that.

        Raises:
            SemcacheError: see the errors of each step; nothing is stored then.
        """
        with self._accounts.open(request) as account:
            keyed = self._key(account, request)
            entry = self._find_exact(account, keyed)
            if entry is not None:
                return self._serve(account, keyed, entry)
            keyed = self._classify(account, keyed)
            flight, leads = self._join_or_lead(account, keyed, streams=False)
            return self._respond(account, keyed, await flight.outcome(), leads=leads)

    async def stream(self, request: Request) -> AsyncIterator[Started | bytes | Finished]:
        """The same as a stream: `Started`, chunks of `chat.completion.chunk` JSON, `Finished`; live and replayed alike.

        Raises:
            SemcacheError: as `complete`; also between chunks, when the upstream fails half-way.
        """
        with self._accounts.open(request) as account:
            keyed = self._key(account, request)
            entry = self._find_exact(account, keyed)
            if entry is not None:
                response = self._serve(account, keyed, entry)
            else:
                keyed = self._classify(account, keyed)
                flight, leads = self._join_or_lead(account, keyed, streams=True)
                if await flight.asked() and flight.streams:
                    yield Started(self._asking(account, keyed, flight, leads=leads))
                    async for chunk in flight.chunks():
                        if keyed.include_usage or not _only_tells_usage(chunk):
                            yield chunk
                    yield Finished(self._respond(account, keyed, await flight.outcome(), leads=leads))
                    return
                response = self._respond(account, keyed, await flight.outcome(), leads=leads)
            yield Started(response)
            if response.answer is not None:
                for chunk in replay_chunks(response.answer.body, include_usage=keyed.include_usage):
                    yield chunk
            yield Finished(response)

    # -- look-aside --------------------------------------------------------------------------------------------------

    async def lookup(
        self, request: Request, lease_s: float | None = None, *, waits: bool = True
    ) -> tuple[Response, str, Lease | None]:
        """Only look. A miss comes with a lookup id for a later `store`, and with a lease when one was asked for.

        While another holds a lease on the same request, this waits until its answer is stored or the lease ends; not
        with `waits` False.
        """
        with self._accounts.open(request) as account:
            keyed = self._key(account, request)
            if keyed.cacheability.tier is Tier.NONE:
                account.looked_up(Status.BYPASS, reason=keyed.cacheability.reason)
                return self._response(account, Status.BYPASS, keyed.cacheability.reason), "", None
            while True:
                entry = self._find_exact(account, keyed)
                if entry is not None:
                    return self._serve(account, keyed, entry), "", None
                generation = self._invalidations.generation
                classified, vector, decision = await self._search(account, self._classify(account, keyed))
                if vector is not None and decision is not None and decision.served is not None:
                    found = Found(decision.served.candidate.entry, decision, vector)
                    return self._serve(account, classified, found.entry, found), "", None
                if not waits or not self._leases.held(keyed.exact_key):
                    break
                await self._leases.wait(keyed.exact_key)
                account.lap("lease")
            lease = self._leases.take(keyed.exact_key, lease_s) if lease_s is not None else None
            lookup_id = self._pending.remember(classified, vector, generation, account.request_id)
            reason = _miss_reason(keyed, decision)
            account.looked_up(Status.MISS, reason=reason)
            return self._response(account, Status.MISS, reason, decision=decision), lookup_id, lease

    def key(self, request: Request) -> KeyedRequest:
        """The keys of a request whose answer will be stored.

        Raises:
            InvalidRequestError: see `request.parsing`.
        """
        keyed = self._keying.key(request)
        return _of_task(keyed, self._tasks.by_rule(keyed))

    def recall(self, tenant: str, lookup_id: str) -> KeyedRequest:
        """The request of a lookup that missed.

        Raises:
            PreconditionFailedError: LOOKUP_FORGOTTEN, also for another tenant's id.
        """
        pending = self._pending.find(lookup_id, tenant)
        if pending is None:
            raise PreconditionFailedError(
                "The lookup id is unknown or was forgotten.",
                reason="LOOKUP_FORGOTTEN",
                hint="Send the request itself with the Store.",
            )
        return pending.keyed

    async def store(self, deposit: Deposit) -> Deposited:
        """Store a caller's own answer; returns when it is durable.

        Raises:
            InvalidRequestError: LOOKUP_MISMATCH, FINGERPRINT_MISMATCH.
            PreconditionFailedError: LEASE_EXPIRED.
            StoreFullError, OverloadedError: nothing was stored.
        """
        keyed, vector, generation = deposit.keyed, deposit.vector, self._invalidations.generation
        pending = self._pending.find(deposit.lookup_id, keyed.request.tenant)
        if pending is not None:
            if pending.keyed.exact_key != keyed.exact_key:
                raise InvalidRequestError("The lookup id belongs to another request.", reason="LOOKUP_MISMATCH")
            generation = pending.generation
        if vector is not None:
            self._check_vector(vector, deposit.fingerprint)
        elif pending is not None:
            vector = pending.vector
        if deposit.lease_id:
            self._leases.use(deposit.lease_id, keyed.exact_key)
        return await self._filling.deposit(
            deposit,
            request_id=self._accounts.new_id(),
            vector=vector,
            generation=generation,
            done=lambda: self._leases.release(deposit.lease_id, keyed.exact_key),
        )

    def _check_vector(self, vector: Vector, fingerprint: str) -> None:
        if fingerprint != self._embedder.fingerprint or vector.shape != (self._embedder.dimension,):
            raise InvalidRequestError(
                "The embedding was made by another embedder than the server's, or has another dimension.",
                reason="FINGERPRINT_MISMATCH",
                hint="GetStats names the server's embedder; or send no embedding.",
            )

    async def explain(self, request: Request) -> Explanation:
        """What would happen to a request, and why. Nothing is served, stored or counted."""
        keyed = self.key(request)
        entry = self._servable_exact(keyed)
        decision: Decision | None = None
        size = 0
        if keyed.cacheability.tier is Tier.SEMANTIC:
            keyed, vector, decision = await self._search(None, keyed)
            if vector is None:
                keyed, _ = await self._embed_to_classify(None, keyed)
            size = sum(self._store.count_vectors(partition) for partition in keyed.partitions)
        (status, reason), task = _asking_status(keyed, decision), keyed.task
        if status is Status.MISS and entry is not None:
            status, reason = Status.EXACT_HIT, "exact_match"
            task = _task_of_hit(request.said_task, entry)
        elif status is Status.MISS and decision is not None and decision.served is not None:
            status = Status.SEMANTIC_HIT
            task = _task_of_hit(keyed.task, decision.served.candidate.entry)
        return Explanation(
            request_id=self._accounts.new_id(),
            keyed=_of_task(keyed, task),
            status=status,
            reason=reason,
            decision=decision,
            exact_entry_id=entry.entry_id if entry else 0,
            partition_entries=size,
            embedded_tokens=self._embedder.count_tokens(keyed.text) if decision is not None else 0,
            models=self._upstream.candidates(
                keyed.alias, task_type=keyed.task.task_type, complexity=keyed.task.complexity
            ),
        )

    # -- corrections -------------------------------------------------------------------------------------------------

    async def report_verdict(self, tenant: str, hit_id: str, *, right: bool) -> ServedHit:
        """Tie a caller's judgement to a hit. Wrong: the entry isn't served to such a request again, durably.

        Raises:
            NotFoundError: HIT_NOT_FOUND, also for another tenant's hit.
        """
        served = self._store.served(hit_id)
        if served is None or served.tenant != tenant:
            raise NotFoundError(
                "No such hit is remembered.",
                reason="HIT_NOT_FOUND",
                hint="Verdicts are taken for as long as store.served_ttl_s says.",
            )
        if right:
            await self._store.confirm(hit_id, "right")
        else:
            await self._store.flush()  # The hit's own line says what the verdict's is booked under.
            record = self._accounts.wrong_hit(served, self._store.get(served.entry_id))
            if await self._store.reject(hit_id, Rejection(served.exact_key, served.vector), "wrong", record):
                self._accounts.metrics.request_done(record, (), "wrong_hit")
        self._accounts.metrics.verdict_reported("right" if right else "wrong")
        return served

    async def invalidate(self, selector: Selector, *, apply: bool) -> int:
        """How many live entries `selector` names.

        With `apply` they are gone when this returns, and an answer in flight that it names isn't stored.
        """
        if apply:
            self._invalidations.add(selector)
        return await self._store.invalidate(selector, apply=apply)

    @property
    def generation(self) -> int:
        """Counts the invalidations of this process."""
        return self._invalidations.generation

    def queues(self) -> dict[str, int]:
        """How much waits where."""
        return {"flights": len(self._flights), "leases": len(self._leases), "lookups": len(self._pending)}

    async def drain(self, grace_s: float) -> None:
        """Let upstream calls end and be booked, at most `grace_s`, then make all of it durable."""
        await self._flights.drain(grace_s)
        await self._filling.drain()
        await self._store.flush()

    # -- the steps ---------------------------------------------------------------------------------------------------

    def _key(self, account: Account, request: Request) -> KeyedRequest:
        keyed = self._keying.key(request)
        account.alias = keyed.alias
        account.lap("key")
        return keyed

    def _classify(self, account: Account, keyed: KeyedRequest) -> KeyedRequest:
        """The request with its task type and complexity, as far as rules tell."""
        account.task = task = self._tasks.by_rule(keyed)
        return _of_task(keyed, task)

    def _classify_by_exemplar(self, account: Account | None, keyed: KeyedRequest, vector: Vector) -> KeyedRequest:
        """The same for one that no rule knows, now that its vector is there."""
        if keyed.task.task_type:
            return keyed
        task = self._tasks.by_exemplar(keyed, vector)
        if account is not None:
            account.task = task
        return _of_task(keyed, task)

    async def _embed_to_classify(
        self, account: Account | None, keyed: KeyedRequest
    ) -> tuple[KeyedRequest, Vector | None]:
        """The same for one that nothing was compared with: exemplars alone cost it an embedding before its call."""
        if not self._bound_is_open(keyed):
            return keyed, None
        vector = await self._embed(account, keyed)
        return (keyed, None) if vector is None else (self._classify_by_exemplar(account, keyed, vector), vector)

    def _bound_is_open(self, keyed: KeyedRequest) -> bool:
        """Whether an exemplar may still name the task type, and with it another threshold."""
        return self._tasks.by_exemplars and not keyed.task.task_type and keyed.cacheability.tier is Tier.SEMANTIC

    def _find_exact(self, account: Account, keyed: KeyedRequest) -> Entry | None:
        entry = self._servable_exact(keyed) if _may_read(keyed) else None
        account.lap("exact")
        return entry

    def _servable_exact(self, keyed: KeyedRequest) -> Entry | None:
        if keyed.cacheability.tier is Tier.NONE:
            return None
        entry = self._exact.find(keyed.exact_key)
        return entry if entry is not None and not self._unservable(keyed, entry) else None

    def _unservable(self, keyed: KeyedRequest, entry: Entry) -> str:
        """Why an entry may not be served whatever its similarity; empty when it may."""
        max_age_s = keyed.request.control.max_age_s
        if max_age_s is not None and self._clock.wall() - entry.created_s > max_age_s:
            return "too_old"
        if entry.answer.target_model:
            models = self._upstream.models(keyed.alias)
            if models is not None and entry.answer.target_model not in models:
                return "model_not_routed"
        return "degraded" if entry.answer.degraded else ""

    def _join_or_lead(self, account: Account, keyed: KeyedRequest, *, streams: bool) -> tuple[Flight[Outcome], bool]:
        """The flight that answers this request, and whether it was started for it."""
        control = keyed.request.control
        joinable = _may_join(keyed)
        # A tighter threshold or a younger age may refuse what a laxer request is served, so these never share.
        bound = (self._decider.threshold(keyed), self._bound_is_open(keyed))
        key = (keyed.exact_key, control.mode, bound, control.max_age_s) if joinable else None
        flight = self._flights.find(key) if key is not None else None
        if flight is not None:
            return flight, False
        account.handed_over = True
        return self._flights.start(key, lambda new: self._resolve(account, keyed, new), streams=streams), True

    async def _resolve(self, account: Account, keyed: KeyedRequest, flight: Flight[Outcome]) -> Outcome:
        """The work of a flight. When it ends, the leader's account is settled or the leader is there to settle it."""
        try:
            return await self._find_or_fetch(account, keyed, flight)
        except BaseException as error:
            account.failed(error)
            raise
        finally:
            account.hand_back()

    async def _find_or_fetch(self, account: Account, keyed: KeyedRequest, flight: Flight[Outcome]) -> Outcome:
        """The semantic tier, then a request under way that means the same, then the upstream."""
        vector: Vector | None = None
        decision: Decision | None = None
        # Looked at before the search: the search may miss the answer of one that ends meanwhile.
        under_way = self._twins.of(keyed.partitions)
        if _may_read(keyed):
            keyed, vector, decision = await self._search(account, keyed)
            if vector is not None and decision is not None and decision.served is not None:
                return Found(decision.served.candidate.entry, decision, vector)
        if keyed.request.control.mode is CacheMode.CACHE_ONLY:
            return NotCached(decision)
        if vector is None:
            keyed, vector = await self._embed_to_classify(account, keyed)
        if vector is not None and _may_join(keyed):
            found = await self._wait_for_twin(account, keyed, vector, under_way)
            if found is not None:
                return found
        status, reason = _asking_status(keyed, decision)
        late_vector = None if vector is not None else self._filling.embed_meanwhile(account, keyed)
        # Nothing was awaited since the last look at the others, unless one was waited for in vain: none slips through.
        compared = _may_join(keyed) and keyed.cacheability.tier is Tier.SEMANTIC
        with self._twins.under_way(Twin(keyed, flight, vector, late_vector)) if compared else nullcontext():
            return await self._filling.fetch(
                account,
                keyed,
                status,
                reason,
                flight=flight,
                vector=vector,
                late_vector=late_vector,
                decision=decision,
            )

    async def _wait_for_twin(
        self, account: Account, keyed: KeyedRequest, vector: Vector, under_way: Sequence[Twin[Outcome]]
    ) -> Found | None:
        """The answer of a request under way that a stored one might have been served for; None where there is none.

        It waits once, as long as that takes, and shares its failure, unless that was the fault of the other's own text
        or lies on a way that isn't its own. An answer that may not be stored is nobody else's: whoever waited for it
        asks by itself, and waits for no other, since else the last of many would wait as many calls.
        """
        twin, decision = await self._find_twin(keyed, vector, under_way)
        if twin is None or decision is None:
            return None
        try:
            outcome = await twin.flight.outcome()
        except UpstreamError as error:
            if blame(error) is not Blame.REQUEST and _route(twin.keyed) == _route(keyed):
                raise
            return None
        finally:
            account.lap("wait")
        entry = self._store.get(outcome.entry_id) if isinstance(outcome, Fetched) else None
        if entry is None or self._unservable(keyed, entry):
            return None
        return Found(entry, replace(decision, reason="paraphrase_in_flight"), vector, Status.COALESCED)

    async def _find_twin(
        self, keyed: KeyedRequest, vector: Vector, under_way: Sequence[Twin[Outcome]]
    ) -> tuple[Twin[Outcome] | None, Decision | None]:
        """A request under way whose answer the decision would allow, were it stored.

        `under_way` are those that were there before the search; those that came meanwhile follow them.
        """
        seen: set[Twin[Outcome]] = set()
        least = self._decider.least_similarity(keyed)
        # Until there are no new ones: then the last look and what follows it are one step of the loop.
        while unseen := [twin for twin in (*under_way, *self._twins.of(keyed.partitions)) if twin not in seen]:
            seen.update(unseen)
            for twin in unseen:
                other = await twin.vector()
                if other is None or other.shape != vector.shape:
                    continue
                similarity = float(vector @ other)
                if similarity < least:  # Most are, and there may be as many as there are calls.
                    continue
                candidate = Candidate(_entry_to_be(twin.keyed), similarity)
                decision = self._decider.decide(keyed, [candidate], vector, lambda _: "")
                if decision.served is not None:
                    return twin, decision
        return None, None

    async def _search(
        self, account: Account | None, keyed: KeyedRequest
    ) -> tuple[KeyedRequest, Vector | None, Decision | None]:
        """The semantic tier: embed, classify, search, decide; no decision where there is nothing to compare with.

        The request comes back with its task type, where an exemplar tells it: the decision's threshold may hang on it.
        """
        if keyed.cacheability.tier is not Tier.SEMANTIC:
            return keyed, None, None
        partitions = [partition for partition in keyed.partitions if self._store.has_vectors(partition)]
        if not partitions and not self._twins.of(keyed.partitions):
            return keyed, None, None
        vector = await self._embed(account, keyed)
        if vector is None:
            return keyed, None, None
        keyed = self._classify_by_exemplar(account, keyed, vector)
        neighbours = await self._nearest(partitions, vector)
        if account is not None:
            account.lap("search")
        # Read one by one, as far as the decision goes. A neighbour whose entry is gone from the store is passed over.
        candidates = (Candidate(entry, n.similarity) for n in neighbours if (entry := self._store.get(n.entry_id)))
        decision = self._decider.decide(
            keyed, candidates, vector, lambda entry: self._unservable(keyed, entry), thorough=account is None
        )
        if account is not None:
            account.decided(decision)
        return keyed, vector, decision

    async def _embed(self, account: Account | None, keyed: KeyedRequest) -> Vector | None:
        """The vector that a request has to wait for; None from a broken model, which costs hits and not answers."""
        try:
            vector = await self._filling.embed(keyed)
        except EmbeddingFailedError as error:
            _log.error("embedding.failed", error=str(error))
            return None
        if account is not None:
            account.embedded += 1
            account.lap("embed")
        return vector

    async def _nearest(self, partitions: Sequence[bytes], vector: Vector) -> Sequence[Neighbour]:
        """The neighbours of a vector, nearest first."""
        k = self._settings.decision.k
        neighbours = [n for partition in partitions for n in await self._index.search(partition, vector, k)]
        neighbours.sort(key=lambda neighbour: neighbour.similarity, reverse=True)
        return neighbours[:k]

    # -- answers -----------------------------------------------------------------------------------------------------

    def _serve(self, account: Account, keyed: KeyedRequest, entry: Entry, found: Found | None = None) -> Response:
        """Answer with an entry: the semantic tier's when it is `found` there, else the exact tier's."""
        status, reason, judgement = Status.EXACT_HIT, "exact_match", None
        if found is not None:
            status, reason, judgement = found.status, found.decision.reason, found.decision.served
        similarity = judgement.candidate.similarity if judgement else 1.0
        vector = found.vector if found else None
        account.task = _task_of_hit(account.task, entry)
        saved = account.hit(status, keyed, entry, similarity=similarity, reason=reason, vector=vector)
        return Response(
            request_id=account.request_id,
            status=status,
            reason=reason,
            alias=account.alias,
            answer=entry.answer,
            entry_id=entry.entry_id,
            hit_id=account.request_id,
            similarity=similarity,
            age_s=max(0.0, self._clock.wall() - entry.created_s),
            verdicts=judgement.verdicts if judgement else (),
            effective_threshold=found.decision.threshold if found else None,
            usage=entry.answer.usage,
            cost=ZERO_COST,
            saved=saved,
            stages=tuple(account.stages),
            task=account.task,
        )

    def _respond(self, account: Account, keyed: KeyedRequest, outcome: Outcome, *, leads: bool) -> Response:
        """What one of a flight's waiters is told."""
        if not leads:
            account.lap("wait")
        if isinstance(outcome, Found):
            return self._serve(account, keyed, outcome.entry, outcome)
        if isinstance(outcome, NotCached):
            account.looked_up(Status.MISS, reason=_miss_reason(keyed, outcome.decision))
            raise NotFoundError(
                "The cache holds no answer, and the request allows no other.",
                reason="CACHE_ONLY_MISS",
                hint="Send it with the default mode to ask the upstream.",
            )
        if leads:
            response = self._response(account, outcome.status, outcome.reason, decision=outcome.decision)
            return response._replace(
                answer=outcome.answer,
                entry_id=outcome.entry_id,
                usage=outcome.answer.usage,
                cost=outcome.cost,
                saved=ZERO_COST,
                stored=outcome.entry_id != 0,
                store_reason=outcome.store_reason,
            )
        if not account.task.task_type:
            account.task = outcome.task
        saved = account.coalesced(outcome.answer, reason="in_flight")
        response = self._response(account, Status.COALESCED, "in_flight")
        return response._replace(
            answer=outcome.answer,
            entry_id=outcome.entry_id,
            usage=outcome.answer.usage,
            cost=ZERO_COST,
            saved=saved,
        )

    def _asking(self, account: Account, keyed: KeyedRequest, flight: Flight[Outcome], *, leads: bool) -> Response:
        """What a stream's first frame says while the answer is on its way."""
        if not leads:
            return self._response(account, Status.COALESCED, "in_flight")
        status, _ = _asking_status(keyed, None)
        return self._response(account, status, flight.why)

    def _response(self, account: Account, status: Status, reason: str, *, decision: Decision | None = None) -> Response:
        nearest = decision.judgements[0] if decision and decision.judgements else None
        return Response(
            request_id=account.request_id,
            status=status,
            reason=reason,
            alias=account.alias,
            similarity=nearest.candidate.similarity if nearest else None,
            verdicts=nearest.verdicts if nearest else (),
            effective_threshold=decision.threshold if decision else None,
            stages=tuple(account.stages),
            task=account.task,
        )


def _may_read(keyed: KeyedRequest) -> bool:
    return keyed.request.control.mode in {CacheMode.DEFAULT, CacheMode.CACHE_ONLY}


def _may_join(keyed: KeyedRequest) -> bool:
    """Whether a request may wait for another's answer, and others for its."""
    return _may_read(keyed) and not keyed.request.control.no_store and keyed.cacheability.tier is not Tier.NONE


def _task_of_hit(task: Task, entry: Entry) -> Task:
    """What is known of a hit's task: its own, else that of the request that its answer was stored for."""
    return Task(entry.task_type, "entry") if entry.task_type and not task.task_type else task


def _of_task(keyed: KeyedRequest, task: Task) -> KeyedRequest:
    """The request with what is known of its task."""
    if task == keyed.task:
        return keyed
    request = keyed.request
    if task.task_type != request.task_type:
        request = replace(request, task_type=task.task_type)
    return replace(keyed, request=request, task=task)


def _route(keyed: KeyedRequest) -> tuple[str, str]:
    """What chooses among the routes of one alias."""
    return keyed.task.task_type, keyed.task.complexity


def _entry_to_be(keyed: KeyedRequest) -> Entry:
    """What the decision compares of a request whose answer is on its way; it reads the text where it is near."""
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
    )


def _asking_status(keyed: KeyedRequest, decision: Decision | None) -> tuple[Status, str]:
    """Status and reason of a request that goes to the upstream."""
    if keyed.request.control.mode is CacheMode.REFRESH:
        return Status.REFRESH, "requested"
    if keyed.request.control.mode is CacheMode.BYPASS:
        return Status.BYPASS, "requested"
    if keyed.cacheability.tier is Tier.NONE:
        return Status.BYPASS, keyed.cacheability.reason
    return Status.MISS, _miss_reason(keyed, decision)


def _miss_reason(keyed: KeyedRequest, decision: Decision | None) -> str:
    if decision is not None:
        return decision.reason
    return "empty_partition" if keyed.cacheability.tier is Tier.SEMANTIC else keyed.cacheability.reason


def _only_tells_usage(chunk: bytes) -> bool:
    """Whether a chunk is the one that only tells the usage: semcache asks for it always, the caller may not have."""
    return b'"usage"' in chunk and not json.loads(chunk).get("choices")
