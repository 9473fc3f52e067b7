"""The metrics: the identity, the derived gauges, bounded labels, and values that other rooms hold."""

import math
from threading import Lock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from structlog.testing import capture_logs

from semcache.model import (
    HIT_STATUSES,
    NO_COST,
    ZERO_COST,
    Cost,
    IndexSize,
    IndexStats,
    Purpose,
    QueueStats,
    Status,
    StoreStats,
    Usage,
    hit_ratio,
)
from semcache.observe.metrics import Metrics
from semcache.observe.window import Window
from semcache.settings import MetricsSettings

NOT_ANSWERABLE = (Status.BYPASS, Status.REFRESH, Status.STALE, Status.ERROR, Status.CANCELLED)


@pytest.fixture
def value(registry):
    def value(name, **labels):
        return registry.get_sample_value(name, labels)

    return value


def test_a_request_is_counted_once_under_its_status(metrics, record, value):
    metrics.request_done(record(Status.EXACT_HIT, saved=700), [("exact", 0.0001)], "exact")

    labels = {"model": "gpt-4o", "task_type": "code"}
    assert value("semcache_requests_total", status="exact_hit", **labels) == 1
    assert value("semcache_saved_usd_total", **labels) == 7e-7
    assert value("semcache_cost_usd_total", **labels) is None
    assert value("llm_request_cost_usd_count", **labels) == 1
    assert value("llm_request_cost_usd_sum", **labels) == 0
    assert value("semcache_request_duration_seconds_count", status="exact_hit") == 1
    assert value("semcache_stage_duration_seconds_bucket", stage="exact", le="0.0001") == 1
    assert value("semcache_decisions_total", reason="exact") == 1


@pytest.mark.parametrize(("purpose", "overhead"), [("judge", 1e-6), ("verifier", 1e-6), ("lost_answer", 0)])
def test_an_own_call_is_spending_and_overhead_and_no_request(metrics, record, value, purpose, overhead):
    metrics.request_done(record(Status.MISS, spent=1_000, requests=0, purpose=Purpose(purpose)), [], purpose)

    labels = {"model": "gpt-4o", "task_type": "code"}
    assert value("semcache_cost_usd_total", **labels) == 1e-6
    assert (value("semcache_overhead_usd_total", **labels) or 0) == overhead
    assert sum(metrics.counts().values()) == 0


def test_what_came_of_the_judge_is_counted_with_its_time_and_money(metrics, value):
    for result in ("same", "other", "same"):
        metrics.judge_asked(result)
    metrics.judge_took(0.2)
    metrics.judge_paid(30_000)

    assert value("semcache_judge_questions_total", result="same") == 2
    assert value("semcache_judge_questions_total", result="other") == 1
    assert value("semcache_judge_duration_seconds_sum") == 0.2
    assert value("semcache_judge_cost_usd_total") == 3e-5


@pytest.mark.parametrize("status", Status)
def test_every_status_counts_in_the_identity(metrics, record, status):
    metrics.request_done(record(status), [], "because")

    assert metrics.counts() == {s: int(s is status) for s in Status}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # the clock stands still, `record` is pure
@given(done=st.lists(st.tuples(st.sampled_from(Status), st.sampled_from(["", "code", "x"])), max_size=40))
def test_statuses_add_up_and_make_the_hit_ratio(done, clock, record):
    metrics = Metrics(CollectorRegistry(), MetricsSettings(), clock, ["gpt-4o"])
    for status, task_type in done:
        metrics.request_done(record(status, task_type=task_type), [], "because")

    counts = metrics.counts()
    hits = sum(counts[status] for status in HIT_STATUSES)
    answerable = len(done) - sum(counts[s] for s in NOT_ANSWERABLE)
    assert sum(counts.values()) == len(done)
    assert hit_ratio(counts) == (hits / answerable if answerable else None)


def test_money_is_counted_to_the_nanodollar(metrics, record):
    for _ in range(1000):
        metrics.request_done(record(Status.MISS, spent=100_000_000_000_000_001), [], "miss")
        metrics.request_done(record(Status.SEMANTIC_HIT, saved=3), [], "hit")

    assert metrics.spent_nanousd() == 100_000_000_000_000_001_000
    assert metrics.saved_nanousd() == 3000


