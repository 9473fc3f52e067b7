"""Metrics whose values other rooms hold: read at each scrape, never kept up to date."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from semcache.model import CallStats, EmbedderStats, FrontStats, IndexStats, QueueStats, StoreStats

_log = structlog.get_logger(__name__)

Family = CounterMetricFamily | GaugeMetricFamily


class Watches(Collector):
    """Turns what `read` functions return into samples. They run on the scrape's thread, so they must be thread-safe."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._sources: dict[str, Callable[[], Iterator[Family]]] = {}
        registry.register(self)

    def store(self, read: Callable[[], StoreStats]) -> None:
        """Watch a store."""
        self._sources["store"] = lambda: _store_families(read())

    def embedder(self, read: Callable[[], EmbedderStats]) -> None:
        """Watch whether the embedder has the adapter that was meant."""
        self._sources["embedder"] = lambda: _embedder_families(read())

    def index(self, read: Callable[[], IndexStats]) -> None:
        """Watch an index: its partitions and vectors by search strategy."""
        self._sources["index"] = lambda: _index_families(read())

    def queues(self, read: Callable[[], Iterable[QueueStats]]) -> None:
        """Watch the depth of each queue."""
        self._sources["queues"] = lambda: _queue_families(read())

    def budgets(self, read: Callable[[], Mapping[str, float]]) -> None:
        """Watch the share of each budget that is spent or reserved, by the budget's name."""
        self._sources["budgets"] = lambda: _budget_families(read())

    def replaced_texts(self, read: Callable[[], int]) -> None:
        """Watch how many texts were told with a replaced character."""
        self._sources["texts"] = lambda: _text_families(read())

    def calls(self, read: Callable[[], Mapping[str, CallStats]]) -> None:
        """Watch the calls of each method, by how they ended."""
        self._sources["calls"] = lambda: _call_families(read())

    def front(self, read: Callable[[], FrontStats]) -> None:
        """Watch what the front measures of itself."""
        self._sources["front"] = lambda: _front_families(read())

    def describe(self) -> Iterator[Family]:
        """Yield nothing: the registry must not read from other rooms while the server is being put together."""
        yield from ()

    def collect(self) -> Iterator[Family]:
        """Yield the values now. A source that fails is left out and logged, so that the rest can still be read."""
        for name, families in list(self._sources.items()):
            try:
                values = list(families())
            except Exception:  # noqa: BLE001 - whatever a source raises, the other values must still be readable
                _log.exception("observe.source_failed", source=name)
                continue
            yield from values


def _store_families(stats: StoreStats) -> Iterator[Family]:
    yield GaugeMetricFamily(
        "semcache_entries", "Entries in the store, with expired ones that are kept or not swept yet.", stats.entries
    )
    yield GaugeMetricFamily(
        "semcache_inert_entries",
        "Entries of another embedding model, which can't be found by meaning.",
        stats.inert,
    )
    yield CounterMetricFamily(
        "semcache_reembedded_entries", "Entries of another embedding model that were embedded anew.", stats.reembedded
    )
    yield GaugeMetricFamily("semcache_store_bytes", "Bytes of the store in use.", stats.used_bytes)
    yield CounterMetricFamily("semcache_evictions", "Entries removed to make room.", stats.evictions)
    yield CounterMetricFamily("semcache_expirations", "Entries removed when their time was over.", stats.expirations)
    yield CounterMetricFamily("semcache_ledger_lost", "Ledger records that couldn't be written.", stats.notes_dropped)
    yield GaugeMetricFamily(
        "semcache_damaged_entries",
        "Damaged rows that readers met and left out since the start, each as often as it was met.",
        stats.damaged,
    )
    yield GaugeMetricFamily(
        "semcache_ledger_room_bytes",
        "Room that entries leave to the ledger, as far as it is left.",
        stats.ledger_room_bytes,
    )
    yield GaugeMetricFamily(
        "semcache_store_writable", "1 while commits reach the disk, 0 while they fail.", int(stats.is_writable)
    )
    yield CounterMetricFamily(
        "semcache_store_reopened", "Times the data file was opened again after the disk failed.", stats.reopened
    )
    yield CounterMetricFamily(
        "semcache_clock_jumps", "Jumps of the wall clock; deletions by age wait after each.", stats.clock_jumps
    )


def _embedder_families(stats: EmbedderStats) -> Iterator[Family]:
    yield GaugeMetricFamily(
        "semcache_adapter_unusable",
        "1 where the packaged adapter of the embedding model can't be used and is left out, else 0.",
        int(bool(stats.adapter_problem)),
    )


def _index_families(stats: IndexStats) -> Iterator[Family]:
    partitions = GaugeMetricFamily(
        "semcache_index_partitions", "Partitions in memory, by kind of index.", labels=("kind",)
    )
    vectors = GaugeMetricFamily("semcache_index_vectors", "Vectors in memory, by kind of index.", labels=("kind",))
    for strategy, size in sorted(stats.by_strategy.items()):
        partitions.add_metric((strategy,), size.partitions)
        vectors.add_metric((strategy,), size.vectors)
    yield from (partitions, vectors)


def _queue_families(queues: Iterable[QueueStats]) -> Iterator[Family]:
    family = GaugeMetricFamily("semcache_queue_depth", "Items waiting, by queue.", labels=("queue",))
    for queue in sorted(queues, key=lambda queue: queue.name):
        family.add_metric((queue.name,), queue.depth)
    yield family


def _budget_families(shares: Mapping[str, float]) -> Iterator[Family]:
    family = GaugeMetricFamily(
        "semcache_budget_used_ratio",
        "What is spent and reserved of a budget in its present period; of the fullest, where each tenant has one.",
        labels=("budget",),
    )
    for budget, share in sorted(shares.items()):
        family.add_metric((budget,), share)
    yield family


def _text_families(replaced: int) -> Iterator[Family]:
    yield CounterMetricFamily(
        "semcache_replaced_texts", "Texts told with a replaced character, since UTF-8 can't hold them.", replaced
    )


def _call_families(methods: Mapping[str, CallStats]) -> Iterator[Family]:
    started = CounterMetricFamily("semcache_calls_started", "Calls that were handed over.", labels=("method",))
    ended = CounterMetricFamily("semcache_calls", "Calls that ended, by gRPC code.", labels=("method", "code"))
    running = GaugeMetricFamily("semcache_calls_in_flight", "Calls that haven't ended.", labels=("method",))
    for method, calls in sorted(methods.items()):
        started.add_metric((method,), calls.started)
        running.add_metric((method,), calls.running)
        for code, count in sorted(calls.ended.items()):
            ended.add_metric((method, code), count)
    yield from (started, ended, running)


def _front_families(state: FrontStats) -> Iterator[Family]:
    yield GaugeMetricFamily(
        "semcache_front_delay_seconds", "What a new call waits before the front sees it.", state.delay_s
    )
    yield GaugeMetricFamily(
        "semcache_refused_share",
        "The share of calls that is refused for load, of those that aren't exact hits.",
        state.refused_share,
    )
    yield CounterMetricFamily(
        "semcache_connections_closed",
        "Connections that were closed because they reset too many calls.",
        state.closed_connections,
    )
