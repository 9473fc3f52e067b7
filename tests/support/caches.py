"""A whole cache over the fakes, and what must always hold of its books."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry

from semcache.coordination import LocalCoordination
from semcache.costs.accounts import Accounts
from semcache.costs.prices import PriceBook
from semcache.model import Answer, CacheControl, CacheMode, Deposit, KeyedRequest, Request, Status, Usage
from semcache.observe.metrics import Metrics
from semcache.request import Tasks, exemplar_texts
from semcache.server.compose import Adapters, assemble
from semcache.settings import Settings, load_settings
from semcache.story import SemanticCache
from semcache.testing.clock import FakeClock
from semcache.testing.embedder import HashingEmbedder
from semcache.testing.index import BruteForceIndex
from semcache.testing.store import MemoryStore
from semcache.testing.upstream import ScriptedUpstream, completion_body
from tests.support.steps import at_once

MODEL = "gpt-4o-mini"
ANSWER_NANOUSD = 20 * 150 + 10 * 600
"""What a scripted answer costs: 20 and 10 tokens at $0.15 and $0.60 per million."""


@dataclass(frozen=True)
class Rig:
    """A cache and all that it stands on."""

    cache: SemanticCache
    settings: Settings
    clock: FakeClock
    store: MemoryStore
    embedder: HashingEmbedder
    upstream: ScriptedUpstream
    metrics: Metrics
    accounts: Accounts


def rig(
    upstream: ScriptedUpstream | None = None,
    *,
    threshold: float = 0.6,
    clock: FakeClock | None = None,
    prices: PriceBook | None = None,
    costs: Mapping[str, Any] | None = None,
    tasks: Mapping[str, Any] | None = None,
    decision: Mapping[str, Any] | None = None,
    limits: Mapping[str, Any] | None = None,
    store: MemoryStore | None = None,
    without_ledger: str = "answer",
    serve_stale_s: float = 0.0,
) -> Rig:
    decides = {"threshold": threshold, **(decision or {})}
    sections = {"decision": decides, "costs": costs or {}, "tasks": tasks or {}, "limits": limits or {}}
    storing = {"without_ledger": without_ledger, "serve_stale_s": serve_stale_s}
    settings = load_settings(None, {**sections, "store": storing})
    clock = clock or FakeClock()
    store, embedder = store or MemoryStore(clock, settings.store), HashingEmbedder()
    upstream = upstream or ScriptedUpstream()
    registry = CollectorRegistry()
    metrics = Metrics(registry, settings.metrics, clock, [MODEL])
    texts = exemplar_texts(settings.tasks)
    composition = assemble(
        settings,
        Adapters(
            clock=clock,
            embedder=embedder,
            store=store,
            index=BruteForceIndex(store.vectors.load),
            upstream=upstream,
            coordination=LocalCoordination(clock, settings.limits),
        ),
        registry=registry,
        metrics=metrics,
        prices=prices or PriceBook.open(settings.costs, targets=settings.upstream.targets),
        secrets=["s" * 16],
        tasks=Tasks(settings.tasks, np.stack([embedder.vector(text) for text in texts]) if texts else None),
    )
    return Rig(composition.cache, settings, clock, store, embedder, upstream, metrics, composition.accounts)


def request(text: str, *, tenant: str = "acme", mode: CacheMode = CacheMode.DEFAULT, **fields: Any) -> Request:
    no_store = fields.pop("no_store", False)
    body = {"model": fields.pop("model", MODEL), "messages": [{"role": "user", "content": text}]}
    control = CacheControl(mode=mode, no_store=no_store)
    return Request(tenant=tenant, body=json.dumps(body).encode(), control=control, **fields)


def key(served: Rig, asked: Request) -> KeyedRequest:
    """Return a short request with its keys, which takes no await."""
    return at_once(served.cache.key(asked))


def deposit(served: Rig, asked: Request, text: str = "mine", **fields: Any) -> Deposit:
    usage = Usage(20, 0, 10)
    answer = Answer(body=completion_body(text, model=MODEL), model=MODEL, finish_reason="stop", usage=usage, text=text)
    return Deposit(key(served, asked), answer, **fields)


def check_books(served: Rig, *, requests: int) -> int:
    """Counters ≡ rollup ≡ log, each request in exactly one status; returns what was spent, in nanodollars."""
    counts = served.metrics.counts()
    assert sum(counts.values()) == requests, counts
    lines = list(served.store.ledger.records(None, 0, 1e12))
    hours = list(served.store.ledger.hours(None, 0, 1e12))
    for status in Status:
        in_log = sum(line.requests for line in lines if line.status is status)
        in_rollup = sum(hour.requests for hour in hours if hour.status is status)
        assert in_log == in_rollup == counts[status], (status, in_log, in_rollup, counts[status])
    asked = [line.request_id for line in lines if line.requests]
    assert len(set(asked)) == len(asked)
    spent = sum(line.spent.total_nanousd for line in lines)
    saved = sum(line.saved.total_nanousd for line in lines)
    assert spent == sum(hour.spent_nanousd for hour in hours) == served.metrics.spent_nanousd()
    assert saved == sum(hour.saved_nanousd for hour in hours) == served.metrics.saved_nanousd()
    return spent


def depth(served: Rig, queue: str) -> int:
    """How much waits in one of the cache's queues."""
    return {each.name: each.depth for each in served.cache.queues()}[queue]