def test_a_callers_store_counts_its_money_and_no_request(metrics, record, value):
    metrics.request_done(record(Status.MISS, spent=5, requests=0), [], "stored")

    assert sum(metrics.counts().values()) == 0
    assert metrics.spent_nanousd() == 5
    assert value("llm_request_cost_usd_count", model="gpt-4o", task_type="code") == 1
    assert value("semcache_request_duration_seconds_count", status="miss") is None
    assert value("semcache_decisions_total", reason="stored") is None


def test_a_lookup_that_missed_has_no_cost_to_observe(metrics, record, value):
    metrics.request_done(record(Status.MISS, usage=Usage()), [], "no_candidate")

    assert value("llm_request_cost_usd_count", model="gpt-4o", task_type="code") is None
    assert value("semcache_unpriced_requests_total") == 0


@pytest.mark.parametrize(
    ("status", "spent", "saved", "unpriced"),
    [
        (Status.MISS, None, 0, 1),
        (Status.BYPASS, None, None, 1),
        (Status.MISS, 5, None, 0),
        (Status.EXACT_HIT, 0, None, 1),
        (Status.EXACT_HIT, 0, 5, 0),
        (Status.ERROR, None, None, 0),
    ],
)
def test_requests_without_a_price_are_counted_as_such(metrics, record, value, *, status, spent, saved, unpriced):
    metrics.request_done(record(status, spent=spent, saved=saved), [], "because")

    assert value("semcache_unpriced_requests_total") == unpriced


def test_an_errors_reason_is_counted_apart_from_decisions(metrics, record, value):
    metrics.request_done(record(Status.ERROR), [], "UPSTREAM_TIMED_OUT")
    metrics.call_failed("UPSTREAM_TIMED_OUT")  # Every failed call is counted here, once.
    metrics.call_failed("NOT_FOUND")

    assert value("semcache_errors_total", reason="UPSTREAM_TIMED_OUT") == 1
    assert value("semcache_errors_total", reason="NOT_FOUND") == 1
    assert value("semcache_decisions_total", reason="UPSTREAM_TIMED_OUT") is None


@pytest.mark.parametrize(
    ("model", "alias", "label"),
    [
        ("gpt-4o", "fast", "gpt-4o"),
        ("gpt-4o-2024-08-06", "fast", "fast"),
        ("", "fast", "fast"),
        ("made-up", "made-up-too", "other"),
    ],
)
def test_models_outside_the_list_are_their_alias_or_other(metrics, record, value, *, model, alias, label):
    metrics.request_done(record(Status.MISS, model=model, alias=alias), [], "miss")

    assert value("semcache_requests_total", status="miss", model=label, task_type="code") == 1


@pytest.mark.parametrize(("task_type", "label"), [("code", "code"), ("secret project", "other"), ("", "none")])
def test_task_types_outside_the_list_are_other(metrics, record, value, task_type, label):
    metrics.request_done(record(Status.MISS, task_type=task_type), [], "miss")

    assert value("semcache_requests_total", status="miss", model="gpt-4o", task_type=label) == 1


def test_configured_models_replace_the_known_ones(registry, clock, record, value):
    metrics = Metrics(registry, MetricsSettings(models=("only",)), clock, ["gpt-4o", "fast"])

    metrics.request_done(record(Status.MISS), [], "miss")
    metrics.request_done(record(Status.MISS, model="only"), [], "miss")

    assert value("semcache_requests_total", status="miss", model="other", task_type="code") == 1
    assert value("semcache_requests_total", status="miss", model="only", task_type="code") == 1


