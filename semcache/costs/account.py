"""The account of one request: it ends exactly once, as a hit, a spend, an error or a cancellation, and is never lost.

Counters, ledger and response take their amounts from the same ledger line, so they agree to the nanodollar.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import TracebackType
from typing import Self

import numpy as np

from semcache.costs.books import Books
from semcache.costs.tariff import is_free
from semcache.errors import SemcacheError
from semcache.model import (
    NO_USAGE,
    ZERO_COST,
    Answer,
    Cost,
    Decision,
    Effect,
    Entry,
    KeyedRequest,
    LedgerRecord,
    LostAnswer,
    Request,
    ServedHit,
    Status,
    Usage,
    Vector,
)
from semcache.observe.logs import bound
from semcache.observe.spans import NoSpans


class Account:
    """What one request took and how it ended.

    Everyone who works for the request holds the account: the caller's block, by entering it, and the flight that the
    request leads, by `hold` and `release`. So a caller may leave while its flight still spends, and the spending is
    booked under this request.

    It ends once: by `end_as_hit`, `end_as_stale`, `end_as_coalesced`, `end_as_lookup` or a purchase's line. If it is
    still open when its last holder lets go, it ends by the first exception that a holder let go with. That is CANCELLED
    when the caller left, otherwise ERROR; without an exception it is ERROR with the reason INTERNAL.
    """

    __slots__ = (
        "_books",
        "_bound",
        "_first_error",
        "_holders",
        "_lap_s",
        "_started_s",
        "alias",
        "embedded",
        "line",
        "request",
        "request_id",
        "stages",
        "task",
    )

    def __init__(self, books: Books, request: Request, request_id: str) -> None:
        self._books = books
        self.request = request
        self.request_id = request_id
        self.alias = ""
        self.task = request.said_task
        self.stages: list[tuple[str, float]] = []
        self.embedded = 0
        """Texts that were embedded for the request."""
        self.line: LedgerRecord | None = None
        """The ledger line that ended the account; None while it is open."""
        self._started_s = self._lap_s = books.clock.monotonic()
        self._bound = bound(request_id)
        self._holders = 0
        self._first_error: BaseException | None = None

    def __enter__(self) -> Self:
        """Become a holder, and put the request's id into every log line until `__exit__`, tasks made here included."""
        self._bound.__enter__()
        self._holders += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let go, with the exception that the block was left with, if any."""
        self.release(error)
        self._bound.__exit__(kind, error, traceback)

    def hold(self) -> None:
        """Become a holder; each `hold` needs one `release`."""
        self._holders += 1

    def release(self, error: BaseException | None = None) -> None:
        """Let go, with the exception that ended the holder's work, if one did."""
        self._first_error = self._first_error or error
        self._holders -= 1
        if self._holders == 0 and self.line is None:
            self.end_as_failed(self._first_error)

    @property
    def abandoned(self) -> bool:
        """Whether a holder has left with an exception: for a flight that still works, its caller."""
        return self._first_error is not None

    def lap(self, stage: str) -> None:
        """Record that everything since the last lap was `stage`."""
        now_s = self._books.clock.monotonic()
        self.stages.append((stage, now_s - self._lap_s))
        self._books.spans.stage(self.request_id, stage, self._lap_s, now_s)
        self._lap_s = now_s

    def note_decision(self, decision: Decision) -> None:
        """Record that the candidates were judged, and count the guards that vetoed."""
        self.lap("decide")
        for judgement in decision.judgements:
            for verdict in judgement.verdicts:
                if verdict.effect is Effect.VETO:
                    self._books.metrics.guard_vetoed(verdict.guard)

    def end_as_hit(
        self,
        status: Status,
        keyed: KeyedRequest,
        entry: Entry,
        *,
        similarity: float,
        reason: str,
        vector: Vector | None = None,
        probability: float | None = None,
    ) -> Cost:
        """End as a hit on `entry`, to which a verdict can be tied by this request's id; return what it saved."""
        saved = self._price(entry.answer)
        line = self.make_line(
            status,
            entry.answer.model,
            entry.answer.usage,
            saved=saved,
            entry_id=entry.entry_id,
            similarity=similarity,
            route=entry.answer.route,
        )
        served = _served(line, keyed, entry, vector)
        self._note(line, reason, served if probability is None else served._replace(probability=probability))
        return saved

    def end_as_stale(self, keyed: KeyedRequest, entry: Entry, *, reason: str) -> None:
        """End as a request that an expired entry answered, to which a verdict can be tied as to a hit.

        The line has no usage and no saving: an upstream that can't be reached would have charged nothing.
        """
        answer = entry.answer
        line = self.make_line(
            Status.STALE, answer.model, NO_USAGE, entry_id=entry.entry_id, similarity=1.0, route=answer.route
        )
        self._note(line, reason, _served(line, keyed, entry, None))

    def end_as_coalesced(self, answer: Answer, *, reason: str) -> Cost:
        """End as a request that waited for another's upstream call; return what that saved."""
        saved = self._price(answer)
        line = self.make_line(
            Status.COALESCED,
            answer.model,
            answer.usage,
            saved=saved,
            route=answer.route,
            degraded=answer.degraded,
        )
        self._note(line, reason)
        return saved

    def end_as_lookup(self, status: Status, *, reason: str) -> None:
        """End as a miss or a bypass that asked no upstream: a Lookup's, or a cache-only request's."""
        self._note(self.make_line(status, self.alias, NO_USAGE), reason)

    def end_as_failed(self, error: BaseException | None, lost: LostAnswer | None = None) -> None:
        """End as an error, or as cancelled when the caller left. The next commit makes the line durable.

        Args:
            error: what ended the request.
            lost: the part of an answer that the upstream gave and charges.
        """
        cancelled = isinstance(self._first_error or error, asyncio.CancelledError | GeneratorExit)
        status = Status.CANCELLED if cancelled else Status.ERROR
        line = self.make_line(status, self.alias, NO_USAGE) if lost is None else self.make_paid_line(status, lost)
        self._books.budgets.spend(line)
        reason = "cancelled" if cancelled else error.reason if isinstance(error, SemcacheError) else "INTERNAL"
        self._note(line, reason)

    def _price(self, answer: Answer | LostAnswer) -> Cost:
        """Return what an answer costs now."""
        model = answer.target_model if is_free(answer.target_model) else answer.model
        return self._books.prices.cost(model, answer.usage, self._books.clock.wall(), answer.route)

    def make_paid_line(self, status: Status, answer: Answer | LostAnswer) -> LedgerRecord:
        """Make the ledger line of an upstream call that was made for this request and is charged, as of now."""
        return self.make_line(
            status,
            answer.model,
            answer.usage,
            spent=self._price(answer),
            route=answer.route,
            degraded=answer.degraded,
        )

    def make_line(
        self,
        status: Status,
        model: str,
        usage: Usage,
        *,
        spent: Cost = ZERO_COST,
        saved: Cost = ZERO_COST,
        entry_id: int = 0,
        similarity: float | None = None,
        route: str = "",
        degraded: bool = False,
    ) -> LedgerRecord:
        """Make a ledger line of this request, as of now."""
        request = self.request
        clock = self._books.clock
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
            overhead_nanousd=self._books.embedding.charge(self.embedded) if self.embedded else 0,
            route=route,
            degraded=degraded,
        )

    def count(self, line: LedgerRecord, reason: str) -> None:
        """Count the request in the metrics and end its span, with its stages, under the line that ended it."""
        self._books.metrics.request_done(line, self.stages, reason)
        end_s = self._books.clock.monotonic()
        self._books.spans.request(line, self.stages, reason=reason, start_s=self._started_s, end_s=end_s)

    def count_beside(self, line: LedgerRecord) -> None:
        """Count the money of a line that stands beside the request's own."""
        self._books.metrics.request_done(line, (), str(line.purpose))

    def _note(self, line: LedgerRecord, reason: str, served: ServedHit | None = None) -> None:
        """End with a line that goes to disk with the next commit group."""
        self.line = line
        self._books.ledger.record(line, served)
        self.count(line, reason)


def _served(line: LedgerRecord, keyed: KeyedRequest, entry: Entry, vector: Vector | None) -> ServedHit:
    """Return what is kept of an entry's answer for a verdict; `vector` is the request's, where it was compared."""
    return ServedHit(
        hit_id=line.request_id,
        tenant=line.tenant,
        entry_id=entry.entry_id,
        status=line.status,
        exact_key=keyed.exact_key,
        text="" if vector is None else keyed.text,
        similarity=1.0 if line.similarity is None else line.similarity,
        at_s=line.at_s,
        vector=b"" if vector is None else vector.astype(np.float16).tobytes(),
        entry_key=entry.exact_key,
    )


class UnrecordedAccount(Account):
    """An account whose own end is recorded nowhere: for a request that is explained, and for a Store.

    A purchase that is made for it is booked all the same.
    """

    __slots__ = ()

    def __init__(self, books: Books, request: Request, request_id: str) -> None:
        super().__init__(replace(books, spans=NoSpans()), request, request_id)

    def release(self, error: BaseException | None = None) -> None:
        """Let go; nothing is recorded."""
        del error
        self._holders -= 1

    def note_decision(self, decision: Decision) -> None:
        """Keep the time of judging; no guard is counted."""
        del decision
        self.lap("decide")
