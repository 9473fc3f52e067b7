"""Accounts: each ends once, its stages reach the tracer, and its id stands in every log line written for it."""

import asyncio

import structlog
from prometheus_client import CollectorRegistry

from semcache.costs.accounts import Accounts
from semcache.costs.budgets import Budgets
from semcache.costs.prices import PriceBook
from semcache.model import Request, Status
from semcache.observe.logs import add_request_id
from semcache.observe.metrics import Metrics
from semcache.settings import CostSettings, MetricsSettings
from semcache.testing.clock import FakeClock
from semcache.testing.spans import RecordingSpans
from semcache.testing.store import MemoryStore

REQUEST = Request("acme", b"{}")


def opened():
    clock, settings, spans = FakeClock(), CostSettings(), RecordingSpans()
    store = MemoryStore(clock)
    metrics = Metrics(CollectorRegistry(), MetricsSettings(), clock, [])
    accounts = Accounts(
        store=store,
        prices=PriceBook.open(settings),
        budgets=Budgets(settings, store.ledger, clock, metrics),
        metrics=metrics,
        clock=clock,
        settings=settings,
        spans=spans,
    )
    return accounts, clock, store, spans


def test_stages_and_the_request_reach_the_tracer_with_their_times():
    accounts, clock, _, spans = opened()
    with accounts.open(REQUEST) as account:
        clock.advance(2)
        account.lap("key")
        clock.advance(3)
        account.lap("exact")
        account.end_as_lookup(Status.MISS, reason="empty_partition")
    assert [(stage.name, stage.start_s, stage.end_s) for stage in spans.stages] == [("key", 0, 2), ("exact", 2, 5)]
    (request,) = spans.requests
    assert (request.record.request_id, request.reason, request.start_s, request.end_s) == (
        account.request_id,
        "empty_partition",
        0,
        5,
    )


def test_an_account_that_is_explained_leaves_no_trace():
    accounts, _, store, spans = opened()
    with accounts.open_unrecorded(REQUEST) as account:
        account.lap("search")
    assert (spans.stages, spans.requests) == ([], [])
    assert list(store.ledger.records(None, 0, 1e12)) == []


async def test_log_lines_of_a_request_and_of_the_tasks_it_makes_carry_its_id():
    accounts, *_ = opened()
    with structlog.testing.capture_logs(processors=[add_request_id]) as logs:
        log = structlog.get_logger()

        async def work():
            log.info("test.worked")

        with accounts.open(REQUEST) as account:
            log.info("test.opened")
            await asyncio.create_task(work())
            account.end_as_lookup(Status.MISS, reason="empty_partition")
        log.info("test.closed")
    assert [(line["event"], line.get("request_id")) for line in logs] == [
        ("test.opened", account.request_id),
        ("test.worked", account.request_id),
        ("test.closed", None),
    ]
