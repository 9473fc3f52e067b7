"""How writes become groups, and what happens when too many wait or when they come together."""

import asyncio
import threading

import pytest

from semcache.errors import OverloadedError
from semcache.model import Changes, Usage
from semcache.store import check
from semcache.store.transaction import WriteTransaction
from semcache.testing.clock import START_WALL_S, FakeClock
from tests.support.stored import all_entries, digest, entry, get, hit, record, served, store_settings, vector
from tests.support.stores import open_store


class Gate:
    """Stops the writer within a group until the gate is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered = threading.Event()
        self._opened = threading.Event()
        finish = WriteTransaction.finish

        def wait(transaction: WriteTransaction) -> None:
            self.entered.set()
            assert self._opened.wait(30)
            finish(transaction)

        monkeypatch.setattr(WriteTransaction, "finish", wait)

    def open(self) -> None:
        self._opened.set()


async def test_writes_that_wait_together_share_a_commit(tmp_path, monkeypatch):
    store = open_store(tmp_path, commit_items=10)
    gate = Gate(monkeypatch)
    first = asyncio.create_task(store.entries.put(entry("first"), None))
    await asyncio.to_thread(gate.entered.wait)
    rest = [asyncio.create_task(store.entries.put(entry(f"n{i}"), None)) for i in range(25)]
    await asyncio.sleep(0)
    assert store.stats().pending == 25
    gate.open()
    await asyncio.gather(first, *rest)
    assert store.stats().commits == 1 + 3
    await store.close()


async def test_a_full_queue_refuses_writes_and_counts_the_notes_it_drops(tmp_path, monkeypatch):
    store = open_store(tmp_path, max_queue=3)
    gate = Gate(monkeypatch)
    first = asyncio.create_task(store.entries.put(entry("first"), None))
    await asyncio.to_thread(gate.entered.wait)
    rest = [asyncio.create_task(store.entries.put(entry(f"n{i}"), None)) for i in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError, match="3 writes wait"):
        await store.entries.put(entry("one too many"), None)
    for i in range(5):
        store.ledger.record(record(f"r{i}"))
    assert store.stats().notes_dropped == 2
    gate.open()
    await asyncio.gather(first, *rest)
    await store.close()


async def test_notes_go_to_disk_by_themselves(tmp_path):
    store = open_store(tmp_path)
    committed = asyncio.Event()
    loop = asyncio.get_running_loop()
    succeeded = store._core.writer._written

    def tell(*args):
        succeeded(*args)
        loop.call_soon_threadsafe(committed.set)

    store._core.writer._written = tell
    store.ledger.record(record("r1"), served("h1"))
    assert await store.verdicts.served("h1") == served("h1")
    await committed.wait()
    assert [line.request_id for line in store.ledger.records(None, 0, 1e11)] == ["r1"]
    assert await store.verdicts.served("h1") == served("h1")
    await store.close()


async def test_the_ledger_is_durable_only_as_far_as_it_was_committed(tmp_path, monkeypatch):
    clock = FakeClock()
    store = open_store(tmp_path, clock)
    gate = Gate(monkeypatch)
    write = asyncio.create_task(store.ledger.record_durably(record()))
    await asyncio.to_thread(gate.entered.wait)
    clock.advance(100)
    assert store.ledger.durable_through_s == START_WALL_S
    gate.open()
    await write
    await store.ledger.flush()
    assert store.ledger.durable_through_s == START_WALL_S + 100
    await store.close()


async def test_closing_writes_all_that_waits(tmp_path):
    store = open_store(tmp_path, commit_items=1000, commit_wait_s=1)
    writes = [asyncio.create_task(store.entries.put(entry(f"n{i}"), vector(i), record(f"r{i}"))) for i in range(100)]
    store.ledger.record(record("noted"), served("h1"))
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*writes)
    store = open_store(tmp_path)
    assert all([await store.entries.find_exact(digest(f"n{i}")) for i in range(100)])
    assert len(list(store.ledger.records(None, 0, 1e11))) == 101
    assert await store.verdicts.served("h1") == served("h1")
    await store.close()


async def test_what_comes_and_goes_within_a_group_is_added_by_nobody(tmp_path):
    store = open_store(tmp_path, commit_items=2, commit_wait_s=1)
    seen: list[Changes] = []
    store.entries.subscribe(seen.append)
    first, second = await asyncio.gather(
        store.entries.put(entry("a"), vector(1)), store.entries.put(entry("a"), vector(2))
    )
    assert [entry_id for _, entry_id, _ in seen[0].added] == [second.entry_id]
    assert [entry_id for _, entry_id, _ in seen[0].removed] == [first.entry_id]
    assert await get(store, first.entry_id) is None
    await store.close()
    assert check(store_settings(tmp_path)).clean


async def test_a_failing_listener_keeps_nobody_from_being_told(tmp_path):
    store = open_store(tmp_path)
    seen: list[Changes] = []

    def fail(changes: Changes) -> None:
        raise RuntimeError("broken listener")

    store.entries.subscribe(fail)
    store.entries.subscribe(seen.append)
    assert await store.entries.put(entry(), vector())
    assert len(seen) == 1
    await store.close()


async def test_uses_survive_a_restart_and_decide_who_leaves(tmp_path):
    clock = FakeClock()
    store = open_store(tmp_path, clock, eviction="lru")
    stored = [await store.entries.put(entry(name, created_s=START_WALL_S), None) for name in "abc"]
    clock.advance(60)
    store.ledger.record(hit(stored[0].entry_id, 7, clock.wall()))
    await store.close()
    store = open_store(tmp_path, clock, eviction="lru", max_entries=3)
    clock.advance(60)
    await store.entries.put(entry("d", created_s=clock.wall()), None)
    assert [one.text for one in await all_entries(store.entries, "acme")] == ["What is a?", "What is c?", "What is d?"]
    await store.close()


async def test_a_store_larger_than_a_sample_evicts_what_is_worth_little(tmp_path):
    store = open_store(tmp_path, max_entries=400, eviction="lru")
    for start in range(0, 800, 20):
        writes = (
            store.entries.put(entry(f"n{i}", created_s=START_WALL_S - 10_000 + i), None)
            for i in range(start, start + 20)
        )
        await asyncio.gather(*writes)
    kept = [one.created_s - START_WALL_S + 10_000 for one in await all_entries(store.entries, "acme")]
    assert len(kept) == 400
    assert sorted(kept)[200] > 480  # by chance alone it would be 400, in perfect order 600
    assert store.stats().evictions == 400
    await store.close()
    assert check(store_settings(tmp_path)).clean


async def test_history_is_bounded_and_its_rollup_stays(tmp_path):
    store = open_store(tmp_path, max_bytes=1 << 20)
    for i in range(3000):
        store.ledger.record(
            record(f"r{i}", at_s=START_WALL_S + i * 0.001), served(f"h{i}", at_s=START_WALL_S + i * 0.001)
        )
        if i % 100 == 0:
            await store.ledger.flush()
    await store.ledger.flush()
    stats = store.stats()
    assert stats.history_bytes <= 0.8 * 0.25 * (1 << 20)
    assert stats.history_dropped > 1000
    lines = [line.request_id for line in store.ledger.records(None, 0, 1e11)]
    assert lines[-1] == "r2999"
    assert await store.verdicts.served("h0") is None
    assert await store.verdicts.served("h2999") is not None
    assert sum(hour.requests for hour in store.ledger.hours(None, 0, 1e11)) == 3000
    await store.close()
    report = check(store_settings(tmp_path))
    assert report.clean, report.problems


async def test_a_line_that_cannot_be_written_is_dropped_and_counted_alone(tmp_path):
    store = open_store(tmp_path)
    store.ledger.record(record("good"))
    store.ledger.record(record("bad", usage=Usage(input_tokens=1 << 70)))
    await store.ledger.flush()

    assert [line.request_id for line in store.ledger.records(None, 0, 1e11)] == ["good"]
    assert store.stats().notes_dropped == 1
    await store.close()


async def test_notes_that_come_while_the_thread_takes_some_are_all_written(tmp_path):
    store = open_store(tmp_path, max_queue=50_000)
    for number in range(10_000):
        store.ledger.record(record(f"r{number}"))
        if number % 500 == 0:
            await store.entries.put(entry(f"e{number}"), None)  # the thread drains meanwhile
    await store.ledger.flush()
    assert sum(1 for _ in store.ledger.records(None, 0, 1e11)) == 10_000
    await store.close()
