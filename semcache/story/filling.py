"""How the cache is filled: the upstream is asked and its answer kept, or a caller brings its own.

Whatever is spent here is booked, though nobody waits for it any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

import structlog

from semcache.coordination import Flight, Invalidations
from semcache.costs.accounts import Account, Accounts
from semcache.costs.usage import estimate_usage
from semcache.decision import Decider
from semcache.errors import SemcacheError, UpstreamError
from semcache.model import (
    Answer,
    CacheMode,
    Cost,
    Decision,
    Deposit,
    Deposited,
    Entry,
    KeyedRequest,
    LedgerRecord,
    Purpose,
    Status,
    Task,
    Tier,
    UpstreamCall,
    Usage,
    Vector,
)
from semcache.ports import Clock, Embedder, EntryStore, Upstream
from semcache.request import skip_reason
from semcache.settings import Settings
from semcache.upstream import MAX_REPLY_TOKENS, confirms, model_of, verifier_body

_log = structlog.get_logger(__name__)
_NAME_CHARS = 256
"""Longer than any model's name: upstreams may say anything, and it is written into every ledger line."""
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Fetched:
    """The upstream's answer to a flight, booked, and stored unless `store_reason` says why not."""

    status: Status
    answer: Answer
    cost: Cost
    entry_id: int
    store_reason: str
    reason: str
    decision: Decision | None
    task: Task


@dataclass(slots=True)
class _Asking:
    """How far a stream has come: what is known of its cost when it breaks off."""

    pieces: int = 0
    model: str = ""


