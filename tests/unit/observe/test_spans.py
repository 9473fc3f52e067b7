"""Spans: tracing that is off drops everything; a tracer gets each stage and each request with their times."""

import inspect

import pytest

from semcache.model import Status
from semcache.observe.spans import NoSpans, Spans
from semcache.testing.spans import RecordingSpans, RequestSpan, StageSpan


def trace(spans: Spans, record):
    """Two stages and the end of their request, as an account gives them."""
    spans.stage("r", "key", 10.0, 10.25)
    spans.stage("r", "exact", 10.25, 10.5)
    spans.request(record, [("key", 0.25), ("exact", 0.25)], reason="exact_match", start_s=10.0, end_s=10.5)


def test_a_tracer_gets_each_stage_and_each_request(record):
    spans, line = RecordingSpans(), record(Status.EXACT_HIT)

    trace(spans, line)

    assert spans.stages == [StageSpan("r", "key", 10.0, 10.25), StageSpan("r", "exact", 10.25, 10.5)]
    assert spans.requests == [RequestSpan(line, (("key", 0.25), ("exact", 0.25)), "exact_match", 10.0, 10.5)]


def test_what_is_kept_doesnt_change_with_the_callers_list(record):
    spans, stages = RecordingSpans(), [("key", 0.25)]

    spans.request(record(Status.MISS), stages, reason="below_threshold", start_s=0.0, end_s=1.0)
    stages.append(("late", 1.0))

    assert spans.requests[0].stages == (("key", 0.25),)


def test_tracing_that_is_off_keeps_nothing(record):
    spans = NoSpans()

    trace(spans, record(Status.EXACT_HIT))

    assert vars(spans) == {}


@pytest.mark.parametrize("method", ["stage", "request"])
@pytest.mark.parametrize("implementation", [NoSpans, RecordingSpans])
def test_every_implementation_has_the_seams_signature(implementation, method):
    assert inspect.signature(getattr(implementation, method)) == inspect.signature(getattr(Spans, method))
