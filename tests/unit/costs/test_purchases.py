"""Purchases: one owner of what a call costs, whether it is paid, failed or orphaned, and durable before it is told."""

import asyncio
from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry

from semcache.costs.accounts import Accounts
from semcache.costs.budgets import Budgets
from semcache.costs.prices import PriceBook
from semcache.errors import BudgetExceededError, StoreFullError, UpstreamError
from semcache.model import Cacheability, KeyedRequest, LostAnswer, Purpose, Request, Status, Tier, Usage
from semcache.observe.metrics import Metrics
from semcache.observe.spans import NoSpans
from semcache.settings import CostSettings, MetricsSettings
from semcache.testing.clock import FakeClock
from semcache.testing.store import MemoryStore
from tests.support.stored import answer, digest, entry, vector

MODEL = "gpt-4o-mini"
ANSWER = answer(model=MODEL, usage=Usage(20, 0, 10))
ANSWER_NANOUSD = 20 * 150 + 10 * 600
KEYED = KeyedRequest(
    request=Request("acme", b'{"model":"gpt-4o-mini"}'),
    alias=MODEL,
    exact_key=digest("a"),
    partition=digest("partition"),
    older_partitions=(),
    text="What is a?",
    cacheability=Cacheability(Tier.SEMANTIC, "cacheable"),
    prompt_chars=400,
    output_limit=100,
    include_usage=False,
)


async def not_refused(_):
    return False


@dataclass
class Bank:
    """Accounts over a store in memory, with one budget."""

    limit_usd: float = 1.0
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self):
        settings = CostSettings(budgets=[{"name": "all", "limit_usd": self.limit_usd}])
        self.store = MemoryStore(self.clock)
        self.metrics = Metrics(CollectorRegistry(), MetricsSettings(), self.clock, [MODEL])
        self.budgets = Budgets(settings, self.store.ledger, self.clock, self.metrics)
        self.accounts = Accounts(
            store=self.store,
            prices=PriceBook.open(settings),
            budgets=self.budgets,
            metrics=self.metrics,
            clock=self.clock,
            settings=settings,
            spans=NoSpans(),
        )

    def open(self):
        account = self.accounts.open(KEYED.request)
        account.alias = MODEL
        return account

    async def fails(self, error, *usages):
        """A request whose call raises `error` after it has lost answers with these usages."""
        with self.open() as account:
            async with self.purchase(account) as purchase:
                *earlier, last = [LostAnswer(MODEL, usage, route="one") for usage in usages] or [None]
                for lost in earlier:
                    purchase.lose(lost, Status.MISS)
                if last is not None:
                    purchase.broke_off(last)
                raise error

    def leave(self):
        """An account that a flight holds and whose caller has left."""
        account = self.open()
        account.hold()
        account.hold()
        account.release(asyncio.CancelledError())
        return account

    def purchase(self, account, status=Status.MISS):
        return self.accounts.purchase(account, KEYED, {MODEL: ()}, status=status, reason="below_threshold")

    @property
    def lines(self):
        return list(self.store.ledger.records(None, 0, 1e12))

    @property
    def balance(self):
        (balance,) = self.budgets.balances()
        return balance.spent_nanousd, balance.reserved_nanousd

    def check(self, *lines):
        """Ledger, counters and budget agree on these (status, nanodollars) and nothing is reserved any more."""
        assert [(line.status, line.spent.total_nanousd) for line in self.lines] == list(lines)
        total = sum(nanousd for _, nanousd in lines)
        assert self.metrics.spent_nanousd() == total
        assert self.balance == (total, 0)
        counted = {status: count for status, count in self.metrics.counts().items() if count}
        requests = [line.status for line in self.lines if line.requests]
        assert counted == {status: requests.count(status) for status in requests}


@pytest.fixture
def bank():
    return Bank()