class Filling:
    """Asks, books and stores."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        store: EntryStore,
        embedder: Embedder,
        decider: Decider,
        upstream: Upstream,
        accounts: Accounts,
        invalidations: Invalidations,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._store = store
        self._embedder = embedder
        self._decider = decider
        self._upstream = upstream
        self._accounts = accounts
        self._invalidations = invalidations
        self._endings: set[asyncio.Task[Any]] = set()

    # -- from the upstream -------------------------------------------------------------------------------------------

    async def fetch(
        self,
        account: Account,
        keyed: KeyedRequest,
        status: Status,
        reason: str,
        *,
        flight: Flight[Any],
        vector: Vector | None,
        late_vector: asyncio.Task[Vector | None] | None,
        decision: Decision | None,
    ) -> Fetched:
        """Ask the upstream, book what it charged and store what it said. Runs to its end whoever still waits.

        Args:
            account: the request's; what is spent is booked there.
            keyed: the request.
            status: MISS, BYPASS or REFRESH.
            reason: why.
            flight: what is told that the upstream is asked, and, when it streams, of each chunk as it comes.
            vector: its embedding, where it is known.
            late_vector: the task that makes it, else.
            decision: what the semantic tier said, for the response.

        Raises:
            BudgetExceededError: nothing was asked.
            UpstreamError, UnknownModelError, InvalidRequestError: as the upstream's.
        """
        generation = self._invalidations.generation
        asking = _Asking()
        try:
            call = self._call(account, keyed)
            flight.start_asking(reason)
            answer = await self._ask(call, flight, asking)
        except BaseException as error:
            if late_vector is not None:
                late_vector.cancel()
            # Each chunk that arrived is a token or more that was charged.
            pieces = asking.pieces
            partial = Usage(keyed.prompt_chars // 4, 0, pieces, estimated=True) if pieces else None
            account.failed(error, partial, asking.model or keyed.alias)
            if partial is not None and isinstance(error, Exception):
                await self._make_durable()
            raise
        account.lap("upstream")
        answer = self._completed(keyed, answer)
        record = account.spent(status, answer)
        if late_vector is not None:
            try:
                vector = await late_vector
            except BaseException:
                account.book_later(record, reason)
                raise
        skip, booked = skip_reason(keyed, answer) or self._lesser(keyed, answer), False
        if not skip and keyed.task.task_type in self._settings.tasks.critical:
            # The verifier takes its time, and what is spent already shall not wait for it.
            await self._see_through(account.book_durably(record, reason))
            booked = True
            skip = await self._unconfirmed(account, keyed, status, answer)
        ending = self._end_fetch(
            account,
            keyed,
            answer,
            record,
            vector=vector,
            generation=generation,
            reason=reason,
            skip=skip,
            booked=booked,
        )
        entry_id, store_reason = await self._see_through(ending)
        return Fetched(
            status=status,
            answer=answer,
            cost=record.spent,
            entry_id=entry_id,
            store_reason=store_reason,
            reason=reason,
            decision=decision,
            task=keyed.task,
        )

    def _call(self, account: Account, keyed: KeyedRequest) -> UpstreamCall:
        """What to ask, with room for it in the budgets."""
        budgets, upstream = self._accounts.budgets, self._upstream
        task_type, complexity = keyed.task.task_type, keyed.task.complexity
        degraded, barred = False, frozenset[str]()
        if budgets:
            upstream.press_budget(pressed=budgets.pressed())
            models = upstream.candidates(keyed.alias, task_type=task_type, complexity=complexity)
            degraded = budgets.degrades(account.request.tenant, frozenset(models))
            if degraded:
                models = upstream.candidates(keyed.alias, task_type=task_type, complexity=complexity, degraded=degraded)
            barred = account.reserve(keyed, models or (keyed.alias,))
        self._embedder.keep_batches_small(small="smaller_batches" in upstream.mode.measures)
        _log.debug("request.routed", request_id=account.request_id, alias=keyed.alias, **asdict(keyed.task))
        return UpstreamCall(
            alias=keyed.alias,
            body=keyed.request.body,
            deadline_s=self._clock.monotonic() + self._settings.upstream.deadline_s,
            request_id=account.request_id,
            task_type=task_type,
            complexity=complexity,
            degraded=degraded,
            barred=barred,
        )

    async def _ask(self, call: UpstreamCall, flight: Flight[Any], asking: _Asking) -> Answer:
        if not flight.streams:
            return await self._upstream.complete(call)
        answer: Answer | None = None
        async for piece in self._upstream.stream(call):
            if isinstance(piece, Answer):
                answer = piece
            else:
                asking.model = asking.model if asking.pieces else model_of(piece)[:_NAME_CHARS]
                asking.pieces += 1
                flight.feed(piece)
        if answer is None:
            raise UpstreamError("The upstream's stream ended before the answer was whole.")
        return answer

    def _lesser(self, keyed: KeyedRequest, answer: Answer) -> str:
        """A degraded answer doesn't take the place of a full one, as a refresh's would."""
        if not answer.degraded:
            return ""
        entry = self._store.find_exact(keyed.exact_key)
        return "degraded" if entry is not None and not entry.answer.degraded else ""

    async def _unconfirmed(self, account: Account, keyed: KeyedRequest, status: Status, answer: Answer) -> str:
        """Why an answer to a critical task may not be stored; empty when the verifier confirms it."""
        if "optional_off" in self._upstream.mode.measures:
            return "verifier_off"
        alias = self._settings.tasks.verifier
        body = verifier_body(alias, keyed.request.body, answer.text)
        try:
            with account.reserved(self._upstream.candidates(alias) or (alias,), body, MAX_REPLY_TOKENS) as barred:
                call = UpstreamCall(
                    alias=alias,
                    body=body,
                    deadline_s=self._clock.monotonic() + self._settings.upstream.deadline_s,
                    request_id=account.request_id,
                    barred=barred,
                )
                reply = await self._upstream.complete(call)
                record = account.spent_beside(status, self._completed(keyed, reply), Purpose.VERIFIER)
            await self._see_through(account.book_beside(record))
        except SemcacheError as error:
            _log.warning("verifier.failed", request_id=account.request_id, error=str(error))
            return "not_verified"
        finally:
            account.lap("verify")
        if reply.degraded:  # A lesser model's word isn't what the operator trusts.
            return "not_verified"
        return "" if confirms(reply.text) else "rejected_by_verifier"

    async def _end_fetch(
        self,
        account: Account,
        keyed: KeyedRequest,
        answer: Answer,
        record: LedgerRecord,
        *,
        vector: Vector | None,
        generation: int,
        reason: str,
        skip: str,
        booked: bool,
    ) -> tuple[int, str]:
        """Store and book an answer that was paid for; its entry's id, or 0 and why it wasn't stored."""
        try:
            entry, store_reason = await self._put(
                keyed, answer, record, vector=vector, generation=generation, skip=skip, booked=booked
            )
        except Exception as error:  # noqa: BLE001 - a store that can't take an answer stops storing, not serving
            _log.error("store.put_failed", error=str(error), exc_info=not isinstance(error, SemcacheError))
            entry, store_reason = None, "store_failed"
            self._accounts.metrics.store_skipped(store_reason)
        account.lap("store")
        if not booked:
            if entry is None:
                await account.book_durably(record, reason)
            else:
                account.book(record, reason)
        return entry.entry_id if entry else 0, store_reason

    async def _make_durable(self) -> None:
        """Spend is durable before its caller hears of it, where the disk allows."""
        try:
            await self._store.flush()
        except SemcacheError as error:
            _log.error("ledger.not_durable", error=str(error))

    def embed_meanwhile(self, account: Account, keyed: KeyedRequest) -> asyncio.Task[Vector | None] | None:
        """The vector of a request that is being answered, computed while the upstream works."""
        control = keyed.request.control
        if keyed.cacheability.tier is not Tier.SEMANTIC or control.no_store or control.mode is CacheMode.BYPASS:
            return None
        account.embedded += 1

        async def embed() -> Vector | None:
            try:
                return await self.embed(keyed)
            except SemcacheError as error:
                # The answer is stored all the same, to be found by its exact key.
                _log.warning("embedding.skipped", error=str(error))
                return None

        return asyncio.get_running_loop().create_task(embed())

    # -- from a caller -----------------------------------------------------------------------------------------------

    async def deposit(
        self, deposit: Deposit, *, request_id: str, vector: Vector | None, generation: int, done: Callable[[], None]
    ) -> Deposited:
        """Store a caller's own answer; returns when it is durable.

        Args:
            deposit: the answer and its request.
            request_id: this call's.
            vector: the request's embedding; None: it is made here, where it is needed.
            generation: the invalidations that the caller's answer is from.
            done: called once, when the deposit has ended in whatever way.

        Raises:
            StoreFullError, OverloadedError: nothing was stored.
        """
        keyed = deposit.keyed
        try:
            answer = self._completed(keyed, deposit.answer)
            skip = skip_reason(keyed, answer)
            embeds = not skip and vector is None and keyed.cacheability.tier is Tier.SEMANTIC
            record = self._accounts.deposit(request_id, keyed, answer, embedded=embeds)
            if embeds:
                vector = await self.embed(keyed)
        except BaseException:
            done()
            raise
        ending = self._end_deposit(keyed, answer, record, vector=vector, generation=generation, skip=skip, done=done)
        return await self._see_through(ending)

    async def _end_deposit(
        self,
        keyed: KeyedRequest,
        answer: Answer,
        record: LedgerRecord,
        *,
        vector: Vector | None,
        generation: int,
        skip: str,
        done: Callable[[], None],
    ) -> Deposited:
        """Store and book a deposit."""
        try:
            entry, reason = await self._put(keyed, answer, record, vector=vector, generation=generation, skip=skip)
            if entry is None:
                await self._store.record_durably(record)
            self._accounts.book_deposit(record)
        finally:
            done()
        return Deposited(record.request_id, entry, record.spent, reason)

    # -- both --------------------------------------------------------------------------------------------------------

    async def embed(self, keyed: KeyedRequest) -> Vector:
        """The vector of a request's compared text."""
        vector: Vector = (await self._embedder.embed([keyed.text]))[0]
        return vector

    def _completed(self, keyed: KeyedRequest, answer: Answer) -> Answer:
        """The answer with names of bounded length, and with an estimate where its upstream told no usage."""
        if len(answer.model) > _NAME_CHARS or len(answer.finish_reason) > _NAME_CHARS:
            answer = replace(answer, model=answer.model[:_NAME_CHARS], finish_reason=answer.finish_reason[:_NAME_CHARS])
        if answer.usage.input_tokens or answer.usage.output_tokens:
            return answer
        usage = estimate_usage(keyed.prompt_chars, keyed.text, answer.text, self._embedder.count_tokens)
        return replace(answer, usage=usage)

    async def _put(
        self,
        keyed: KeyedRequest,
        answer: Answer,
        record: LedgerRecord,
        *,
        vector: Vector | None,
        generation: int,
        skip: str,
        booked: bool = False,
    ) -> tuple[Entry | None, str]:
        """Store an answer, with its record in one commit unless that is `booked`.

        Nothing is stored when `skip` or an invalidation meanwhile says why not.

        Raises:
            StoreError, OverloadedError: neither is stored.
        """
        if not skip:
            entry = self._entry(keyed, answer, record)
            if not self._invalidations.name_since(generation, entry):
                return await self._store.put(entry, vector, None if booked else record), ""
            skip = "invalidated"
        self._accounts.metrics.store_skipped(skip)
        return None, skip

    def _entry(self, keyed: KeyedRequest, answer: Answer, record: LedgerRecord) -> Entry:
        """The entry of an answer that is complete now; its guards' parse is made here, once."""
        request = keyed.request
        settings = self._settings.cacheability
        now_s = self._clock.wall()
        return Entry(
            tenant=request.tenant,
            namespace=request.namespace,
            alias=keyed.alias,
            exact_key=keyed.exact_key,
            partition=keyed.partition,
            text=keyed.text,
            answer=answer,
            cost=record.spent,
            created_s=now_s,
            expires_s=now_s + min(request.control.ttl_s or settings.ttl_s, settings.max_ttl_s),
            tags=request.tags,
            sources=request.sources,
            task_type=request.task_type,
            template_id=request.template.template_id if request.template else "",
            knowledge_version=request.knowledge_version,
            features=self._decider.features(keyed.text) if keyed.cacheability.tier is Tier.SEMANTIC else {},
        )

    async def _see_through(self, ending: Coroutine[Any, Any, Result]) -> Result:
        """Await `ending`, which comes to its end though the awaiting task is cancelled; `drain` waits for it."""
        task = asyncio.get_running_loop().create_task(ending)
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)
        return await asyncio.shield(task)

    async def drain(self) -> None:
        """Wait until all that was being stored is, and is booked."""
        if self._endings:
            await asyncio.wait(set(self._endings))
