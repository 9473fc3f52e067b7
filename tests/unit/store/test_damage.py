"""Damage on disk: what readers do about it, what a check finds, and that a repair removes it and keeps the rest."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from semcache.model import Rejection, Selector, Status
from semcache.store import CheckReport, check, layout, repair
from semcache.store.embedders import EmbedderRun, pack_runs
from semcache.store.eviction import Access, pack_access
from semcache.store.layout import Counters, pack_id
from semcache.store.seals import sealed_row
from semcache.store.table import sealed, sealed_again
from semcache.testing.clock import FakeClock
from tests.support.stored import all_entries, digest, entry, get, hit, record, served, store_settings, vector
from tests.support.stores import open_store, writing

KEPT, HURT = 1, 2
PARTITION = digest("partition")


async def filled(path: Path) -> None:
    """Make a store of two entries, of which the tests damage the second, and one row of each other kind."""
    store = open_store(path)
    await store.entries.put(
        entry("kept", tags=("t",), sources=("s",)), vector(1), record("r1", status=Status.EXACT_HIT)
    )
    await store.entries.put(
        entry("hurt", tags=("t",), sources=("s",)), vector(2), record("r2", status=Status.EXACT_HIT)
    )
    store.ledger.record(hit(HURT, 5), served("h1", HURT))
    await store.close()


def flip(row: bytes) -> bytes:
    return row[:-1] + bytes([row[-1] ^ 1])


def damage_entry(txn, dbs):
    txn.put(pack_id(HURT), flip(txn.get(pack_id(HURT), db=dbs.entries)), db=dbs.entries)


def contradict(row: bytes, cut: int) -> bytes:
    """A row whose checksum fits, although its end is missing."""
    return sealed(row[4:-cut], HURT)


def contradict_entry(txn, dbs):
    txn.put(pack_id(HURT), contradict(txn.get(pack_id(HURT), db=dbs.entries), 150), db=dbs.entries)


def contradict_text_of_entry(txn, dbs):
    row = txn.get(pack_id(HURT), db=dbs.entries)
    txn.put(pack_id(HURT), sealed(row[4:].replace(b"acme", b"\xff\xfe\xfd\xfc"), HURT), db=dbs.entries)


def contradict_access(txn, dbs):
    txn.put(pack_id(HURT), sealed_row(pack_id(HURT), b"short"), db=dbs.access)


def lose_entry(txn, dbs):
    txn.delete(pack_id(HURT), db=dbs.entries)


def lose_exact_key(txn, dbs):
    txn.delete(digest("hurt"), db=dbs.exact)


def swap_exact_key(txn, dbs):
    txn.put(digest("hurt"), pack_id(KEPT), db=dbs.exact)


def strange_exact_key(txn, dbs):
    txn.put(digest("strange"), b"odd", db=dbs.exact)


def lose_tag(txn, dbs):
    txn.delete(layout.label_key(layout.LABEL_TAG, "acme", "t", HURT), db=dbs.tags)


def strange_tag(txn, dbs):
    txn.put(layout.label_key(layout.LABEL_TAG, "acme", "another", HURT), b"", db=dbs.tags)


def strange_vector(txn, dbs):
    txn.put(digest("another partition") + pack_id(HURT), vector(2).tobytes(), db=dbs.vectors)


def damage_vector(txn, dbs):
    txn.put(PARTITION + pack_id(HURT), np.full(8, np.nan, np.float32).tobytes(), db=dbs.vectors)


def short_vector(txn, dbs):
    txn.put(PARTITION + pack_id(HURT), b"123", db=dbs.vectors)


def strange_expiry(txn, dbs):
    txn.put(layout.EXPIRES_ENTRY + layout.pack_time(5) + pack_id(HURT), b"", db=dbs.expiry)
    txn.put(layout.EXPIRES_SERVED + layout.pack_time(5) + b"nobody", b"", db=dbs.expiry)


def lose_expiry(txn, dbs):
    hurt = replace(entry("hurt"), entry_id=HURT)
    txn.delete(layout.entry_expiry_key(hurt), db=dbs.expiry)


def lose_served_expiry(txn, dbs):
    txn.delete(layout.served_expiry_key(served("h1"), 7 * 86_400.0), db=dbs.expiry)


def damage_served(txn, dbs):
    txn.put(b"h1", flip(txn.get(b"h1", db=dbs.served)), db=dbs.served)


def double_entry(txn, dbs):
    txn.put(pack_id(HURT), sealed_again(txn.get(pack_id(KEPT), db=dbs.entries), HURT), db=dbs.entries)
    txn.delete(digest("hurt"), db=dbs.exact)


def move_entry(txn, dbs):
    txn.put(pack_id(HURT), txn.get(pack_id(KEPT), db=dbs.entries), db=dbs.entries)


def move_vector(txn, dbs):
    txn.put(PARTITION + pack_id(HURT), txn.get(PARTITION + pack_id(KEPT), db=dbs.vectors), db=dbs.vectors)


def flip_vector(txn, dbs):
    row = txn.get(PARTITION + pack_id(HURT), db=dbs.vectors)
    txn.put(PARTITION + pack_id(HURT), bytes([row[0] ^ 1]) + row[1:], db=dbs.vectors)


def flip_seal_of_vector(txn, dbs):
    txn.put(PARTITION + pack_id(HURT), flip(txn.get(PARTITION + pack_id(HURT), db=dbs.vectors)), db=dbs.vectors)


def short_of_a_seal(txn, dbs):
    txn.put(PARTITION + pack_id(HURT), txn.get(PARTITION + pack_id(HURT), db=dbs.vectors)[:-1], db=dbs.vectors)


def long_bare_vector(txn, dbs):
    txn.put(PARTITION + pack_id(HURT), (1.5 * vector(2)).tobytes(), db=dbs.vectors)


def infinite_vector(txn, dbs):
    txn.put(PARTITION + pack_id(HURT), np.full(8, np.inf, np.float32).tobytes(), db=dbs.vectors)


def zero_vector(txn, dbs):
    txn.put(PARTITION + pack_id(HURT), bytes(32), db=dbs.vectors)


def flip_access(txn, dbs):
    txn.put(pack_id(HURT), flip(txn.get(pack_id(HURT), db=dbs.access)), db=dbs.access)


def move_served(txn, dbs):
    txn.put(b"h2", txn.get(b"h1", db=dbs.served), db=dbs.served)


def move_log_line(txn, dbs):
    with txn.cursor(db=dbs.log) as cursor:
        cursor.first()
        txn.put(cursor.key()[:8] + b"somebody" + bytes(4), cursor.value(), db=dbs.log)


def move_hour(txn, dbs):
    with txn.cursor(db=dbs.hours) as cursor:
        cursor.first()
        txn.put(bytes(24), cursor.value(), db=dbs.hours)


def flip_counters(txn, dbs):
    row = txn.get(layout.META_COUNTERS, db=dbs.meta)
    txn.put(layout.META_COUNTERS, row[:15] + bytes([row[15] ^ 64]) + row[16:], db=dbs.meta)


def flip_runs(txn, dbs):
    txn.put(layout.META_RUNS, flip(txn.get(layout.META_RUNS, db=dbs.meta)), db=dbs.meta)


def flip_secrets(txn, dbs):
    txn.put(layout.META_SECRETS, flip(txn.get(layout.META_SECRETS, db=dbs.meta)), db=dbs.meta)


def strange_access(txn, dbs):
    txn.put(pack_id(99), pack_access(pack_id(99), Access(1, 2, 3.0)), db=dbs.access)


def damage_log(txn, dbs):
    with txn.cursor(db=dbs.log) as cursor:
        cursor.last()
        txn.put(cursor.key(), flip(cursor.value()), db=dbs.log)


def damage_hour(txn, dbs):
    with txn.cursor(db=dbs.hours) as cursor:
        cursor.first()
        txn.put(cursor.key(), flip(cursor.value()), db=dbs.hours)


def wrong_counters(txn, dbs):
    txn.put(layout.META_COUNTERS, layout.COUNTERS.pack(1, 9, 9, 9), db=dbs.meta)


def damage_counters(txn, dbs):
    txn.put(layout.META_COUNTERS, b"odd", db=dbs.meta)


def wrong_runs(txn, dbs):
    runs = (EmbedderRun(1, "one", vectors=9), EmbedderRun(HURT, "two", vectors=0))
    txn.put(layout.META_RUNS, pack_runs(runs), db=dbs.meta)


def damage_runs(txn, dbs):
    txn.put(layout.META_RUNS, b"[[1]]", db=dbs.meta)


VECTOR_DAMAGES = (
    move_vector,
    flip_vector,
    flip_seal_of_vector,
    short_of_a_seal,
    long_bare_vector,
    infinite_vector,
    zero_vector,
)
DAMAGES: dict[Callable, set[str]] = {
    damage_entry: {
        "entry_damaged",
        "exact_key_dangling",
        "vector_dangling",
        "tag_dangling",
        "expiry_dangling",
        "access_dangling",
    },
    contradict_entry: {
        "entry_damaged",
        "exact_key_dangling",
        "vector_dangling",
        "tag_dangling",
        "expiry_dangling",
        "access_dangling",
    },
    contradict_text_of_entry: {
        "entry_damaged",
        "exact_key_dangling",
        "vector_dangling",
        "tag_dangling",
        "expiry_dangling",
        "access_dangling",
    },
    lose_entry: {"exact_key_dangling", "vector_dangling", "tag_dangling", "expiry_dangling", "access_dangling"},
    lose_exact_key: {"exact_key_missing"},
    swap_exact_key: {"exact_key_dangling"},
    strange_exact_key: {"exact_key_dangling"},
    lose_tag: {"tag_missing"},
    strange_tag: {"tag_dangling"},
    strange_vector: {"vector_dangling"},
    damage_vector: {"vector_damaged"},
    short_vector: {"vector_damaged"},
    strange_expiry: {"expiry_dangling"},
    lose_expiry: {"expiry_missing"},
    lose_served_expiry: {"served_without_expiry"},
    damage_served: {"served_damaged"},
    double_entry: {"entry_replaced"},
    strange_access: {"access_dangling"},
    damage_log: {"log_line_damaged"},
    damage_hour: {"hour_damaged"},
    wrong_counters: {"counters_wrong"},
    damage_counters: {"counters_wrong"},
    wrong_runs: {"counters_wrong"},
    damage_runs: {"embedder_runs_damaged"},
    move_entry: {
        "entry_damaged",
        "exact_key_dangling",
        "vector_dangling",
        "tag_dangling",
        "expiry_dangling",
        "access_dangling",
    },
    **{damage: {"vector_damaged"} for damage in VECTOR_DAMAGES},
    flip_access: {"access_damaged"},
    contradict_access: {"access_damaged"},
    move_served: {"served_damaged"},
    move_log_line: {"log_line_damaged"},
    move_hour: {"hour_damaged"},
    flip_counters: {"counters_wrong"},
    flip_runs: {"embedder_runs_damaged"},
    flip_secrets: {"secret_key_ids_damaged"},
}


def kinds(report: CheckReport) -> set[str]:
    return {problem.kind for problem in report.problems}


async def test_a_whole_store_is_clean(tmp_path):
    await filled(tmp_path)
    report = check(store_settings(tmp_path))
    assert report.clean
    assert report.problems == []
    assert report.rows == {
        "entries": 2,
        "exact": 2,
        "vectors": 2,
        "tags": 6,
        "served": 1,
        "expiry": 3,
        "access": 1,
        "log": 3,
        "hours": 1,
        "rejections": 0,
    }


async def test_a_check_tells_how_far_it_is(tmp_path):
    await filled(tmp_path)
    told: list[str] = []
    report = check(store_settings(tmp_path), told.append)
    assert told == list(report.rows)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
async def test_damage_is_found_and_a_repair_leaves_a_clean_store_that_serves_the_rest(tmp_path, damage):
    await filled(tmp_path)
    with writing(tmp_path) as (txn, dbs):
        damage(txn, dbs)
    found = check(store_settings(tmp_path))
    assert kinds(found) == DAMAGES[damage]
    assert not found.clean
    assert found.repaired == 0
    mended = repair(store_settings(tmp_path))
    assert kinds(mended) == DAMAGES[damage]
    assert mended.repaired >= mended.problem_count
    assert check(store_settings(tmp_path)).clean, check(store_settings(tmp_path)).problems
    store = open_store(tmp_path)
    kept = await store.entries.find_exact(digest("kept"))
    assert kept is not None
    assert kept.entry_id == KEPT
    assert KEPT in store.vectors.load(PARTITION)[0]
    assert (await store.entries.put(entry("new"), vector())).entry_id == 3
    await store.close()
    assert check(store_settings(tmp_path)).clean


@pytest.mark.parametrize(
    "damage", [damage_entry, contradict_entry, contradict_text_of_entry], ids=lambda damage: damage.__name__
)
async def test_a_damaged_entry_is_absent_counted_and_replaceable(tmp_path, damage):
    await filled(tmp_path)
    with writing(tmp_path) as (txn, dbs):
        damage(txn, dbs)
    store = open_store(tmp_path)
    assert await get(store, HURT) is None
    assert await store.entries.find_exact(digest("hurt")) is None
    assert [found.entry_id for found in await all_entries(store.entries, "acme")] == [KEPT]
    assert store.stats().damaged == 3
    again = await store.entries.put(entry("hurt"), vector(2))
    assert await store.entries.find_exact(digest("hurt")) == again
    await store.close()
    report = check(store_settings(tmp_path))
    assert kinds(report) == {"vector_dangling", "tag_dangling", "expiry_dangling"}


async def test_a_damaged_entry_leaves_when_its_time_is_over(tmp_path):
    await filled(tmp_path)
    with writing(tmp_path) as (txn, dbs):
        damage_entry(txn, dbs)
    clock = FakeClock()
    store = open_store(tmp_path, clock)
    clock.advance(4000)
    assert await store.sweep() == 1
    assert store.stats().entries == 0
    assert await store.entries.invalidate(Selector("acme", everything=True), apply=True) == 0
    await store.close()


async def test_a_damaged_entry_takes_no_rejection_and_its_replacement_has_its_own_vector(tmp_path):
    await filled(tmp_path)
    with writing(tmp_path) as (txn, dbs):
        damage_entry(txn, dbs)
    store = open_store(tmp_path)
    await store.verdicts.reject("h1", Rejection(digest("r"), b""), "wrong")
    assert (await store.verdicts.served("h1")).verdict == "wrong"
    assert await get(store, HURT) is None
    again = await store.entries.put(entry("hurt"), vector(3))
    assert again.rejections == ()
    ids, vectors = store.vectors.load(PARTITION)
    # The vector of the damaged entry stays until a repair, because its key can't be known; it isn't served.
    assert ids.tolist() == [KEPT, HURT, again.entry_id]
    np.testing.assert_array_equal(vectors[-1], vector(3))
    await store.close()


async def test_the_vector_of_a_damaged_entry_no_longer_counts_once_it_is_not_embedded_anew(tmp_path):
    await filled(tmp_path)
    with writing(tmp_path) as (txn, dbs):
        damage_entry(txn, dbs)
        row = txn.get(PARTITION + layout.pack_id(HURT), db=dbs.vectors)
    store = open_store(tmp_path, embedder="two")
    before = store.stats().entry_bytes
    assert await store.vectors.reembed(PARTITION, digest("new"), {HURT: vector(7)}) == 0
    assert store.stats().entry_bytes == before - layout.vector_row_bytes(len(row))
    await store.close()


async def test_a_repair_counts_the_vectors_of_each_embedder_again(tmp_path):
    await filled(tmp_path)
    with writing(tmp_path) as (txn, dbs):
        wrong_runs(txn, dbs)
    repair(store_settings(tmp_path))
    for embedder, inert in (("two", 1), ("one", 1), ("three", 2)):
        store = open_store(tmp_path, embedder=embedder)
        assert store.stats().inert == inert
        await store.close()


async def test_a_store_that_lost_who_made_its_entries_opens_and_calls_none_inert(tmp_path):
    await filled(tmp_path)
    with writing(tmp_path) as (txn, dbs):
        damage_runs(txn, dbs)
    store = open_store(tmp_path, embedder="one")
    assert store.stats().inert == 0
    await store.entries.put(entry("new"), vector())
    await store.close()
    assert check(store_settings(tmp_path)).clean
    store = open_store(tmp_path, embedder="two")
    assert store.stats().inert == 1
    await store.close()


@pytest.mark.parametrize("repaired", [False, True])
async def test_a_store_that_lost_who_made_its_entries_knows_those_that_were_embedded_anew(tmp_path, repaired):
    await filled(tmp_path)
    store = open_store(tmp_path, embedder="two")
    partition = entry("kept").partition
    ids = list(await store.vectors.texts(partition, 9))
    assert await store.vectors.reembed(partition, digest("new"), {ids[0]: vector(7)}) == 1
    await store.close()
    with writing(tmp_path) as (txn, dbs):
        damage_runs(txn, dbs)
    if repaired:
        repair(store_settings(tmp_path))
    for embedder, inert in (("one", 1), ("three", 1), ("two", 0), ("four", 1)):
        store = open_store(tmp_path, embedder=embedder)
        assert store.stats().inert == inert
        assert list(store.vectors.other_embedders()) == ["two"] * inert
        await store.close()
        assert check(store_settings(tmp_path)).clean
    store = open_store(tmp_path, embedder="three")
    await store.entries.invalidate(Selector("acme", entry_ids=(ids[0],)), apply=True)
    assert store.stats().inert == 0
    await store.close()
    assert check(store_settings(tmp_path)).clean


async def test_a_vector_of_another_length_is_left_out(tmp_path):
    await filled(tmp_path)
    store = open_store(tmp_path)
    await store.entries.put(entry("third"), vector(3))
    await store.close()
    with writing(tmp_path) as (txn, dbs):
        short_vector(txn, dbs)
    store = open_store(tmp_path)
    ids, vectors = store.vectors.load(PARTITION)
    assert ids.tolist() == [1, 3]
    np.testing.assert_array_equal(vectors, np.stack([vector(1), vector(3)]))
    assert store.stats().damaged == 1
    await store.close()


async def test_damaged_history_is_left_out_and_a_damaged_hour_is_made_again_from_the_log(tmp_path):
    await filled(tmp_path)
    with writing(tmp_path) as (txn, dbs):
        damage_served(txn, dbs)
        damage_hour(txn, dbs)
    store = open_store(tmp_path)
    assert await store.verdicts.served("h1") is None
    assert list(store.ledger.hours(None, 0, 1e11)) == []
    await store.ledger.record_durably(record("r4", status=Status.EXACT_HIT))
    assert [hour.requests for hour in store.ledger.hours(None, 0, 1e11)] == [4]
    await store.close()
    with writing(tmp_path) as (txn, dbs):
        damage_hour(txn, dbs)
    repair(store_settings(tmp_path))
    store = open_store(tmp_path)
    assert [hour.requests for hour in store.ledger.hours(None, 0, 1e11)] == [4]
    await store.close()


@pytest.mark.parametrize("damage", [*VECTOR_DAMAGES, damage_vector, short_vector], ids=lambda damage: damage.__name__)
async def test_a_damaged_vector_is_never_loaded_and_its_entry_is_named(tmp_path, damage):
    await filled(tmp_path)
    with writing(tmp_path) as (txn, dbs):
        damage(txn, dbs)
    store = open_store(tmp_path)
    with capture_logs() as logs:
        ids, vectors = store.vectors.load(PARTITION)
    assert ids.tolist() == [KEPT]
    np.testing.assert_array_equal(vectors, vector(1)[None, :])
    assert store.stats().damaged == 1
    assert [(log["event"], log["rows"], log["count"]) for log in logs] == [("store.damaged", ["vector of e2"], 1)]
    assert (await store.entries.find_exact(digest("hurt"))).entry_id == HURT
    await store.close()


async def test_a_partition_of_damaged_vectors_alone_is_empty(tmp_path):
    await filled(tmp_path)
    with writing(tmp_path) as (txn, dbs):
        for entry_id in (KEPT, HURT):
            txn.put(PARTITION + pack_id(entry_id), b"123", db=dbs.vectors)
    store = open_store(tmp_path)
    assert store.vectors.load(PARTITION)[0].tolist() == []
    assert store.stats().damaged == 2
    await store.close()


async def test_rows_of_a_store_of_format_2_are_bare_and_are_read(tmp_path):
    await filled(tmp_path)
    with writing(tmp_path) as (txn, dbs):
        txn.put(layout.META_FORMAT, (2).to_bytes(2, "big"), db=dbs.meta)
        for db in (dbs.vectors, dbs.access):
            for key, row in list(txn.cursor(db=db)):
                txn.put(key, row[:-5], db=db)
        seals_bytes = 2 * (layout.row_bytes(40, 37) - layout.row_bytes(40, 32))
        counters = Counters.unpack(txn.get(layout.META_COUNTERS, db=dbs.meta))
        bare = replace(counters, entry_bytes=counters.entry_bytes - seals_bytes)
        txn.put(layout.META_COUNTERS, bare.pack(), db=dbs.meta)
        for name in (layout.META_COUNTERS, layout.META_RUNS, layout.META_SECRETS):
            txn.put(name, txn.get(name, db=dbs.meta)[:-5], db=dbs.meta)
    assert check(store_settings(tmp_path)).clean
    store = open_store(tmp_path)
    ids, vectors = store.vectors.load(PARTITION)
    assert ids.tolist() == [KEPT, HURT]
    np.testing.assert_array_equal(vectors, np.stack([vector(1), vector(2)]))
    again = await store.entries.put(entry("new"), vector(3))
    assert store.vectors.load(PARTITION)[0].tolist() == [KEPT, HURT, again.entry_id]
    assert (store.stats().entries, store.stats().damaged) == (3, 0)
    await store.close()
    assert check(store_settings(tmp_path)).clean


async def test_an_exact_key_that_leads_to_another_entry_is_a_miss_and_counted(tmp_path):
    await filled(tmp_path)
    with writing(tmp_path) as (txn, dbs):
        swap_exact_key(txn, dbs)
    store = open_store(tmp_path)
    with capture_logs() as logs:
        assert await store.entries.find_exact(digest("hurt")) is None
    assert [log["event"] for log in logs] == ["store.damaged"]
    assert store.stats().damaged == 1
    await store.close()


@pytest.mark.parametrize(
    ("damage", "where"), [(damage_counters, "counters"), (flip_counters, "counters"), (flip_runs, "embedder_runs")]
)
async def test_damaged_counters_evict_nothing_and_are_named_at_the_start(tmp_path, damage, where):
    await filled(tmp_path)
    with writing(tmp_path) as (txn, dbs):
        damage(txn, dbs)
    with capture_logs() as logs:
        store = open_store(tmp_path)
    assert [(log["event"], log["rows"]) for log in logs] == [("store.damaged", [f"meta/{where}"])]
    await store.entries.put(entry("new"), vector(3))
    stats = store.stats()
    assert (stats.entries, stats.evictions, stats.damaged) == (3, 0, 1)
    assert 0 < stats.entry_bytes < 1 << 20
    await store.close()


async def test_moved_history_is_left_out(tmp_path):
    await filled(tmp_path)
    with writing(tmp_path) as (txn, dbs):
        for damage in (move_served, move_log_line, move_hour):
            damage(txn, dbs)
    store = open_store(tmp_path)
    assert await store.verdicts.served("h2") is None
    assert (await store.verdicts.served("h1")).hit_id == "h1"
    assert len(list(store.ledger.records(None, 0, 1e11))) == 3
    assert [hour.requests for hour in store.ledger.hours(None, 0, 1e11)] == [3]
    assert store.stats().damaged == 3
    await store.close()