def test_tokens_that_code_makes_up_are_bounded(metrics, record, registry):
    for number in range(500):
        metrics.request_done(record(Status.MISS), [(f"stage{number}", 0.1)], f"reason{number}")
        metrics.call_failed(f"E{number}")
        metrics.guard_vetoed(f"guard{number}")
        metrics.store_skipped(f"skip{number}")
        metrics.upstream_attempted(f"target{number}", f"outcome{number}")
        metrics.upstream_done(f"target{number}", 0.1)

    for family in registry.collect():
        series = {tuple(v for k, v in sample.labels.items() if k != "le") for sample in family.samples}
        assert len(series) <= 257, family.name


def test_what_is_no_token_is_never_a_label(metrics, record, registry):
    prompt = "What is my balance?\nAccount 12"
    metrics.request_done(record(Status.MISS, model=prompt, alias=prompt, task_type=prompt), [(prompt, 0.1)], prompt)
    metrics.request_done(record(Status.ERROR), [], prompt)
    metrics.verdict_reported(prompt)

    assert "balance" not in generate_latest(registry).decode()


def test_gauges_cover_the_window_and_forget_what_is_older(metrics, record, clock, value):
    metrics.request_done(record(Status.MISS, spent=300), [], "miss")
    clock.now_s += 1800
    metrics.request_done(record(Status.EXACT_HIT, saved=100), [], "exact")

    assert value("llm_cache_hit_ratio") == 0.5
    assert value("llm_cost_savings_percent") == 25.0

    clock.now_s += 1860
    assert value("llm_cache_hit_ratio") == 1.0
    assert value("llm_cost_savings_percent") == 100.0

    clock.now_s += 3600
    assert math.isnan(value("llm_cache_hit_ratio"))
    assert math.isnan(value("llm_cost_savings_percent"))


@pytest.mark.parametrize("status", [Status.BYPASS, Status.REFRESH, Status.ERROR, Status.CANCELLED])
def test_what_could_not_hit_is_outside_the_ratio_but_its_spending_counts(metrics, record, value, status):
    metrics.request_done(record(Status.EXACT_HIT, saved=100), [], "exact")
    metrics.request_done(record(status, spent=100), [], "because")

    assert value("llm_cache_hit_ratio") == 1.0
    assert value("llm_cost_savings_percent") == 50.0


def test_the_window_keeps_a_bounded_number_of_slots(clock):
    window = Window(clock, 3600.0, Lock())
    for _ in range(500):
        clock.now_s += 61
        window.add(Status.MISS, 1, 0, 0)

    assert repr(window) == "Window(slots=60, limit=60)"


def test_the_small_counters_count(metrics, value):
    metrics.guard_vetoed("numbers")
    metrics.batch_embedded(32)
    metrics.upstream_attempted("openai", "429")
    metrics.upstream_done("openai", 0.2)
    metrics.verdict_reported("wrong")
    metrics.store_skipped("tool_calls")
    metrics.store_skipped("unknown_finish_reason:moonrise")
    metrics.store_skipped("unknown_finish_reason:sunset")

    assert value("semcache_guard_vetoes_total", guard="numbers") == 1
    assert value("semcache_embedding_batch_size_bucket", le="32.0") == 1
    assert value("semcache_embedding_batch_size_bucket", le="16.0") == 0
    assert value("semcache_upstream_attempts_total", target="openai", outcome="429") == 1
    assert value("semcache_upstream_duration_seconds_count", target="openai") == 1
    assert metrics.verdicts() == {"wrong": 1}
    assert value("semcache_store_skipped_total", reason="tool_calls") == 1
    assert value("semcache_store_skipped_total", reason="unknown_finish_reason") == 2


def test_what_others_hold_is_asked_for_at_each_scrape(metrics, value):
    entries = [1]

    def store():
        return StoreStats(
            entries=entries[0], used_bytes=2, evictions=3, expirations=4, pending=5, inert=6, notes_dropped=7, damaged=8
        )

    metrics.watch_store(store)
    metrics.watch_index(lambda: IndexStats(by_strategy={"flat": IndexSize(partitions=1, vectors=300)}))
    metrics.watch_queues(lambda: [QueueStats("embed", depth=7, capacity=9)])

    assert value("semcache_entries") == 1
    assert value("semcache_store_bytes") == 2
    assert value("semcache_evictions_total") == 3
    assert value("semcache_expirations_total") == 4
    assert value("semcache_inert_entries") == 6
    assert value("semcache_ledger_lost_total") == 7
    assert value("semcache_damaged_entries") == 8
    assert value("semcache_index_partitions", kind="flat") == 1
    assert value("semcache_index_vectors", kind="flat") == 300
    assert value("semcache_queue_depth", queue="embed") == 7

    entries[0] = 10
    assert value("semcache_entries") == 10


