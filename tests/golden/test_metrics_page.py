"""The metrics page, word for word: names, labels and help texts are what dashboards and alerts are built on."""

import os
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from semcache.model import (
    NO_COST,
    ZERO_COST,
    CallStats,
    Cost,
    EmbedderStats,
    FrontStats,
    IndexSize,
    IndexStats,
    LedgerRecord,
    QueueStats,
    Status,
    StoreStats,
    Usage,
)
from semcache.observe.metrics import Metrics
from semcache.settings import MetricsSettings

PAGE = Path(__file__).with_name("metrics_page.txt")


@dataclass
class StillClock:
    def monotonic(self):
        return 1_000.0

    def wall(self):
        return 1_000.0


def page():
    registry = CollectorRegistry()
    metrics = Metrics(registry, MetricsSettings(), StillClock(), ["gpt-4o"])
    stats = StoreStats(
        entries=3,
        inert=5,
        reembedded=10,
        used_bytes=4096,
        evictions=1,
        expirations=2,
        notes_dropped=6,
        damaged=7,
        ledger_room_bytes=8192,
        reopened=8,
        clock_jumps=9,
    )
    metrics.watch_store(lambda: stats)
    metrics.watch_embedder(lambda: EmbedderStats(adapter_problem="it is damaged"))
    metrics.watch_index(lambda: IndexStats(by_strategy={"numpy": IndexSize(partitions=2, vectors=3)}))
    metrics.watch_queues(lambda: [QueueStats("store", depth=1, capacity=9), QueueStats("embed", depth=0, capacity=9)])
    metrics.watch_budgets(lambda: {"all": 0.5})
    calls = {"Complete": CallStats(3, 1, {"OK": 1, "CANCELLED": 1}), "Watch": CallStats(1, 1, {})}
    metrics.watch_calls(lambda: calls)
    metrics.watch_front(lambda: FrontStats(delay_s=0.25, refused_share=0.5, closed_connections=2))
    price = Cost(input_nanousd=250_000, output_nanousd=100_000, priced=True, price_version="test")
    for status, spent, saved in [
        (Status.MISS, price, ZERO_COST),
        (Status.EXACT_HIT, ZERO_COST, price),
        (Status.SEMANTIC_HIT, ZERO_COST, NO_COST),
        (Status.ERROR, ZERO_COST, ZERO_COST),
    ]:
        usage = Usage() if status is Status.ERROR else Usage(100, 0, 10)
        record = LedgerRecord(
            "r", 1_000.0, "t", "n", "gpt-4o", "gpt-4o", "code", status, usage, spent, saved, latency_s=0.25
        )
        metrics.request_done(record, [("exact", 0.0625)], str(status))
    metrics.guard_vetoed("numbers")
    metrics.batch_embedded(8)
    metrics.upstream_attempted("openai", "ok")
    metrics.upstream_done("openai", 0.5)
    metrics.upstream_swapped("openai")
    for state in (0, 2):
        metrics.breaker_changed("openai", state)
    for reason in ("budget", "error_rate"):
        metrics.degraded_changed(reason)
    metrics.verdict_reported("wrong")
    metrics.store_skipped("tool_calls")
    metrics.judge_asked("same")
    metrics.judge_took(0.125)
    metrics.judge_paid(30_000)
    # The moments at which series were made differ from run to run.
    return "".join(
        line for line in generate_latest(registry).decode().splitlines(keepends=True) if "_created" not in line
    )


def test_the_page_is_as_it_was():
    """After a change that is meant: SEMCACHE_WRITE_GOLDEN=1 pytest tests/golden, then read the difference."""
    found = page()
    if os.environ.get("SEMCACHE_WRITE_GOLDEN") == "1":
        PAGE.write_text(found, "utf-8")

    assert found == PAGE.read_text("utf-8")


def test_the_briefs_names_are_exact():
    found = page()

    for line in (
        "# TYPE llm_request_cost_usd histogram",
        "# TYPE llm_cache_hit_ratio gauge",
        "# TYPE llm_cost_savings_percent gauge",
        'llm_request_cost_usd_count{model="gpt-4o",task_type="code"} 3.0',
    ):
        assert f"{line}\n" in found
