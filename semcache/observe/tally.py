"""Counters that count in integers, so that money and identities stay exact; a scrape exports them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from threading import Lock

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

OTHER = "other"
"""The label value for everything that has no label value of its own."""

_TOKEN = re.compile(r"[A-Za-z0-9_.:/-]{1,64}")


class Count:
    """The number counted under one set of label values. Whoever changes `value` holds the tally's lock."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Tally(Collector):
    """One counter with any number of label sets.

    `prometheus_client.Counter` isn't used: its floats would lose nanodollars, and adding costs four times as much.
    See `benchmarks/README.md`, `accounting`.

    Args:
        registry: where the tally registers itself.
        name: the metric's name, without `_total`.
        documentation: the metric's help text.
        labels: the names of the labels.
        units: how many of what is counted make one of what is exported (nanodollars in a dollar).
        lock: guards the counts. Instruments that share one lock can be changed together, in one step for a scrape.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        *,
        units: int = 1,
        lock: Lock | None = None,
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = tuple(labels)
        self._units = units
        self._counts: dict[tuple[str, ...], Count] = {}
        self._lock = lock or Lock()
        if not labels:
            self.count(())
        registry.register(self)

    def add(self, labels: tuple[str, ...] = (), number: int = 1) -> None:
        """Count `number`, 0 or more, under the label values, whose variety the caller bounds; thread-safe."""
        with self._lock:
            self.count(labels).value += number

    def count(self, labels: tuple[str, ...]) -> Count:
        """Return the count of the label values, made at its first use. The caller holds the lock."""
        count = self._counts.get(labels)
        if count is None:
            count = self._counts[labels] = Count()
        return count

    def counts(self) -> Mapping[tuple[str, ...], int]:
        """Return a copy of what was counted, by the label values; thread-safe.

        Label values that have counted nothing are left out; the count of a tally without labels is always there.
        """
        with self._lock:
            return {labels: count.value for labels, count in self._counts.items() if count.value or not labels}

    def total(self) -> int:
        """Return the sum over all label values; thread-safe."""
        return sum(self.counts().values())

    def describe(self) -> Iterator[CounterMetricFamily]:
        """Yield the metric without values, for the registry's check on duplicate names."""
        yield CounterMetricFamily(self._name, self._documentation, labels=self._labels)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Yield the metric with its values, ordered by the label values."""
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for labels, number in sorted(self.counts().items()):
            family.add_metric(labels, number / self._units)
        yield family


class LabelValues:
    """Keeps the values of a label that code makes up (reasons, stages, guards) few and well-formed.

    The first `limit` tokens are label values of their own. Later ones, and values that are no token, become `other`.
    """

    def __init__(self, limit: int = 64) -> None:
        self._limit = limit
        self._known: set[str] = set()

    def __call__(self, value: str) -> str:
        """Return the label value for `value`: itself, or `other`."""
        if value in self._known:
            return value
        if len(self._known) < self._limit and _TOKEN.fullmatch(value):
            self._known.add(value)
            return value
        return OTHER
