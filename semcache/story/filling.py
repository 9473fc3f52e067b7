"""How the cache is filled: the upstream is asked and its answer kept, or a caller brings its own.

Every upstream call that is charged reaches the ledger. It runs within a `Purchase`, which settles it even when all its
callers have disconnected.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from functools import partial

import structlog

from semcache.coordination import Flight
from semcache.costs.account import Account
from semcache.costs.purchases import Purchase, RequestPurchase
from semcache.decision import store_detail
from semcache.errors import SemcacheError, StoreFullError, UpstreamError
from semcache.model import (
    Answer,
    ApiProtocol,
    CacheMode,
    Cost,
    Decision,
    Deposit,
    Deposited,
    Entry,
    KeyedRequest,
    Purpose,
    Status,
    Tier,
    UpstreamCall,
    Vector,
)
from semcache.request import skip_reason
from semcache.story.given import GivenEmbeddings
from semcache.story.judging import Judging
from semcache.story.outcomes import Fetched, Outcome, Stale
from semcache.story.rooms import Rooms
from semcache.story.rules import status_upstream
from semcache.story.stale import StaleAnswers
from semcache.story.usages import Usages
from semcache.upstream import MAX_REPLY_TOKENS, confirms, verifier_body

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Paid:
    """A paid answer on its way into the store.

    Attributes:
        vector: the request's embedding, unit length, shape (dimension,), if it has one.
        generation: how many invalidations there had been before the answer was made.
        cost: what it cost.
    """

    keyed: KeyedRequest
    answer: Answer
    vector: Vector | None
    generation: int
    cost: Cost


class Filling:
    """Asks the upstream, books what it charged, and stores answers."""

    def __init__(self, rooms: Rooms, judging: Judging, stale: StaleAnswers) -> None:
        """Prepare it over the rooms that it fills from and into."""
        self._judging = judging
        self._stale = stale
        self._settings = rooms.settings
        self._clock = rooms.clock
        self._entries = rooms.store.entries
        self._embedder = rooms.embedder
        self._decider = rooms.decider
        self._upstream = rooms.upstream
        self._accounts = rooms.accounts
        self._coordination = rooms.coordination
        self._usages = Usages(rooms)
        self._given = GivenEmbeddings(rooms.settings.embedding.given_sample_ratio)

    # -- an answer of the upstream

    async def fetch(
        self,
        account: Account,
        keyed: KeyedRequest,
        flight: Flight[Outcome],
        *,
        vector: Vector | None,
        late_vector: asyncio.Task[Vector | None] | None,
        decision: Decision | None,
    ) -> Fetched | Stale:
        """Ask the upstream, book what it charged and store what it answered; it runs to its end whoever still waits.

        Where the upstream can't be reached, an expired entry may be the outcome (`StaleAnswers`).

        Args:
            account: the request's account, which the purchase ends.
            keyed: the request.
            flight: learns that the upstream is asked and, when it streams, each chunk as it comes.
            vector: the request's embedding, unit length, shape (dimension,), where it is known.
            late_vector: the task that makes it, otherwise.
            decision: what the semantic tier said, for the response.

        Raises:
            BudgetExceededError: nothing was asked.
            UpstreamError, UnknownModelError, InvalidRequestError: as the upstream's.
            StoreError: the ledger can't be written, and `store.without_ledger` says to refuse.
        """
        status, reason = status_upstream(keyed, decision)
        try:
            generation = await self._coordination.generation()
            models, degraded = self._models(account, keyed)
            async with self._accounts.purchase(account, keyed, models, status=status, reason=reason) as purchase:
                call = self._call(account, keyed, degraded=degraded, barred=purchase.barred)
                # What may still be answered by an expired entry is told of with the answer's first chunk.
                if not await self._stale.holds(keyed):
                    flight.start_asking(reason)
                answer = await self._buy(keyed, call, flight, purchase, reason)
                account.lap("upstream")
                if isinstance(answer, Stale):
                    return answer
                line = purchase.paid(answer)
                if late_vector is not None:
                    vector = await late_vector
                paid = _Paid(keyed, answer, vector, generation, line.spent)
                entry, store_reason = await self._keep(account, paid, purchase)
                account.lap("store")
            if not purchase.is_durable:
                store_reason = "spend_not_durable"
        finally:
            if late_vector is not None:
                late_vector.cancel()  # A task that has ended ignores this; one that nobody will await any more stops.
        return Fetched(
            status=status,
            answer=answer,
            cost=line.spent,
            entry_id=entry.entry_id if entry else 0,
            store_reason=store_reason,
            reason=reason,
            decision=decision,
            task=keyed.task,
        )

    def embed_meanwhile(self, account: Account, keyed: KeyedRequest) -> asyncio.Task[Vector | None] | None:
        """Start to embed a request that the upstream answers; None where no vector is needed."""
        control = keyed.request.control
        if keyed.cacheability.tier is not Tier.SEMANTIC or control.no_store or control.mode is CacheMode.BYPASS:
            return None
        account.embedded += 1

        async def embed() -> Vector | None:
            try:
                return await self._embed(keyed)
            except SemcacheError as error:
                # The answer is stored all the same, to be found by its exact key.
                _log.warning("story.embedding_skipped", error=str(error))
                return None

        return asyncio.get_running_loop().create_task(embed())

    def _models(self, account: Account, keyed: KeyedRequest) -> tuple[dict[str, frozenset[str]], bool]:
        """Return the models that the call may be sent to, at least one, and whether a budget asks for cheaper ones.

        Each model has the targets that may be asked for it.
        """
        budgets, upstream = self._accounts.budgets, self._upstream
        task_type, complexity = keyed.task.task_type, keyed.task.complexity
        models: tuple[str, ...] = ()
        degraded = False
        if budgets:
            upstream.press_budget(pressed=budgets.pressed())
            models = upstream.candidates(keyed.alias, task_type=task_type, complexity=complexity)
            degraded = budgets.degrades(account.request.tenant, frozenset(models))
            if degraded:
                models = upstream.candidates(keyed.alias, task_type=task_type, complexity=complexity, degraded=True)
        self._embedder.keep_batches_small(small="smaller_batches" in upstream.mode.measures)
        return self._with_targets(models or (keyed.alias,)), degraded

    def _with_targets(self, models: tuple[str, ...]) -> dict[str, frozenset[str]]:
        # Only an estimate of the cost asks for them, and only budgets need an estimate.
        none: frozenset[str] = frozenset()
        return {model: self._upstream.targets_of(model) if self._accounts.budgets else none for model in models}

    def _call(self, account: Account, keyed: KeyedRequest, *, degraded: bool, barred: frozenset[str]) -> UpstreamCall:
        _log.debug("story.routed", request_id=account.request_id, alias=keyed.alias, **asdict(keyed.task))
        return UpstreamCall(
            alias=keyed.alias,
            body=keyed.request.body,
            deadline_s=self._clock.monotonic() + self._settings.upstream.deadline_s,
            request_id=account.request_id,
            task_type=keyed.task.task_type,
            complexity=keyed.task.complexity,
            degraded=degraded,
            barred=barred,
            tenant=account.request.tenant,
            protocol=keyed.request.protocol,
            headers=keyed.request.headers,
            batch=keyed.request.batch,
        )

    async def _buy(
        self, keyed: KeyedRequest, call: UpstreamCall, flight: Flight[Outcome], purchase: RequestPurchase, reason: str
    ) -> Answer | Stale:
        """Return the upstream's answer or a stale one, and book each answer that was charged and lost on the way."""
        try:
            return self._usages.completed(keyed, await self._ask(call, flight, reason), call.protocol)
        except BaseException as error:
            if call.lost:  # Whatever ended the call, a cancellation too: the request's own line has the last loss.
                purchase.broke_off(self._usages.whole_loss(keyed, call.lost.pop()))
            stale = None if flight.has_begun else await self._stale.find(keyed, error)
            if stale is None:
                raise
            purchase.replaced()
            return stale
        finally:
            self._usages.book_lost(keyed, call, purchase, purchase.status)

    async def _ask(self, call: UpstreamCall, flight: Flight[Outcome], reason: str) -> Answer:
        if not flight.streams:
            return await self._upstream.complete(call)
        answer: Answer | None = None
        async for piece in self._upstream.stream(call):
            if isinstance(piece, Answer):
                answer = piece
            else:
                if not flight.is_asking:
                    flight.start_asking(reason)
                flight.feed(piece)
        if answer is None:
            raise UpstreamError("The upstream's stream ended before the answer was whole.")
        return answer

    async def _keep(self, account: Account, paid: _Paid, purchase: RequestPurchase) -> tuple[Entry | None, str]:
        """Store a paid answer with its line in one commit; return the entry, or None and why it wasn't stored."""
        keyed, answer = paid.keyed, paid.answer
        reason = self._skip_reason(keyed, answer) or await self._worse(keyed, answer)
        is_judged = keyed.request.protocol is not ApiProtocol.EMBEDDINGS  # A model can't judge a vector.
        if not reason and is_judged and keyed.task.task_type in self._settings.tasks.critical:
            await purchase.make_durable()  # The verifier takes its time, and spend is durable before.
            reason = await self._unconfirmed(account, keyed, purchase.status, answer)
        if reason:
            self._accounts.metrics.store_skipped(reason)
            return None, reason
        try:
            return await self._store(paid, purchase)
        except Exception as error:  # noqa: BLE001 - a store that can't take an answer stops storing, not serving
            _log.error("story.put_failed", error=str(error), exc_info=not isinstance(error, SemcacheError))
            reason = "store_full" if isinstance(error, StoreFullError) else "store_failed"
            self._accounts.metrics.store_skipped(reason)
            return None, reason

    def _skip_reason(self, keyed: KeyedRequest, answer: Answer) -> str:
        return skip_reason(keyed, answer, store_tool_calls=self._settings.cacheability.store_tool_calls)

    async def _worse(self, keyed: KeyedRequest, answer: Answer) -> str:
        """Return "degraded" where a degraded answer would replace a full one, as a refresh's might; otherwise empty."""
        if not answer.degraded:
            return ""
        entry = await self._entries.find_exact(keyed.exact_key)
        return "degraded" if entry is not None and not entry.answer.degraded else ""

    async def _unconfirmed(self, account: Account, keyed: KeyedRequest, status: Status, answer: Answer) -> str:
        """Return why an answer to a critical task may not be stored; empty when the verifier confirms it."""
        if "optional_off" in self._upstream.mode.measures:
            return "verifier_off"
        alias = self._settings.tasks.verifier
        body = verifier_body(alias, keyed.request.body, answer.text)
        models = self._with_targets(self._upstream.candidates(alias) or (alias,))
        try:
            async with self._accounts.side_purchase(
                account, body, models, MAX_REPLY_TOKENS, status=status, purpose=Purpose.VERIFIER
            ) as purchase:
                call = UpstreamCall(
                    alias=alias,
                    body=body,
                    deadline_s=self._clock.monotonic() + self._settings.upstream.deadline_s,
                    request_id=account.request_id,
                    barred=purchase.barred,
                    tenant=account.request.tenant,
                )
                try:
                    reply = self._usages.completed(keyed, await self._upstream.complete(call), call.protocol)
                finally:
                    self._usages.book_lost(keyed, call, purchase, status)
                purchase.paid(reply)
        except SemcacheError as error:
            _log.warning("story.verifier_failed", request_id=account.request_id, error=str(error))
            return "not_verified"
        finally:
            account.lap("verify")
        if reply.degraded:  # The operator doesn't trust a lesser model's opinion.
            return "not_verified"
        return "" if confirms(reply.text) else "rejected_by_verifier"

    # -- an answer of a caller

    async def deposit(self, deposit: Deposit, *, request_id: str, vector: Vector | None, generation: int) -> Deposited:
        """Store a caller's own answer; return when it is durable.

        Args:
            deposit: the answer and its request.
            request_id: id of this call.
            vector: the request's embedding, unit length, shape (dimension,); None: it is made here where it is needed.
            generation: how many invalidations there had been when the caller began to generate.

        Raises:
            InvalidRequestError: EMBEDDING_MISMATCH: the caller's embedding was checked, and isn't that of the text.
            StoreFullError, OverloadedError: nothing was stored.
        """
        keyed = deposit.keyed
        answer = self._usages.completed(keyed, deposit.answer, keyed.request.protocol)
        reason = self._skip_reason(keyed, answer)
        is_compared = keyed.cacheability.tier is Tier.SEMANTIC
        if not is_compared:
            vector = None  # Whatever the caller sends: what isn't compared by meaning isn't found by meaning.
        embeds = is_compared and not reason and (vector is None or self._given.draws(deposit))
        if embeds:
            own = await self._embed(keyed)
            self._given.check(deposit, own)
            vector = own
        async with self._accounts.deposit_purchase(request_id, keyed, embedded=embeds) as purchase:
            line = purchase.paid(answer)
            entry = None
            if reason:
                self._accounts.metrics.store_skipped(reason)
            else:
                entry, reason = await self._store(_Paid(keyed, answer, vector, generation, line.spent), purchase)
            await purchase.commit_line()
        return Deposited(request_id, entry, line.spent, reason, store_detail(reason))

    # -- both

    async def _embed(self, keyed: KeyedRequest) -> Vector:
        """Return the vector of a request's compared text."""
        vector: Vector = (await self._embedder.embed([keyed.text]))[0]
        return vector

    async def _store(self, paid: _Paid, purchase: Purchase) -> tuple[Entry | None, str]:
        """Store a paid answer through its purchase; return the entry, or None and why it wasn't stored.

        Raises:
            StoreError, OverloadedError: the entry isn't stored.
        """
        if paid.keyed.cacheability.tier is Tier.SEMANTIC:
            await self._judging.read_ahead(paid.keyed)
        refused = partial(self._coordination.names_since, paid.generation)
        entry = await purchase.commit(self._entry(paid), paid.vector, refused=refused)
        if entry is None:
            self._accounts.metrics.store_skipped("invalidated")
            return None, "invalidated"
        return entry, ""

    def _entry(self, paid: _Paid) -> Entry:
        """Return the entry of an answer that is complete now; its text is read for the guards here, once."""
        keyed, request = paid.keyed, paid.keyed.request
        settings = self._settings.cacheability
        now_s = self._clock.wall()
        return Entry(
            tenant=request.tenant,
            namespace=request.namespace,
            alias=keyed.alias,
            exact_key=keyed.exact_key,
            partition=keyed.partition,
            text=keyed.text,
            answer=paid.answer,
            cost=paid.cost,
            created_s=now_s,
            expires_s=now_s + min(request.control.ttl_s or settings.ttl_s, settings.max_ttl_s),
            tags=request.tags,
            sources=request.sources,
            task_type=request.task_type,
            template_id=request.template.template_id if request.template else "",
            knowledge_version=request.knowledge_version,
            features=self._decider.features(keyed.text) if keyed.cacheability.tier is Tier.SEMANTIC else {},
        )
