"""One account per request: it ends exactly once, as a hit, a spend, an error or a cancellation, and is never lost.

Counters, ledger and response take their figures from the same record, so that they agree to the nanodollar.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import numpy as np
import structlog

from semcache.costs.budgets import Budgets, Reservation
from semcache.costs.prices import PriceBook
from semcache.costs.tariff import Rate
from semcache.errors import SemcacheError
from semcache.model import (
    ZERO_COST,
    Answer,
    Cost,
    Decision,
    Effect,
    Entry,
    KeyedRequest,
    LedgerRecord,
    Purpose,
    Request,
    ServedHit,
    Status,
    Usage,
    Vector,
)
from semcache.observe.metrics import Metrics
from semcache.ports import Clock, EntryStore
from semcache.settings import CostSettings

_log = structlog.get_logger(__name__)


class Accounts:
    """Opens accounts; owns what they write to."""

    def __init__(
        self,
        *,
        store: EntryStore,
        prices: PriceBook,
        budgets: Budgets,
        metrics: Metrics,
        clock: Clock,
        settings: CostSettings,
    ) -> None:
        self.store = store
        self.prices = prices
        self.budgets = budgets
        self.metrics = metrics
        self.clock = clock
        self._assumed_output_tokens = settings.assumed_output_tokens
        self._embedding = Rate.of(settings.overhead.embedding_usd_per_million)
        self._wrong_answer = Rate.of(settings.overhead.wrong_answer_usd, per=1)
        # Ids must differ, not be secret (each is checked against its tenant): asking the system each time costs 11 µs.
        self._random = random.Random(random.SystemRandom().getrandbits(128))  # noqa: S311

    def open(self, request: Request) -> Account:
        """An account for one request; use it as a context manager."""
        return Account(self, request)

    def embedding_nanousd(self, texts: int) -> int:
        """What embedding costs at the configured rate."""
        return self._embedding.charge(texts)

    def estimates(self, keyed: KeyedRequest, models: Iterable[str]) -> dict[str, Cost]:
        """What a call may cost at each of several models: more than it will, as far as that can be known before."""
        body = keyed.request.body
        # An image's bytes say nothing of its tokens: some thousand at most.
        size_bytes = 3 * keyed.prompt_chars + 24_000 if b";base64," in body else len(body)
        limit = self._assumed_output_tokens if keyed.output_limit is None else keyed.output_limit
        return self.estimates_of(models, size_bytes, limit * keyed.choices)

    def estimates_of(self, models: Iterable[str], size_bytes: int, output_tokens: int) -> dict[str, Cost]:
        """The same for a body of so many bytes that allows so many tokens."""
        # English has four bytes a token, most else three or less; what stands around the text is counted with it.
        usage = Usage(size_bytes // 3 + 1, 0, output_tokens, estimated=True)
        now_s = self.clock.wall()
        return {model: self.prices.quote(model, usage, now_s) for model in models}

    def wrong_hit(self, served: ServedHit, entry: Entry | None) -> LedgerRecord:
        """The record of a verdict that a hit was wrong. It joins the hit's own rollup row as far as that is known."""
        lines = self.store.ledger_records(served.tenant, served.at_s - 1e-3, served.at_s + 1e-3)
        line = next((line for line in lines if line.request_id == served.hit_id), None)
        return LedgerRecord(
            request_id=served.hit_id,
            at_s=self.clock.wall(),
            tenant=served.tenant,
            namespace=line.namespace if line else entry.namespace if entry else "",
            alias=line.alias if line else entry.alias if entry else "",
            model=line.model if line else entry.answer.model if entry else "",
            task_type=line.task_type if line else entry.task_type if entry else "",
            status=served.status,
            usage=Usage(),
            spent=ZERO_COST,
            saved=ZERO_COST,
            entry_id=served.entry_id,
            similarity=served.similarity,
            requests=0,
            overhead_nanousd=self._wrong_answer.charge(1),
            purpose=Purpose.WRONG_HIT,
        )

    def deposit(self, request_id: str, keyed: KeyedRequest, answer: Answer, *, embedded: bool) -> LedgerRecord:
        """The record of what a caller's own stack spent on an answer that it stores; its Lookup was the request."""
        now_s = self.clock.wall()
        self.budgets.open_periods(now_s)
        request = keyed.request
        return LedgerRecord(
            request_id=request_id,
            at_s=now_s,
            tenant=request.tenant,
            namespace=request.namespace,
            alias=keyed.alias,
            model=answer.model,
            task_type=request.task_type,
            status=Status.MISS,
            usage=answer.usage,
            spent=self.prices.cost(answer.model, answer.usage, now_s),
            saved=ZERO_COST,
            requests=0,
            overhead_nanousd=self._embedding.charge(1) if embedded else 0,
            degraded=answer.degraded,
            purpose=Purpose.DEPOSIT,
        )

    def book_deposit(self, record: LedgerRecord) -> None:
        """Count a deposit whose record is durable. Budgets count it too, but never refuse one: it is spent."""
        self.budgets.spend(record)
        self.metrics.request_done(record, (), "deposit")

    def new_id(self) -> str:
        """A request id: 32 hex digits that sort by time."""
        return f"{int(self.clock.wall() * 1000):012x}{self._random.getrandbits(80):020x}"


