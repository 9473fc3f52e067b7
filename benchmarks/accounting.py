"""The time that accounting adds to a request: prices, budgets, its ledger line and the counters, in this process.

`python -m benchmarks.accounting [--json]` prints microseconds per request: the median of rounds, with the quartiles.
Measured is a whole account, from its opening to its end, with three budgets that every call uses. The work of the
store's writer on its own thread is not included.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator

import numpy as np
from prometheus_client import CollectorRegistry

from benchmarks.in_process import run
from semcache.costs.account import Account
from semcache.costs.accounts import Accounts
from semcache.costs.budgets import Budgets
from semcache.costs.prices import PriceBook
from semcache.model import (
    ZERO_COST,
    Answer,
    Cacheability,
    Entry,
    KeyedRequest,
    LedgerHour,
    LedgerRecord,
    Request,
    ServedHit,
    Status,
    Tier,
    Usage,
)
from semcache.observe.metrics import Metrics
from semcache.ports import Clock
from semcache.server.clock import SystemClock
from semcache.settings import CostSettings, MetricsSettings, StoreSettings
from semcache.testing.memory import Memory
from semcache.testing.memory_ports import MemoryLedger
from semcache.testing.store import MemoryStore

LIMITS_US = {"exact hit": 12.0, "semantic hit": 12.0, "miss": 60.0}
USAGE = Usage(input_tokens=1_234, cached_input_tokens=200, output_tokens=321)
BUDGETS = (
    {"name": "all", "limit_usd": 1_000_000},
    {"name": "tenants", "limit_usd": 1_000_000, "tenant": "*", "period": "day"},
    {"name": "models", "limit_usd": 1_000_000, "model": "*"},
)
_EXACT = ("key", "exact")
_SEMANTIC = (*_EXACT, "embed", "search", "decide")
REQUEST = Request("default", json.dumps({"model": "gpt-4o", "messages": ["x" * 800]}).encode())
ANSWER = Answer(b"{}", "gpt-4o", "stop", USAGE, "an answer", "gpt-4o", "openai")
KEYED = KeyedRequest(
    request=REQUEST,
    alias="gpt-4o",
    exact_key=bytes(32),
    partition=bytes(32),
    older_partitions=(),
    text="x" * 60,
    cacheability=Cacheability(Tier.SEMANTIC, "cacheable"),
    prompt_chars=800,
    output_limit=400,
    include_usage=False,
)
ENTRY = Entry("default", "default", "gpt-4o", bytes(32), bytes(32), "", ANSWER, ZERO_COST, 0.0, 1e12, entry_id=17)
VECTOR = np.full(384, 384**-0.5, dtype=np.float32)


class ForgetfulLedger(MemoryLedger):
    """A ledger that keeps none of its lines, so that a run takes no memory."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(Memory(clock, StoreSettings(), embedder_fingerprint=""))

    def record(self, line: LedgerRecord, served: ServedHit | None = None) -> None:
        del line, served

    async def record_durably(self, line: LedgerRecord) -> None:
        del line

    def hours(self, tenant: str | None, start_s: float, end_s: float) -> Iterator[LedgerHour]:
        del tenant, start_s, end_s
        return iter(())


def exact_hit(account: Account) -> None:
    for stage in _EXACT:
        account.lap(stage)
    account.end_as_hit(Status.EXACT_HIT, KEYED, ENTRY, similarity=1.0, reason="exact_match")


def semantic_hit(account: Account) -> None:
    for stage in _SEMANTIC:
        account.lap(stage)
    account.embedded += 1
    account.end_as_hit(Status.SEMANTIC_HIT, KEYED, ENTRY, similarity=0.98, reason="above_threshold", vector=VECTOR)


async def miss(accounts: Accounts, account: Account) -> None:
    for stage in _SEMANTIC:
        account.lap(stage)
    account.embedded += 1
    async with accounts.purchase(account, KEYED, ("gpt-4o",), status=Status.MISS, reason="below_threshold") as purchase:
        account.lap("upstream")
        purchase.paid(ANSWER)
        account.lap("store")


HITS = {"exact hit": exact_hit, "semantic hit": semantic_hit}


def request(accounts: Accounts, play: Callable[[Account], None]) -> Callable[[], None]:
    def account() -> None:
        with accounts.open(REQUEST) as opened:
            opened.alias = "gpt-4o"
            play(opened)

    return account


def missed(accounts: Accounts, loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
    async def account() -> None:
        with accounts.open(REQUEST) as opened:
            opened.alias = "gpt-4o"
            await miss(accounts, opened)

    return lambda: loop.run_until_complete(account())


async def nothing() -> None: ...


def main() -> None:
    clock = SystemClock()
    settings = CostSettings.model_validate({"budgets": BUDGETS})
    prices, store = PriceBook.open(settings), MemoryStore(clock)
    store.ledger = ForgetfulLedger(clock)
    metrics = Metrics(CollectorRegistry(), MetricsSettings(), clock, ["gpt-4o"])
    budgets = Budgets(settings, store.ledger, clock, metrics)
    accounts = Accounts(store=store, prices=prices, budgets=budgets, metrics=metrics, clock=clock, settings=settings)
    calls: dict[str, Callable[[], object]] = {kind: request(accounts, play) for kind, play in HITS.items()}
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        calls["miss"] = missed(accounts, loop)
        calls["(the price alone)"] = lambda: prices.cost("gpt-4o", USAGE, clock.wall())
        calls["(an empty run of the event loop)"] = lambda: loop.run_until_complete(nothing())
        run("Accounting per request", calls, LIMITS_US, __doc__ or "")


if __name__ == "__main__":
    main()
