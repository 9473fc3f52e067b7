"""Counters that count in integers, so that money and identities stay exact, exported when they are scraped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from threading import Lock

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

OTHER = "other"

_TOKEN = re.compile(r"[A-Za-z0-9_.:/-]{1,64}")


class Tally(Collector):
    """One counter with any number of labels; thread-safe.

    Adding costs a quarter of what a labelled `prometheus_client.Counter` does, and its floats would lose nanodollars.

    Args:
        registry: where it registers itself.
        name: the metric's name, without `_total`.
        documentation: its help text.
        labels: the names of its labels.
        units: how many of what is counted make one of what is exported (nanodollars in a dollar).
    """

    def __init__(
        self, registry: CollectorRegistry, name: str, documentation: str, labels: Sequence[str] = (), units: int = 1
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = tuple(labels)
        self._units = units
        self._counts: dict[tuple[str, ...], int] = {} if labels else {(): 0}
        self._lock = Lock()
        registry.register(self)

    def add(self, labels: tuple[str, ...] = (), count: int = 1) -> None:
        """Counts `count`, 0 or more, under the labels' values, whose number the caller bounds."""
        with self._lock:
            self._counts[labels] = self._counts.get(labels, 0) + count

    def counts(self) -> Mapping[tuple[str, ...], int]:
        """What was counted, by the labels' values."""
        with self._lock:
            return dict(self._counts)

    def total(self) -> int:
        """The sum over all labels."""
        with self._lock:
            return sum(self._counts.values())

    def describe(self) -> Iterator[CounterMetricFamily]:
        """The metric's name, for the registry's check on duplicates."""
        yield CounterMetricFamily(self._name, self._documentation, labels=self._labels)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """The counts, by label."""
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for labels, count in sorted(self.counts().items()):
            family.add_metric(labels, count / self._units)
        yield family


class LabelValues:
    """Keeps the values of a label that code makes up (reasons, stages, guards) few and well-formed.

    The first `limit` tokens are labels of their own; what comes later, or isn't a token, is `other`.
    """

    def __init__(self, limit: int = 64) -> None:
        self._limit = limit
        self._known: set[str] = set()

    def __call__(self, value: str) -> str:
        """The label for `value`."""
        if value in self._known:
            return value
        if len(self._known) < self._limit and _TOKEN.fullmatch(value):
            self._known.add(value)
            return value
        return OTHER