async def test_a_paid_answer_is_booked_with_its_entry_in_one_commit(bank):
    with bank.open() as account:
        async with bank.purchase(account) as purchase:
            assert bank.balance[1] > 0
            line = purchase.paid(ANSWER)
            assert bank.balance == (ANSWER_NANOUSD, 0)
            commits = bank.store.stats().commits
            stored = await purchase.commit(entry(), vector(), refused=not_refused)
            assert bank.store.stats().commits == commits + 1
            assert bank.lines == [line]
    assert stored.entry_id
    bank.check((Status.MISS, ANSWER_NANOUSD))


async def test_a_paid_answer_that_is_not_stored_is_durable_when_the_purchase_is_left(bank):
    with bank.open() as account:
        async with bank.purchase(account, Status.BYPASS) as purchase:
            purchase.paid(ANSWER)
            assert bank.lines == []
        assert len(bank.lines) == 1
    bank.check((Status.BYPASS, ANSWER_NANOUSD))


async def test_a_call_without_room_is_never_made_and_ends_its_request_as_an_error():
    bank = Bank(limit_usd=1e-9)
    with pytest.raises(BudgetExceededError):
        await bank.fails(AssertionError("the budget has no room"))
    bank.check((Status.ERROR, 0))


async def test_a_failed_call_costs_nothing_and_gives_its_room_back(bank):
    with pytest.raises(UpstreamError):
        await bank.fails(UpstreamError("broken"))
    bank.check((Status.ERROR, 0))


async def test_what_came_of_an_answer_that_broke_off_is_in_its_requests_line(bank):
    usage = Usage(100, 0, 2, estimated=True)
    with pytest.raises(UpstreamError):
        await bank.fails(UpstreamError("broken"), usage)
    (line,) = bank.lines
    assert (line.model, line.usage, line.route) == (MODEL, usage, "one")
    bank.check((Status.ERROR, 100 * 150 + 2 * 600))


async def test_each_answer_that_was_lost_before_has_a_line_of_its_own(bank):
    with pytest.raises(UpstreamError):
        await bank.fails(UpstreamError("broken"), Usage(10, 0, 1), Usage(20, 0, 2), Usage(30, 0, 3))
    own = 20 * 150 + 2 * 600, 30 * 150 + 3 * 600
    bank.check((Status.MISS, 10 * 150 + 600), (Status.MISS, own[0]), (Status.ERROR, own[1]))
    assert [line.purpose for line in bank.lines] == [Purpose.LOST_ANSWER, Purpose.LOST_ANSWER, Purpose.REQUEST]
    assert [line.requests for line in bank.lines] == [0, 0, 1]


async def test_a_lost_answer_is_booked_beside_the_one_that_was_paid(bank):
    with bank.open() as account:
        async with bank.purchase(account) as purchase:
            purchase.lose(LostAnswer(MODEL, Usage(10, 0, 1)), Status.MISS)
            purchase.paid(ANSWER)
    bank.check((Status.MISS, 10 * 150 + 600), (Status.MISS, ANSWER_NANOUSD))


async def test_an_answer_whose_caller_has_left_is_booked_as_cancelled(bank):
    account = bank.leave()
    async with bank.purchase(account) as purchase:
        purchase.paid(ANSWER)
    account.release()
    bank.check((Status.CANCELLED, ANSWER_NANOUSD))


async def test_a_caller_that_left_before_anything_was_spent_is_counted_once(bank):
    account = bank.leave()
    assert bank.lines == []
    account.release()
    bank.check((Status.CANCELLED, 0))


async def test_a_commit_that_is_cut_short_still_books_its_line_once(bank):
    account = bank.open()

    async def fetch():
        with account:
            async with bank.purchase(account) as purchase:
                purchase.paid(ANSWER)
                await purchase.commit(entry(), vector(), refused=not_refused)

    for turns in range(1, 12):
        bank.__post_init__()
        account = bank.open()
        task = asyncio.create_task(fetch())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        if bank.lines and bank.lines[0].spent.total_nanousd:
            bank.check((Status.MISS, ANSWER_NANOUSD))
        else:
            bank.check((Status.CANCELLED, 0))
    assert not task.cancelled(), "the last round was over before it could be cancelled"


