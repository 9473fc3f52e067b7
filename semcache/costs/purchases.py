"""Purchases: one upstream call's room in the budgets, its ledger line, and the rule "durable, then told".

A purchase is an async context manager and the only owner of what its call costs:

    async with accounts.purchase(account, keyed, models, …) as purchase:  # reserves room in the budgets
        answer = await upstream.complete(call)
        line = purchase.paid(answer)                                      # the line, made once
        entry = await purchase.commit(entry, vector, refused=…)           # the entry and the line in one commit
    # leaving it writes a line that no commit has taken, and counts it

It settles in one of these ways:

- *Paid*: the call was answered.
- *Failed*: the block was left without an answer. What came of one is charged all the same (`broke_off`).
- *Replaced*: the call failed, and the request has another answer (`replaced`). It doesn't end the request's account.
- *Orphaned*: the call was paid, but its caller had left. The line says CANCELLED.

Answers that were charged and couldn't be used, so that the upstream was asked again, have lines of their own (`lose`).
Nobody else books an upstream call.
"""

from __future__ import annotations

import asyncio
import copy
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import structlog

from semcache.costs.account import Account
from semcache.costs.books import Books
from semcache.costs.budgets import Reservation
from semcache.costs.outlays import Outlay
from semcache.errors import SemcacheError
from semcache.model import Answer, Cost, Entry, LedgerRecord, LostAnswer, Purpose, Status, Vector

_log = structlog.get_logger(__name__)
_Result = TypeVar("_Result")


class Purchase(ABC):
    """One upstream call and what it costs. Subclasses say what its line is about and who is ended or counted by it.

    Attributes:
        barred: models that the call may not be sent to, for their budgets have no room; known once entered.
        line: the ledger line; None until `paid`.
    """

    def __init__(
        self,
        account: Account,
        books: Books,
        estimates: Mapping[str, Cost],
    ) -> None:
        """Prepare a purchase; nothing is reserved before it is entered.

        Args:
            account: account of the request that the call serves.
            books: where the answer and the line go, and what the call draws on.
            estimates: what the call may cost, by the models that it may be sent to; empty reserves nothing.
        """
        self._account = account
        self._entries = books.entries
        self._ledger = books.ledger
        self._budgets = books.budgets
        self._outlays = books.outlays
        self._estimates = estimates
        self._reservation = Reservation()
        self._needs_ledger = books.needs_ledger
        self._lost_purpose = Purpose.LOST_ANSWER
        self._unwritten: LedgerRecord | None = None
        self._not_durable: SemcacheError | None = None
        self.barred: frozenset[str] = frozenset()
        self.line: LedgerRecord | None = None

    async def __aenter__(self) -> Self:
        """Reserve room in the budgets.

        Raises:
            BudgetExceededError: no model of the estimates has room; nothing was asked.
            StoreError: the ledger can't be written, and the settings let no call be made without it.
        """
        trouble = self._ledger.trouble
        if trouble is not None and self._needs_ledger:
            raise copy.copy(trouble)
        if self._estimates:
            self._reservation = self._budgets.reserve(self._account.request.tenant, self._estimates)
            self.barred = self._reservation.barred
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Settle the call, and give back what is still reserved."""
        try:
            if self.line is None:
                await self._fail(error)
            else:
                await self._settle(self.line)
        finally:
            self._reservation.release()

    def paid(self, answer: Answer) -> LedgerRecord:
        """Make the line of a call that was answered, and turn its reservation into spending.

        Both happen in one step of the event loop, so that nobody sees both or neither.
        """
        self.line = self._unwritten = line = self._make_line(answer)
        self._budgets.spend(line)
        self._reservation.release()
        return line

    def lose(self, lost: LostAnswer, status: Status) -> None:
        """Book an answer that was charged and couldn't be used, as a line beside the one of the call.

        The line goes to disk with the next commit, which is the call's own at the latest.

        Args:
            lost: the answer, with all it used.
            status: of the request that the call serves.
        """
        line = self._account.make_paid_line(status, lost)
        line = line._replace(requests=0, overhead_nanousd=0, purpose=self._lost_purpose)
        self._budgets.spend(line)
        self._ledger.record(line)
        self._account.count_beside(line)

    async def commit(
        self, entry: Entry, vector: Vector | None, *, refused: Callable[[Entry], Awaitable[bool]]
    ) -> Entry | None:
        """Store an entry, with the line in the same commit unless it is on disk already.

        The write comes to its end though the awaiting task is cancelled.

        Args:
            entry: the entry; its id is given by the store.
            vector: its unit vector, shape (dimension,), or None.
            refused: whether an invalidation has come meanwhile that names the entry. It is awaited right before the
                write is queued. Where it doesn't suspend, no invalidation falls between the two.

        Returns:
            The entry with its id; None when it was refused.

        Raises:
            StoreError, OverloadedError: the entry isn't stored; the line is written when the purchase is left.
        """

        async def write() -> Entry | None:
            if await refused(entry):
                return None
            stored = await self._entries.put(entry, vector, self._unwritten)
            self._unwritten = None
            return stored

        return await _see_through(write())

    async def commit_line(self) -> None:
        """Make the line durable by itself, unless it is.

        Raises:
            StoreError, OverloadedError: it isn't on disk.
        """
        if self._unwritten is not None:
            await _see_through(self._write(self._unwritten))

    async def make_durable(self) -> None:
        """Make the line durable by itself; where the store can't take it, note it for the next commit and log that."""

        async def write_or_note(line: LedgerRecord) -> None:
            try:
                await self._write(line)
            except SemcacheError as error:
                _log.error("costs.line_not_durable", request_id=self._account.request_id, error=str(error))
                self._ledger.record(line)
                self._unwritten, self._not_durable = None, error

        if self._unwritten is not None:
            await _see_through(write_or_note(self._unwritten))

    @property
    def is_durable(self) -> bool:
        """Whether the line of a call that was left is on disk, not in memory."""
        return self._not_durable is None

    async def _write(self, line: LedgerRecord) -> None:
        await self._ledger.record_durably(line)
        self._unwritten = None

    @abstractmethod
    def _make_line(self, answer: Answer) -> LedgerRecord:
        """Make the line of the call, which was answered."""

    async def _fail(self, error: BaseException | None) -> None:
        """Settle a call that wasn't answered; nothing is booked, for a call that failed as a whole isn't charged."""
        del error

    async def _settle(self, line: LedgerRecord) -> None:
        """Settle a call that was answered: its line is durable, or noted, before it is counted."""
        try:
            await self.make_durable()
        finally:
            self._count(line)

    def _count(self, line: LedgerRecord) -> None:
        """Count a line whose call is settled."""
        self._account.count_beside(line)


