"""Accounts and purchases of all requests: they are opened here, over the one set of books."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping

from semcache.costs.account import Account, UnrecordedAccount
from semcache.costs.books import Books
from semcache.costs.budgets import Budgets
from semcache.costs.estimates import estimated_costs
from semcache.costs.outlays import Outlay, OutlayMeans
from semcache.costs.prices import PriceBook
from semcache.costs.purchases import DepositPurchase, RequestPurchase, SidePurchase
from semcache.costs.tariff import Rate
from semcache.model import (
    NO_USAGE,
    ZERO_COST,
    Answer,
    Cost,
    Entry,
    KeyedRequest,
    LedgerRecord,
    Purpose,
    Request,
    ServedHit,
    Status,
)
from semcache.observe.metrics import Metrics
from semcache.observe.spans import Spans
from semcache.ports import Clock, Store
from semcache.settings import CostSettings


class Accounts:
    """Opens accounts and purchases; owns the prices, budgets, metrics and ledger that they write to."""

    def __init__(
        self,
        *,
        store: Store,
        prices: PriceBook,
        budgets: Budgets,
        metrics: Metrics,
        clock: Clock,
        settings: CostSettings,
        spans: Spans,
        needs_ledger: bool = False,
    ) -> None:
        """Take what the books need.

        Args:
            store: has the entries and the ledger.
            prices: what models cost.
            budgets: what may be spent.
            metrics: what is counted.
            clock: when a line is made.
            settings: the section `costs`.
            spans: where finished requests go for tracing.
            needs_ledger: whether no call is made, and no answer leaves, while its line can't be written.
        """
        self.ledger = store.ledger
        self.prices = prices
        self.budgets = budgets
        self.metrics = metrics
        self._clock = clock
        self._outlays = OutlayMeans()
        self._books = Books(
            entries=store.entries,
            ledger=store.ledger,
            prices=prices,
            budgets=budgets,
            metrics=metrics,
            clock=clock,
            embedding=Rate.of(settings.overhead.embedding_usd_per_million),
            spans=spans,
            outlays=self._outlays,
            needs_ledger=needs_ledger,
        )
        self._assumed_output_tokens = settings.assumed_output_tokens
        self._wrong_answer = Rate.of(settings.overhead.wrong_answer_usd, per=1)
        # Ids must differ, not be secret (each is checked against its tenant): asking the system each time costs 11 µs.
        self._random = random.Random(random.SystemRandom().getrandbits(128))  # noqa: S311

    def open(self, request: Request) -> Account:
        """Open the account of one request; enter it as a context manager."""
        return Account(self._books, request, self.new_id())

    def open_unrecorded(self, request: Request) -> Account:
        """Open an account that measures and records nothing, for a request that is explained and not served."""
        return UnrecordedAccount(self._books, request, self.new_id())

    def purchase(
        self,
        account: Account,
        keyed: KeyedRequest,
        models: Mapping[str, Collection[str]],
        *,
        status: Status,
        reason: str,
    ) -> RequestPurchase:
        """Prepare the upstream call that answers a request; its ledger line ends the request's account.

        Args:
            account: the request's account.
            keyed: the request.
            models: models that the call may be sent to, at least one, each with the targets that may be asked for it.
            status: MISS, BYPASS or REFRESH.
            reason: why the upstream is asked, a stable token.
        """
        estimates: Mapping[str, Cost] = {}
        if self.budgets:
            output_tokens = self._assumed_output_tokens if keyed.output_limit is None else keyed.output_limit
            estimates = self.estimate(_billed_bytes(keyed), models, output_tokens * keyed.choices)
        return RequestPurchase(
            account,
            self._books,
            estimates,
            status=status,
            reason=reason,
        )

    def side_purchase(
        self,
        account: Account,
        body: bytes,
        models: Mapping[str, Collection[str]],
        output_tokens: int,
        *,
        status: Status,
        purpose: Purpose,
    ) -> SidePurchase:
        """Prepare an upstream call beside the one that answers the request, with a ledger line of its own.

        Args:
            account: account of the request that the call serves.
            body: the call's body; its size bounds the input tokens.
            models: models that the call may be sent to, at least one, each with the targets that may be asked for it.
            output_tokens: the most that the call may be answered with.
            status: status of the request that it serves.
            purpose: what the line is about.
        """
        estimates = self.estimate(len(body), models, output_tokens) if self.budgets else {}
        return SidePurchase(account, self._books, estimates, status=status, purpose=purpose)

    def estimate(
        self, size_bytes: int, models: Mapping[str, Collection[str]], output_tokens: int
    ) -> Mapping[str, Cost]:
        """Return what a call may cost now at each of several models (`estimated_costs`)."""
        return estimated_costs(self.prices, models, size_bytes, output_tokens, self._clock.wall())

    def answer_outlay(self, alias: str, answer: Answer) -> Outlay:
        """Return what an upstream's answer takes for an alias: the mean of those that were paid since the start.

        Where none was, it is what `answer` took, at today's price. Without a known price it costs 0.

        Args:
            alias: the model that is asked for.
            answer: a stored answer to a request for it.
        """
        mean = self._outlays.mean(alias)
        if mean is not None:
            return mean
        cost = self.prices.quote(answer.model, answer.usage, self._clock.wall(), answer.route)
        return Outlay(cost.total_nanousd, answer.latency_s)

    def deposit_purchase(self, request_id: str, keyed: KeyedRequest, *, embedded: bool) -> DepositPurchase:
        """Prepare the booking of an answer that a caller's own stack paid for and stores here.

        Args:
            request_id: id of the Store call. The caller's Lookup was the request.
            keyed: the request that the answer is for.
            embedded: whether the server embeds the text for it.
        """
        account = UnrecordedAccount(self._books, keyed.request, request_id)
        account.alias = keyed.alias
        account.embedded = int(embedded)
        return DepositPurchase(account, self._books)

    async def wrong_hit(self, served: ServedHit, entry: Entry | None) -> LedgerRecord:
        """Make the ledger line of a verdict that a hit was wrong.

        It joins the hit's own rollup row as far as the log, or else the entry, still tells which that is.

        Args:
            served: the hit.
            entry: the entry that was served, or None when it is gone.
        """
        line = await self.ledger.find(served.hit_id, served.at_s)
        return LedgerRecord(
            request_id=served.hit_id,
            at_s=self._clock.wall(),
            tenant=served.tenant,
            namespace=line.namespace if line else entry.namespace if entry else "",
            alias=line.alias if line else entry.alias if entry else "",
            model=line.model if line else entry.answer.model if entry else "",
            task_type=line.task_type if line else entry.task_type if entry else "",
            status=served.status,
            usage=NO_USAGE,
            spent=ZERO_COST,
            saved=ZERO_COST,
            entry_id=served.entry_id,
            similarity=served.similarity,
            requests=0,
            overhead_nanousd=self._wrong_answer.charge(1),
            purpose=Purpose.WRONG_HIT,
        )

    def new_id(self) -> str:
        """Return a new request id: 32 hex digits that sort by time."""
        return f"{int(self._clock.wall() * 1000):012x}{self._random.getrandbits(80):020x}"


def _billed_bytes(keyed: KeyedRequest) -> int:
    """Return a bound of the bytes that the provider bills as text; an image's bytes say nothing of its tokens."""
    body = keyed.request.body
    return 3 * keyed.prompt_chars + 24_000 if b";base64," in body else len(body)