async def test_a_refused_entry_leaves_the_line_for_the_end(bank):
    async def refused(_):
        return True

    with bank.open() as account:
        async with bank.purchase(account) as purchase:
            purchase.paid(ANSWER)
            assert await purchase.commit(entry(), vector(), refused=refused) is None
            assert bank.lines == []
    assert bank.store.stats().entries == 0
    bank.check((Status.MISS, ANSWER_NANOUSD))


async def test_a_line_that_the_disk_cannot_take_is_noted_for_the_next_commit(bank):
    bank.store.fail_writes = StoreFullError("full")
    with bank.open() as account:
        async with bank.purchase(account) as purchase:
            purchase.paid(ANSWER)
            with pytest.raises(StoreFullError):
                await purchase.commit(entry(), vector(), refused=not_refused)
    bank.check((Status.MISS, ANSWER_NANOUSD))


async def test_a_verifier_has_a_line_beside_its_requests(bank):
    with bank.open() as account:
        async with bank.purchase(account) as purchase:
            purchase.paid(ANSWER)
            await purchase.make_durable()
            async with bank.accounts.side_purchase(
                account, b"{}", {MODEL: ()}, 16, status=purchase.status, purpose=Purpose.VERIFIER
            ) as beside:
                beside.paid(ANSWER)
    assert [(line.purpose, line.requests) for line in bank.lines] == [(Purpose.REQUEST, 1), (Purpose.VERIFIER, 0)]
    bank.check((Status.MISS, ANSWER_NANOUSD), (Status.MISS, ANSWER_NANOUSD))


async def test_a_verifier_that_fails_books_nothing_and_gives_its_room_back(bank):
    async def verify(account, status):
        async with bank.accounts.side_purchase(
            account, b"{}", {MODEL: ()}, 16, status=status, purpose=Purpose.VERIFIER
        ):
            raise UpstreamError("broken")

    with bank.open() as account:
        async with bank.purchase(account) as purchase:
            purchase.paid(ANSWER)
            with pytest.raises(UpstreamError):
                await verify(account, purchase.status)
    bank.check((Status.MISS, ANSWER_NANOUSD))


async def test_a_deposit_is_counted_when_it_is_durable_and_never_refused():
    bank = Bank(limit_usd=1e-9)
    async with bank.accounts.deposit_purchase("d1", KEYED, embedded=False) as purchase:
        purchase.paid(ANSWER)
        assert bank.balance == (0, 0)
        assert await purchase.commit(entry(), vector(), refused=not_refused)
    (line,) = bank.lines
    assert (line.request_id, line.requests, line.purpose) == ("d1", 0, Purpose.DEPOSIT)
    bank.check((Status.MISS, ANSWER_NANOUSD))


async def test_a_deposit_that_the_disk_refuses_leaves_nothing_behind(bank):
    bank.store.fail_writes = StoreFullError("full")

    async def deposit():
        async with bank.accounts.deposit_purchase("d1", KEYED, embedded=False) as purchase:
            purchase.paid(ANSWER)
            await purchase.commit_line()

    with pytest.raises(StoreFullError):
        await deposit()
    bank.check()


async def test_a_line_that_is_refused_while_its_caller_is_cancelled_is_noted_all_the_same(bank):
    bank.store.fail_writes = StoreFullError("full")

    async def fetch():
        with bank.open() as account:
            async with bank.purchase(account) as purchase:
                purchase.paid(ANSWER)

    task = asyncio.create_task(fetch())
    await asyncio.sleep(0)  # Now it waits for its line to be durable.
    assert bank.lines == []
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    bank.check((Status.MISS, ANSWER_NANOUSD))


async def test_a_deposit_that_an_invalidation_refuses_is_booked_alone(bank):
    async def refused(_):
        return True

    async with bank.accounts.deposit_purchase("d1", KEYED, embedded=False) as purchase:
        purchase.paid(ANSWER)
        assert await purchase.commit(entry(), vector(), refused=refused) is None
    assert bank.store.stats().entries == 0
    bank.check((Status.MISS, ANSWER_NANOUSD))
