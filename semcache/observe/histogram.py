"""Histograms whose observations cost as little as a counter's; a scrape exports them."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from threading import Lock

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Series:
    """The values of one set of label values: how many fell into each bucket, and their sum.

    Args:
        bounds: the upper bounds of the buckets, ascending, each inclusive; an endless bucket follows them.
        created_s: wall-clock seconds.
    """

    __slots__ = ("bounds", "counts", "created_s", "total")

    def __init__(self, bounds: tuple[float, ...], created_s: float) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.created_s = created_s

    def add(self, value: float) -> None:
        """Count one value. The caller holds the histogram's lock."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Histogram(Collector):
    """One histogram with any number of label sets.

    `prometheus_client.Histogram` isn't used: it walks its buckets one by one under two locks, which costs five times as
    much, and a request adds four values. See `benchmarks/README.md`, `accounting`.

    Args:
        registry: where the histogram registers itself.
        name: the metric's name.
        documentation: the metric's help text.
        labels: the names of the labels.
        buckets: the upper bounds, ascending, each inclusive; an endless bucket follows them.
        lock: guards the series. Instruments that share one lock can be changed together, in one step for a scrape.
        wall: returns wall-clock seconds, for the `_created` samples.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        *,
        buckets: Sequence[float],
        lock: Lock | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = tuple(labels)
        self._bounds = tuple(buckets)
        self._series: dict[tuple[str, ...], Series] = {}
        self._lock = lock or Lock()
        self._wall = wall
        if not labels:
            self.series(())
        registry.register(self)

    def add(self, labels: tuple[str, ...], value: float) -> None:
        """Count one value under the label values, whose variety the caller bounds; thread-safe."""
        with self._lock:
            self.series(labels).add(value)

    def series(self, labels: tuple[str, ...]) -> Series:
        """Return the series of the label values, made at its first use. The caller holds the lock."""
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = Series(self._bounds, self._wall())
        return series

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """Yield the metric without values, for the registry's check on duplicate names."""
        yield HistogramMetricFamily(self._name, self._documentation, labels=self._labels)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield the metric with its cumulative buckets, in the order in which the label values first came.

        Label values that have counted nothing are left out; the series of a histogram without labels is always there.
        """
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        with self._lock:
            copies = [
                (labels, list(series.counts), series.total, series.created_s)
                for labels, series in self._series.items()
                if any(series.counts) or not labels
            ]
        for labels, counts, total, created_s in copies:
            cumulative, buckets = 0, []
            for bound, count in zip((*self._bounds, float("inf")), counts, strict=True):
                cumulative += count
                buckets.append((floatToGoString(bound), cumulative))  # type: ignore[no-untyped-call]  # unannotated
            family.add_metric(labels, buckets, total)
            family.add_sample(f"{self._name}_created", dict(zip(self._labels, labels, strict=True)), created_s)
        yield family
