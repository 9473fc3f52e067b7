"""Histograms: every value falls into one bucket, bounds are inclusive, and the page is that of prometheus_client."""

import prometheus_client
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric

from semcache.observe.histogram import Histogram

BUCKETS = (0.001, 0.5, 10.0)
VALUES = (0.0, 0.001, 0.0011, 0.5, 3.0, 10.0, 10.1, 1e9)


def page(registry: CollectorRegistry) -> list[str]:
    return [line for line in generate_latest(registry).decode().splitlines() if "_created{" not in line]


def samples(metrics: list[Metric]) -> list[str]:
    return sorted({sample.name for metric in metrics for sample in metric.samples})


def test_the_page_is_that_of_the_librarys_histogram():
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    histogram = Histogram(ours, "took", "Time.", ["who"], buckets=BUCKETS)
    library = prometheus_client.Histogram("took", "Time.", ["who"], registry=theirs, buckets=BUCKETS)
    for value in VALUES:
        for who in ("a", "b"):
            histogram.add((who,), value)
            library.labels(who).observe(value)

    assert page(ours) == page(theirs)
    assert samples(list(ours.collect())) == samples(list(theirs.collect()))


def test_without_labels_it_is_there_before_the_first_value():
    registry = CollectorRegistry()
    Histogram(registry, "took", "Time.", buckets=BUCKETS)

    assert registry.get_sample_value("took_count") == 0
    assert registry.get_sample_value("took_bucket", {"le": "+Inf"}) == 0
