"""What every `Ledger` promises, over the one in memory and the one on disk."""

from semcache.model import ZERO_COST, Cost, LedgerHour, Status, Usage
from semcache.testing.clock import START_WALL_S
from tests.support.stored import entry, hit, record

HOUR = {"tenant": "acme", "start_s": 0.0, "end_s": 1e11}


async def test_the_ledger_rolls_up_by_hour_tenant_model_task_type_and_status(store):
    hit = {"status": Status.EXACT_HIT, "spent": ZERO_COST, "saved": Cost(5, 6, 7, priced=True)}
    await store.entries.put(entry(), None, record("r1"))
    store.ledger.record(record("r2", **hit), None)
    store.ledger.record(record("r3", **hit, usage=Usage(1, 1, 1, estimated=True)), None)
    store.ledger.record(record("r4", at_s=START_WALL_S + 3600, spent=Cost()), None)
    await store.ledger.record_durably(record("r5", tenant="other", requests=0))
    await store.ledger.flush()
    hours = list(store.ledger.hours(**HOUR))
    start = int(START_WALL_S)
    names = {"tenant": "acme", "model": "gpt-4o-2024-08-06", "task_type": "chat"}
    spent = {"spent_input_nanousd": 1000, "spent_cached_input_nanousd": 200, "spent_output_nanousd": 3000}
    tokens = {"input_tokens": 12, "cached_input_tokens": 4, "output_tokens": 30}
    assert sorted(hours, key=lambda hour: (hour.hour_s, hour.status)) == [
        LedgerHour(
            start,
            **names,
            status=Status.EXACT_HIT,
            requests=2,
            input_tokens=13,
            cached_input_tokens=5,
            output_tokens=31,
            saved_nanousd=36,
            estimated=1,
        ),
        LedgerHour(start, **names, status=Status.MISS, requests=1, **tokens, **spent),
        LedgerHour(start + 3600, **names, status=Status.MISS, requests=1, **tokens, unpriced=1),
    ]
    assert [hour.requests for hour in store.ledger.hours("other", 0, 1e11)] == [0]
    assert len(list(store.ledger.hours(None, 0, 1e11))) == 4
    assert len(list(store.ledger.hours(None, start, start + 3600))) == 3
    assert len(list(store.ledger.hours(None, start + 1, start + 3601))) == 1


async def test_the_log_is_kept_line_by_line_oldest_first(store):
    lines = [
        record("r3", at_s=START_WALL_S + 3, saved=Cost(1, price_version="another"), similarity=0.5, entry_id=7),
        record("r1", at_s=START_WALL_S + 1.25, similarity=0.0),
        record("r2", at_s=START_WALL_S + 2, tenant="other", task_type="", model="größer"),
    ]
    for line in lines:
        store.ledger.record(line)
    await store.ledger.flush()
    assert list(store.ledger.records(None, 0, 1e11)) == [lines[1], lines[2], lines[0]]
    assert list(store.ledger.records("other", 0, 1e11)) == [lines[2]]
    assert list(store.ledger.records(None, START_WALL_S + 1.25, START_WALL_S + 3)) == [lines[1], lines[2]]


async def test_lines_of_one_request_at_one_moment_are_all_kept(store):
    for _ in range(3):
        store.ledger.record(record("same"))
    await store.ledger.flush()
    assert len(list(store.ledger.records(None, 0, 1e11))) == 3
    assert [hour.requests for hour in store.ledger.hours(None, 0, 1e11)] == [3]


async def test_a_line_is_found_by_its_request_and_its_time_to_the_millisecond(store):
    at_s = START_WALL_S + 1.5
    lines = [
        record("r1", at_s=at_s, tenant="acme"),
        record("r2", at_s=at_s, tenant="other"),
        record("r2", at_s=at_s + 60, requests=0),
        record("r" * 300, at_s=at_s),
        record("r" * 301, at_s=at_s),
    ]
    for line in lines:
        store.ledger.record(line)
    await store.ledger.flush()
    assert await store.ledger.find("r1", at_s) == lines[0]
    assert await store.ledger.find("r2", at_s + 0.0009) == lines[1]
    assert await store.ledger.find("r2", at_s - 0.0009) == lines[1]
    assert await store.ledger.find("r2", at_s + 60) == lines[2]
    assert await store.ledger.find("r" * 300, at_s) == lines[3]
    assert await store.ledger.find("r" * 301, at_s) == lines[4]
    assert await store.ledger.find("r2", at_s + 1) is None
    assert await store.ledger.find("r3", at_s) is None
    assert await store.ledger.find("r", at_s) is None


async def test_the_ledger_may_be_written_while_it_is_read(store):
    for i in range(600):
        store.ledger.record(record(f"r{i:04}"))
    await store.ledger.flush()
    seen = 0
    for _ in store.ledger.records(None, 0, 1e11):
        if seen == 0:
            await store.entries.put(entry(), None)
        seen += 1
    assert seen == 600


async def test_old_log_lines_are_swept_and_their_rollup_stays(make, clock):
    store = await make(log_ttl_s=5000)
    for i in range(300):
        store.ledger.record(record(f"r{i}", at_s=START_WALL_S + i * 0.01))
    await store.ledger.flush()
    clock.advance(6000)
    store.ledger.record(record("new", at_s=clock.wall()))
    await store.ledger.flush()
    await store.sweep()
    assert [line.request_id for line in store.ledger.records(None, 0, 1e11)] == ["new"]
    assert sum(hour.requests for hour in store.ledger.hours(None, 0, 1e11)) == 301


async def test_the_ledger_is_durable_through_now_once_flushed(store, clock):
    store.ledger.record(record())
    await store.ledger.flush()
    clock.advance(5)
    assert store.ledger.durable_through_s == clock.wall()


async def test_nonsense_that_adds_up_beyond_any_row_holds_up_nobody(store):
    dear = Cost(output_nanousd=1 << 62, priced=True)
    stored = await store.entries.put(entry(), None)
    for i in range(5):
        store.ledger.record(record(f"r{i}", spent=dear, saved=dear))
        store.ledger.record(hit(stored.entry_id, 1 << 62))
    await store.ledger.flush()
    await store.ledger.record_durably(record("last", tenant="other"))
    assert {hour.tenant for hour in store.ledger.hours(None, 0, 1e12)} == {"acme", "other"}