async def _see_through(writing: Coroutine[Any, Any, _Result]) -> _Result:
    """Await a write that a cancellation must not cut short; the cancellation takes effect when the write has ended.

    1. A write is queued. 2. Its waiter is cancelled. 3. The write still reaches the disk. A waiter that ended at 2
    could not know whether the line is written, and would either book it twice or not count it.
    """
    task = asyncio.get_running_loop().create_task(writing)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                continue  # Cancelled once more: the write still ends first.
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("costs.write_failed", error=str(error), effect="its caller had left")
        raise


class RequestPurchase(Purchase):
    """The call that answers a request. Its line ends the request's account.

    Attributes:
        status: MISS, BYPASS or REFRESH.
    """

    def __init__(
        self,
        account: Account,
        books: Books,
        estimates: Mapping[str, Cost],
        *,
        status: Status,
        reason: str,
    ) -> None:
        """Prepare the purchase.

        Args:
            account: account of the request.
            books: where the answer and the line go, and what the call draws on.
            estimates: what the call may cost, by model.
            status: MISS, BYPASS or REFRESH.
            reason: why the upstream is asked, a stable token.
        """
        super().__init__(account, books, estimates)
        self.status = status
        self._reason = reason
        self._lost: LostAnswer | None = None
        self._replaced = False

    def broke_off(self, lost: LostAnswer) -> None:
        """Note what came of the answer that the call ends without, with all it used; the request's line has it."""
        self._lost = lost

    def replaced(self) -> None:
        """Leave the request's account to another answer; what came of this call's has a line beside it."""
        self._replaced = True
        if self._lost is not None:
            self.lose(self._lost, self.status)

    def _make_line(self, answer: Answer) -> LedgerRecord:
        account = self._account
        status = Status.CANCELLED if account.abandoned else self.status
        # From here on the account has its end, whatever becomes of the write: nothing books it a second time.
        account.line = line = account.make_paid_line(status, answer)
        self._outlays.note(account.alias, Outlay(line.spent.total_nanousd, answer.latency_s))
        return line

    async def _settle(self, line: LedgerRecord) -> None:
        """Settle the call.

        Raises:
            StoreError, OverloadedError: the line isn't on disk, and the settings let no answer leave before.
        """
        await super()._settle(line)
        if self._not_durable is not None and self._needs_ledger:
            raise copy.copy(self._not_durable)

    def _count(self, line: LedgerRecord) -> None:
        """Count the request that the line ends."""
        self._account.count(line, self._reason)

    async def _fail(self, error: BaseException | None) -> None:
        if self._replaced:
            return
        if self._lost is None:
            self._account.end_as_failed(error)
            return
        self._account.end_as_failed(error, self._lost)
        self._reservation.release()  # In one step with the spending that `end_as_failed` counted.
        if not isinstance(error, Exception):  # A cancelled call has nobody left to be told.
            return
        try:
            await self._ledger.flush()
        except SemcacheError as flush_error:
            _log.error("costs.line_not_durable", request_id=self._account.request_id, error=str(flush_error))


