"""Prometheus' linter accepts the page."""

import subprocess

from prometheus_client import generate_latest

from semcache.model import IndexSize, IndexStats, QueueStats, Status, StoreStats


def test_promtool_finds_nothing_to_say(require_program, metrics, record, registry):
    stats = StoreStats(entries=3, inert=5, used_bytes=4096, evictions=1, expirations=2, notes_dropped=6, damaged=7)
    metrics.watch_store(lambda: stats)
    metrics.watch_index(lambda: IndexStats(by_strategy={"numpy": IndexSize(partitions=2, vectors=3)}))
    metrics.watch_queues(lambda: [QueueStats("embed", depth=0, capacity=9)])
    for status in Status:
        metrics.request_done(record(status, spent=300, saved=100), [("exact", 0.001)], "because")
    metrics.guard_vetoed("numbers")
    metrics.batch_embedded(8)
    metrics.upstream_attempted("openai", "ok")
    metrics.upstream_done("openai", 0.5)
    metrics.verdict_reported("wrong")
    metrics.store_skipped("tool_calls")

    linted = subprocess.run(
        [require_program("promtool"), "check", "metrics"],
        input=generate_latest(registry),
        capture_output=True,
    )

    assert (linted.returncode, linted.stdout, linted.stderr) == (0, b"", b"")