def test_a_source_that_fails_is_logged_and_leaves_the_rest_readable(metrics, value):
    def broken():
        raise RuntimeError("gone")

    metrics.watch_store(broken)
    metrics.watch_queues(lambda: [QueueStats("embed", depth=7, capacity=9)])

    with capture_logs() as logs:
        assert value("semcache_queue_depth", queue="embed") == 7

    assert value("semcache_entries") is None
    assert logs[0]["event"] == "observe.source_failed"
    assert logs[0]["source"] == "store"


def test_two_sets_of_metrics_live_beside_each_other(metrics, record, clock):
    other = Metrics(CollectorRegistry(), MetricsSettings(), clock, ["gpt-4o"])

    metrics.request_done(record(Status.MISS), [], "miss")

    assert sum(other.counts().values()) == 0


def test_one_registry_takes_one_set_of_metrics(metrics, registry, clock):
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        Metrics(registry, MetricsSettings(), clock, [])


def test_what_ended_is_counted_before_anyone_reads(metrics, record, clock, value):
    for _ in range(3):
        metrics.request_done(record(Status.EXACT_HIT, saved=100), [("exact", 0.001)], "exact")

    assert metrics.saved_nanousd() == 300
    metrics.request_done(record(Status.MISS, spent=100), [], "miss")
    assert metrics.counts()[Status.MISS] == 1
    metrics.request_done(record(Status.MISS), [], "miss")
    clock.now_s += 10_000
    assert math.isnan(value("llm_cache_hit_ratio"))  # it ended in a window that is over


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_counting_where_labels_are_remembered_counts_as_looking_them_up_each_time(record, clock, data):
    remembering, forgetting = CollectorRegistry(), CollectorRegistry()
    both = [
        Metrics(remembering, MetricsSettings(), clock, ["gpt-4o"]),
        Metrics(forgetting, MetricsSettings(), clock, ["gpt-4o"], max_remembered=1),
    ]
    ends = st.tuples(
        st.sampled_from(Status),
        st.none() | st.integers(0, 9),
        st.none() | st.integers(0, 9),
        st.sampled_from([{}, {"model": "gpt-4o-mini"}, {"usage": Usage()}, {"requests": 0}, {"task_type": ""}]),
        st.sampled_from(["why", "else"]),
        st.floats(0, 40),
    )
    for status, spent, saved, fields, reason, pause_s in data.draw(st.lists(ends, max_size=90)):
        line = record(status, spent=spent, saved=saved, **fields)
        clock.now_s += pause_s
        for metrics in both:
            metrics.request_done(line, [("key", 0.001), ("exact", 0.02)], reason)

    def page(registry):
        lines = generate_latest(registry).decode().splitlines()
        return sorted(line for line in lines if "_created" not in line)

    assert page(remembering) == page(forgetting)


@pytest.mark.parametrize(
    ("status", "spent", "saved", "partly"),
    [
        (Status.MISS, Cost(5, priced=True, partly_priced=True), ZERO_COST, 1),
        (Status.EXACT_HIT, ZERO_COST, Cost(5, priced=True, partly_priced=True), 1),
        (Status.MISS, Cost(5, priced=True), ZERO_COST, 0),
        (Status.MISS, NO_COST, ZERO_COST, 0),
    ],
    ids=["spent", "saved", "whole", "unpriced"],
)
def test_requests_that_are_partly_priced_are_counted_as_such(metrics, record, value, *, status, spent, saved, partly):
    metrics.request_done(record(status)._replace(spent=spent, saved=saved), [], "because")

    assert value("semcache_partly_priced_requests_total") == partly
