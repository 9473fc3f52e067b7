"""Gauges whose values others hold: asked for when they are scraped, never kept up to date."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from semcache.model import StoreStats

_log = structlog.get_logger(__name__)

Read = Callable[[], Mapping[str, int]]
ReadShares = Callable[[], Mapping[str, float]]
Family = CounterMetricFamily | GaugeMetricFamily


class Watches(Collector):
    """Turns what `read` functions return into samples. They are called on the scrape's thread and must bear that."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._sources: dict[str, Callable[[], Iterator[Family]]] = {}
        registry.register(self)

    def store(self, read: Callable[[], StoreStats]) -> None:
        """Export what `Store.stats` returns at each scrape."""
        self._sources["store"] = lambda: _store_families(read())

    def index(self, read: Read) -> None:
        """Watches `VectorIndex.stats`: partitions and vectors by kind, as in `partitions_flat`, `vectors_flat`."""
        self._sources["index"] = lambda: _index_families(read())

    def queues(self, read: Read) -> None:
        """Watches the depth of each queue, by its name."""
        self._sources["queues"] = lambda: _queue_families(read())

    def budgets(self, read: ReadShares) -> None:
        """Watches the share of each budget that is spent or reserved, by its name."""
        self._sources["budgets"] = lambda: _budget_families(read())

    def describe(self) -> Iterator[Family]:
        """Nothing: the registry must not ask others for values while it is being put together."""
        yield from ()

    def collect(self) -> Iterator[Family]:
        """The values now. A source that fails is left out and logged: the rest of the page is still true."""
        for name, families in list(self._sources.items()):
            try:
                found = list(families())
            except Exception:  # noqa: BLE001 - whatever a source raises, the other figures must still be readable
                _log.exception("metrics.source_failed", source=name)
                continue
            yield from found


def _store_families(stats: StoreStats) -> Iterator[Family]:
    yield GaugeMetricFamily("semcache_entries", "Live entries in the store.", stats.entries)
    yield GaugeMetricFamily(
        "semcache_inert_entries",
        "Entries of another embedding model, which can't be found by meaning.",
        stats.inert,
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


def _index_families(stats: Mapping[str, int]) -> Iterator[Family]:
    for measure, documentation in (
        ("partitions", "Partitions in memory, by kind of index."),
        ("vectors", "Vectors in memory, by kind of index."),
    ):
        family = GaugeMetricFamily(f"semcache_index_{measure}", documentation, labels=("kind",))
        for key, value in sorted(stats.items()):
            if key.startswith(f"{measure}_"):
                family.add_metric((key.removeprefix(f"{measure}_"),), value)
        yield family


def _queue_families(depths: Mapping[str, int]) -> Iterator[Family]:
    family = GaugeMetricFamily("semcache_queue_depth", "Items waiting, by queue.", labels=("queue",))
    for queue, depth in sorted(depths.items()):
        family.add_metric((queue,), depth)
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