class Account:
    """What one request took and how it ended.

    Leaving the block settles an account that is still open: as cancelled when the caller left, as an error otherwise.
    While it is `handed_over`, the task that works for the request settles it, whether the caller still waits or not,
    since what is spent must be booked.
    """

    __slots__ = (
        "_accounts",
        "_lap_s",
        "_reservation",
        "_settled",
        "_started_s",
        "alias",
        "caller_left",
        "embedded",
        "handed_over",
        "request",
        "request_id",
        "stages",
        "task",
    )

    def __init__(self, accounts: Accounts, request: Request) -> None:
        self._accounts = accounts
        self.request = request
        self.request_id = accounts.new_id()
        self.alias = ""
        self.task = request.said_task
        self.stages: list[tuple[str, float]] = []
        self._started_s = self._lap_s = accounts.clock.monotonic()
        self._settled = False
        self._reservation: Reservation | None = None
        self.embedded = 0
        self.handed_over = False
        self.caller_left = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.handed_over:
            self.caller_left = self.caller_left or error is not None
        elif not self._settled:
            self.failed(error)

    def hand_back(self) -> None:
        """The task that worked for the request has ended: what it left open is settled by the caller, or here."""
        self.handed_over = False
        self._release()
        if self.caller_left:
            self.failed(None)

    def reserve(self, keyed: KeyedRequest, models: Iterable[str]) -> frozenset[str]:
        """Room in the budgets for a call to one of `models`; the ones that have none are returned.

        Raises:
            BudgetExceededError: there is room for none of them.
        """
        accounts = self._accounts
        self._reservation = accounts.budgets.reserve(self.request.tenant, accounts.estimates(keyed, models))
        return self._reservation.barred

    @contextmanager
    def reserved(self, models: Iterable[str], body: bytes, output_tokens: int) -> Iterator[frozenset[str]]:
        """The same for a call beside the request's own, for as long as the block runs.

        Raises:
            BudgetExceededError: there is room for none of the models.
        """
        accounts = self._accounts
        estimates = accounts.estimates_of(models, len(body), output_tokens)
        reservation = accounts.budgets.reserve(self.request.tenant, estimates)
        try:
            yield reservation.barred
        finally:
            reservation.release()

    def spent_beside(self, status: Status, answer: Answer, purpose: Purpose) -> LedgerRecord:
        """The record of a call beside the request's own: a line of its own, counted in the budgets, for `book_beside`.

        Within `reserved` nothing is awaited after it, so that nobody sees its room taken twice.
        """
        accounts = self._accounts
        cost = accounts.prices.cost(answer.model, answer.usage, accounts.clock.wall())
        line = self._record(
            status, answer.model, answer.usage, cost, ZERO_COST, route=answer.route, degraded=answer.degraded
        )
        record = line._replace(requests=0, overhead_nanousd=0, latency_s=answer.latency_s, purpose=purpose)
        accounts.budgets.spend(record)
        return record

    async def book_beside(self, record: LedgerRecord) -> None:
        """Make the record of such a call durable and count it."""
        await self._make_durable(record)
        self._accounts.metrics.request_done(record, (), str(record.purpose))

    def _release(self) -> None:
        if self._reservation is not None:
            self._reservation.release()
            self._reservation = None

    def lap(self, stage: str) -> None:
        """Everything since the last lap was `stage`."""
        now_s = self._accounts.clock.monotonic()
        self.stages.append((stage, now_s - self._lap_s))
        self._lap_s = now_s

    def decided(self, decision: Decision) -> None:
        """The candidates were judged; count who vetoed."""
        self.lap("decide")
        for judgement in decision.judgements:
            for verdict in judgement.verdicts:
                if verdict.effect is Effect.VETO:
                    self._accounts.metrics.guard_vetoed(verdict.guard)

    def hit(
        self,
        status: Status,
        keyed: KeyedRequest,
        entry: Entry,
        *,
        similarity: float,
        reason: str,
        vector: Vector | None = None,
    ) -> Cost:
        """Settle as a hit on `entry`, which a verdict can be tied to by this request's id. Returns what it saved."""
        saved = self._accounts.prices.cost(entry.answer.model, entry.answer.usage, self._accounts.clock.wall())
        record = self._record(
            status,
            entry.answer.model,
            entry.answer.usage,
            ZERO_COST,
            saved,
            entry_id=entry.entry_id,
            similarity=similarity,
            route=entry.answer.route,
        )
        served = ServedHit(
            hit_id=self.request_id,
            tenant=self.request.tenant,
            entry_id=entry.entry_id,
            status=status,
            exact_key=keyed.exact_key,
            text="" if vector is None else keyed.text,
            similarity=similarity,
            at_s=record.at_s,
            vector=b"" if vector is None else vector.astype(np.float16).tobytes(),
        )
        self._accounts.store.record(record, served)
        self._settle(record, reason)
        return saved

    def coalesced(self, answer: Answer, *, reason: str) -> Cost:
        """Settle as one who waited on another's upstream call. Returns what that saved."""
        saved = self._accounts.prices.cost(answer.model, answer.usage, self._accounts.clock.wall())
        record = self._record(
            Status.COALESCED,
            answer.model,
            answer.usage,
            ZERO_COST,
            saved,
            route=answer.route,
            degraded=answer.degraded,
        )
        self._accounts.store.record(record)
        self._settle(record, reason)
        return saved

    def looked_up(self, status: Status, *, reason: str) -> None:
        """Settle as a miss or a bypass that asked no upstream: a Lookup's, or a cache-only request's."""
        record = self._record(status, self.alias, Usage(), ZERO_COST, ZERO_COST)
        self._accounts.store.record(record)
        self._settle(record, reason)

    def spent(self, status: Status, answer: Answer) -> LedgerRecord:
        """The record of an upstream call that answered, to be made durable and then given to `book`."""
        status = Status.CANCELLED if self.caller_left else status
        cost = self._accounts.prices.cost(answer.model, answer.usage, self._accounts.clock.wall())
        self._settled = True  # By this record, whatever happens before it is booked.
        record = self._record(
            status, answer.model, answer.usage, cost, ZERO_COST, route=answer.route, degraded=answer.degraded
        )
        self._spend(record)
        return record

    def _spend(self, record: LedgerRecord) -> None:
        """What was reserved is spent now: at once, so that nothing sees both or neither."""
        self._accounts.budgets.spend(record)
        self._release()

    def book(self, record: LedgerRecord, reason: str) -> None:
        """Settle with a record that the store holds already."""
        self._settle(record, reason)

    def book_later(self, record: LedgerRecord, reason: str) -> None:
        """Settle with a record that goes to disk with the next commit."""
        self._accounts.store.record(record)
        self._settle(record, reason)

    async def book_durably(self, record: LedgerRecord, reason: str) -> None:
        """Settle with a record that isn't stored yet."""
        await self._make_durable(record)
        self._settle(record, reason)

    async def _make_durable(self, record: LedgerRecord) -> None:
        """Store a record; when it can't be, it is kept for the next commit and that is told."""
        try:
            await self._accounts.store.record_durably(record)
        except SemcacheError as error:
            _log.error("ledger.not_durable", request_id=record.request_id, error=str(error))
            self._accounts.store.record(record)

    def failed(self, error: BaseException | None, partial: Usage | None = None, model: str = "") -> None:
        """Settle as an error, or as cancelled when the caller left.

        Args:
            error: what ended the request.
            partial: what an upstream is estimated to have charged for the part of an answer that it gave.
            model: the model that gave it.
        """
        if self._settled:
            return
        left = self.caller_left or isinstance(error, asyncio.CancelledError | GeneratorExit)
        cost = (
            self._accounts.prices.cost(model, partial, self._accounts.clock.wall())
            if partial is not None
            else ZERO_COST
        )
        record = self._record(
            Status.CANCELLED if left else Status.ERROR, model or self.alias, partial or Usage(), cost, ZERO_COST
        )
        self._spend(record)
        reason = "cancelled" if left else error.reason if isinstance(error, SemcacheError) else "INTERNAL"
        self._accounts.store.record(record)
        self._settle(record, reason)

    def _record(
        self,
        status: Status,
        model: str,
        usage: Usage,
        spent: Cost,
        saved: Cost,
        *,
        entry_id: int = 0,
        similarity: float | None = None,
        route: str = "",
        degraded: bool = False,
    ) -> LedgerRecord:
        request = self.request
        clock = self._accounts.clock
        return LedgerRecord(
            request_id=self.request_id,
            at_s=clock.wall(),
            tenant=request.tenant,
            namespace=request.namespace,
            alias=self.alias,
            model=model,
            task_type=self.task.task_type,
            status=status,
            usage=usage,
            spent=spent,
            saved=saved,
            entry_id=entry_id,
            similarity=similarity,
            latency_s=clock.monotonic() - self._started_s,
            overhead_nanousd=self._accounts.embedding_nanousd(self.embedded) if self.embedded else 0,
            route=route,
            degraded=degraded,
        )

    def _settle(self, record: LedgerRecord, reason: str) -> None:
        self._settled = True
        self._accounts.metrics.request_done(record, self.stages, reason)