class SidePurchase(Purchase):
    """A call beside the one that answers the request (a verifier's). Its line counts money, not a request."""

    def __init__(
        self,
        account: Account,
        books: Books,
        estimates: Mapping[str, Cost],
        *,
        status: Status,
        purpose: Purpose,
    ) -> None:
        """Prepare the purchase; `status` is that of the request it serves, `purpose` what its line is about."""
        super().__init__(account, books, estimates)
        self._status = status
        # What a verifier's or a judge's lost answer cost is a cost of the cache's own calls too.
        self._purpose = self._lost_purpose = purpose

    def _make_line(self, answer: Answer) -> LedgerRecord:
        line = self._account.make_paid_line(self._status, answer)
        return line._replace(requests=0, overhead_nanousd=0, latency_s=answer.latency_s, purpose=self._purpose)


class DepositPurchase(Purchase):
    """An answer that a caller's own stack has paid for. Budgets count it and never refuse it: it is spent already."""

    def __init__(self, account: Account, books: Books) -> None:
        """Prepare the booking; `account` carries the id of the Store call and the request that the answer is for."""
        super().__init__(account, books, {})

    def paid(self, answer: Answer) -> LedgerRecord:
        """Make the line. The budgets count it once it is durable: a Store that fails leaves nothing behind."""
        self.line = self._unwritten = line = self._make_line(answer)
        self._budgets.open_periods(line.at_s)
        return line

    def _make_line(self, answer: Answer) -> LedgerRecord:
        line = self._account.make_paid_line(Status.MISS, answer)
        task_type = self._account.request.task_type
        return line._replace(requests=0, latency_s=0.0, task_type=task_type, purpose=Purpose.DEPOSIT)

    async def commit(
        self, entry: Entry, vector: Vector | None, *, refused: Callable[[Entry], Awaitable[bool]]
    ) -> Entry | None:
        """Store an entry with the line in one commit, or the line alone where the entry is refused.

        Args:
            entry: the entry; its id is given by the store.
            vector: its unit vector, shape (dimension,), or None.
            refused: whether an invalidation has come meanwhile that names the entry.

        Returns:
            The entry with its id; None when it was refused.

        Raises:
            StoreError, OverloadedError: nothing was stored.
        """

        async def either(_: Entry) -> bool:
            is_refused = await refused(entry)
            if is_refused and self._unwritten is not None:
                await self._write(self._unwritten)
            return is_refused

        return await super().commit(entry, vector, refused=either)

    async def _settle(self, line: LedgerRecord) -> None:
        """Count the deposit if its line reached the disk, with its entry or alone."""
        if self._unwritten is None:
            self._budgets.spend(line)
            self._count(line)
