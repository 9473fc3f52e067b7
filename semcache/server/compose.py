"""The composition root: from settings to all objects of a server. Any port can be replaced by an argument.

`compose` opens the adapters that aren't replaced. `assemble` wires everything and opens nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TypedDict, Unpack

from prometheus_client import CollectorRegistry

from semcache.coordination import LocalCoordination
from semcache.costs.accounts import Accounts
from semcache.costs.budgets import Budgets
from semcache.costs.prices import PriceBook
from semcache.decision import Decider
from semcache.embedding import open_embedder
from semcache.errors import EmbeddingFailedError, OverloadedError, SettingsError, StartError
from semcache.index import open_index
from semcache.long_work import LongWork
from semcache.model import FrontStats
from semcache.observe.metrics import Metrics
from semcache.observe.spans import NoSpans, Spans
from semcache.ports import Clock, Coordination, Embedder, Store, Upstream, VectorIndex
from semcache.request import (
    CacheabilityRules,
    Keying,
    RequestMemo,
    Tasks,
    Templates,
    exemplar_texts,
    secret_key_id,
)
from semcache.server.admission import Admission
from semcache.server.auth import Authenticator
from semcache.server.call_counts import CallCounts
from semcache.server.clock import SystemClock
from semcache.server.gate import Gate
from semcache.server.grpc.calls import Calls
from semcache.server.grpc.resets import Resets
from semcache.server.grpc.server import Front
from semcache.server.grpc.service import Service
from semcache.server.http.app import HttpApp, http_app
from semcache.server.http.calls import HttpCalls
from semcache.server.secret import partition_secrets
from semcache.server.shedding import Shedding
from semcache.settings import Settings, TaskSettings
from semcache.store import LmdbStore
from semcache.story import Rooms, SemanticCache
from semcache.upstream import HttpUpstream
from semcache.wire.texts import replaced_texts


class Replacements(TypedDict, total=False):
    """Ports that replace the configured ones. Whoever gives one closes it."""

    clock: Clock
    embedder: Embedder
    store: Store
    index: VectorIndex
    upstream: Upstream
    coordination: Coordination
    prices: PriceBook
    spans: Spans


@dataclass(frozen=True, slots=True)
class Adapters:
    """What stands behind the ports of one server."""

    clock: Clock
    embedder: Embedder
    store: Store
    index: VectorIndex
    upstream: Upstream
    coordination: Coordination
    spans: Spans = field(default_factory=NoSpans)


@dataclass(frozen=True, slots=True)
class Composition:
    """All objects of one server."""

    settings: Settings
    adapters: Adapters
    registry: CollectorRegistry
    metrics: Metrics
    accounts: Accounts
    cache: SemanticCache
    gate: Gate
    admission: Admission
    service: Service
    front: Front
    http: HttpApp


async def compose(settings: Settings, closing: AsyncExitStack, **replacements: Unpack[Replacements]) -> Composition:
    """Open the adapters that the settings name and wire a server with them.

    Args:
        settings: the whole tree.
        closing: closes what is opened here, in reverse order, also when this raises.
        replacements: ports to use instead of the configured ones.

    Raises:
        StartError: a library, a port or a file is missing.
        StoreUnusableError: the store can't be opened.
        ModelMissingError: the embedding model isn't there.
        SettingsError: the settings contradict the embedding model.
    """
    clock = replacements.get("clock") or SystemClock()
    secrets = partition_secrets(settings)
    prices = replacements.get("prices") or PriceBook.open(settings.costs, targets=settings.upstream.targets)
    registry = CollectorRegistry()
    long_work = LongWork()
    metrics = Metrics(registry, settings.metrics, clock, _known_models(settings))
    embedder = replacements.get("embedder")
    if embedder is None:
        embedder = await asyncio.to_thread(
            open_embedder,
            settings.embedding,
            on_batch=lambda size, _: metrics.batch_embedded(size),
            max_wait_s=settings.server.max_wait_s,
        )
        closing.push_async_callback(embedder.close)
    store = replacements.get("store")
    if store is None:
        store = await asyncio.to_thread(
            LmdbStore.open,
            settings.store,
            clock,
            secret_key_ids=[secret_key_id(secret) for secret in secrets],
            embedder_fingerprint=embedder.fingerprint,
        )
        closing.push_async_callback(store.close)
    index = replacements.get("index")
    if index is None:
        index = open_index(settings.index, embedder.dimension, store.vectors.load)
        closing.push_async_callback(index.close)
    upstream = replacements.get("upstream")
    if upstream is None:
        upstream = _open_upstream(settings, clock, metrics, long_work)
        closing.push_async_callback(upstream.close)
    composition = assemble(
        settings,
        Adapters(
            clock=clock,
            embedder=embedder,
            store=store,
            index=index,
            upstream=upstream,
            coordination=replacements.get("coordination") or LocalCoordination(clock, settings.limits),
            spans=replacements.get("spans") or NoSpans(),
        ),
        registry=registry,
        metrics=metrics,
        prices=prices,
        secrets=secrets,
        tasks=await _open_tasks(settings.tasks, embedder),
        long_work=long_work,
    )
    # The rollup of a month takes longer to read than the event loop may stand still.
    await asyncio.to_thread(composition.accounts.budgets.open_periods, clock.wall())
    return composition


def assemble(
    settings: Settings,
    adapters: Adapters,
    *,
    registry: CollectorRegistry,
    metrics: Metrics,
    prices: PriceBook,
    secrets: Sequence[str],
    tasks: Tasks,
    long_work: LongWork | None = None,
) -> Composition:
    """Wire a server of adapters that are open.

    Args:
        settings: the whole tree.
        adapters: what stands behind the ports.
        registry: where `metrics` is registered.
        metrics: counts what happens.
        prices: what models cost.
        secrets: the partition secret, then those kept for reading.
        tasks: classifies requests; it holds the exemplars' vectors.
        long_work: the thread for long work, which the upstream may share; None: one is made.
    """
    clock, embedder, store, index = adapters.clock, adapters.embedder, adapters.store, adapters.index
    budgets = Budgets(settings.costs, store.ledger, clock, metrics)
    accounts = _accounts(settings, adapters, metrics, prices, budgets)
    memo = RequestMemo()
    long_work = long_work or LongWork()
    gate = Gate(settings.server, settings.limits)
    cache = SemanticCache(
        Rooms(
            settings=settings,
            clock=clock,
            keying=_keying(settings, adapters, secrets, memo),
            tasks=tasks,
            store=store,
            embedder=embedder,
            index=index,
            decider=Decider(settings.decision),
            upstream=adapters.upstream,
            accounts=accounts,
            coordination=adapters.coordination,
            long_work=long_work,
            calls_in_flight=lambda: gate.in_flight,
        )
    )
    admission = Admission(
        Authenticator(settings.auth), gate, settings.server.max_message_bytes, on_failure=metrics.call_failed
    )
    front = _front(settings, adapters, admission, memo, long_work)
    service = Service(
        settings=settings,
        clock=clock,
        cache=cache,
        long_work=long_work,
        calls=front.calls,
        on_failure=metrics.call_failed,
    )

    _watch(metrics, adapters, cache, budgets, front)
    http = http_app(
        settings,
        clock=clock,
        cache=cache,
        memo=memo,
        calls=HttpCalls(admission, front.counts, front.shedding, settings.server.max_message_bytes, cache.new_id),
        service=service,
        gate=gate,
        long_work=long_work,
    )
    return Composition(settings, adapters, registry, metrics, accounts, cache, gate, admission, service, front, http)


def _open_upstream(settings: Settings, clock: Clock, metrics: Metrics, long_work: LongWork) -> HttpUpstream:
    return HttpUpstream(
        settings.upstream,
        clock,
        observer=metrics,
        answer_bytes=settings.limits.answer_bytes,
        max_wait_s=settings.server.max_wait_s,
        # Without authentication there is one tenant, with which nobody shares.
        fair=settings.auth.enabled,
        long_work=long_work,
    )


def _accounts(
    settings: Settings, adapters: Adapters, metrics: Metrics, prices: PriceBook, budgets: Budgets
) -> Accounts:
    return Accounts(
        store=adapters.store,
        prices=prices,
        budgets=budgets,
        metrics=metrics,
        clock=adapters.clock,
        settings=settings.costs,
        spans=adapters.spans,
        needs_ledger=settings.store.without_ledger == "refuse",
    )


def _front(
    settings: Settings, adapters: Adapters, admission: Admission, memo: RequestMemo, long_work: LongWork
) -> Front:
    clock = adapters.clock
    counts, shedding, resets = CallCounts(), Shedding(adapters.embedder.expected_wait_s), Resets(clock.monotonic)
    calls = Calls(
        admission,
        memo,
        counts,
        shedding,
        monotonic=clock.monotonic,
        on_reset=resets.note,
        long_work=long_work,
        settings=settings,
    )
    return Front(calls, counts, shedding, resets)


def _watch(metrics: Metrics, adapters: Adapters, cache: SemanticCache, budgets: Budgets, front: Front) -> None:
    """Let the metrics read what other objects hold."""
    metrics.watch_store(adapters.store.stats)
    metrics.watch_embedder(adapters.embedder.stats)
    metrics.watch_index(adapters.index.stats)
    metrics.watch_queues(cache.queues)
    metrics.watch_budgets(budgets.shares)
    metrics.watch_replaced_texts(replaced_texts)
    metrics.watch_calls(front.counts.by_method)
    metrics.watch_front(lambda: FrontStats(front.shedding.delay_s, front.shedding.share, front.resets.closed))


def _keying(settings: Settings, adapters: Adapters, secrets: Sequence[str], memo: RequestMemo) -> Keying:
    embedder = adapters.embedder
    return Keying(
        secrets=secrets,
        fingerprint=embedder.fingerprint,
        route_policy_version=settings.upstream.route_policy_version,
        templates=Templates(settings.cacheability),
        limits=settings.limits,
        cacheability=CacheabilityRules(settings.cacheability, fits=embedder.fits, knows=embedder.knows),
        per_end_user=settings.cacheability.per_end_user,
        memo=memo,
        other_embedders=adapters.store.vectors.other_embedders,
    )


async def _open_tasks(settings: TaskSettings, embedder: Embedder) -> Tasks:
    texts = exemplar_texts(settings)
    # An exemplar that the model cuts would stand for every text that begins like it.
    problems = [
        f"tasks.exemplars: the embedding model can't read all of {text[:60]!r}: it is too long, or has characters that "
        "the model doesn't know"
        for text in texts
        if not embedder.fits(text)
    ]
    if problems:
        raise SettingsError(problems)
    try:
        return Tasks(settings, await embedder.embed(texts) if texts else None)
    except (EmbeddingFailedError, OverloadedError) as error:
        raise StartError(
            f"The exemplars of tasks can't be embedded: {error}",
            reason="EXEMPLARS_NOT_EMBEDDED",
            hint="Mend the embedding model, or raise embedding.max_queue above their number.",
        ) from error


def _known_models(settings: Settings) -> set[str]:
    routes = settings.upstream.routes
    names = (name for route in routes for name in (route.alias, *(place.model for place in route.destinations)))
    return {name for name in names if name and name != "*"}
