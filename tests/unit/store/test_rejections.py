"""Rejections on disk: stores of before, damage and its repair, and what is deleted when history is too large."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from semcache.model import Rejection, Selector
from semcache.store import check, codec, layout, repair
from semcache.store.codec import encode_entry
from semcache.store.judged import read_judged
from semcache.store.layout import pack_id
from semcache.store.rejections import OLDER_TTL_S, latest
from semcache.store.table import sealed
from semcache.testing.clock import START_WALL_S, FakeClock
from tests.support.stored import digest, entry, get, record, served, store_settings, vector
from tests.support.stores import open_store, writing

WEEK_S = 7 * 86_400
ASKED = digest("another question")
OF_A = Rejection(ASKED, served().vector)


async def filled(path: Path) -> None:
    """Make a store in which the entry of `a` was reported wrong for another question, and each has its entry."""
    store = open_store(path)
    stored = await store.entries.put(entry("a"), vector())
    await store.entries.put(entry("another question"), vector(1))
    store.ledger.record(record(), served(entry_id=stored.entry_id, entry_key=stored.exact_key))
    await store.verdicts.reject("h1", OF_A, "wrong")
    await store.close()


def row_key(other: bytes = ASKED) -> bytes:
    return layout.rejections_prefix("acme", digest("a")) + other


# -- damage


def flip(txn, dbs):
    row = txn.get(row_key(), db=dbs.rejections)
    txn.put(row_key(), row[:9] + bytes([row[9] ^ 1]) + row[10:], db=dbs.rejections)


def cut(txn, dbs):
    txn.put(row_key(), txn.get(row_key(), db=dbs.rejections)[:3], db=dbs.rejections)


def move(txn, dbs):
    txn.put(row_key(digest("a third")), txn.get(row_key(), db=dbs.rejections), db=dbs.rejections)


def strange(txn, dbs):
    txn.put(b"odd", b"odd", db=dbs.rejections)


def lose(txn, dbs):
    txn.delete(row_key(), db=dbs.rejections)


def lose_expiry(txn, dbs):
    assert txn.delete(layout.rejection_expiry_key(row_key(), START_WALL_S + WEEK_S), db=dbs.expiry)


def strange_expiry(txn, dbs):
    txn.put(layout.rejection_expiry_key(row_key(), 1.0), b"", db=dbs.expiry)


DAMAGES: dict[Callable, tuple[set[str], int]] = {
    flip: ({"rejection_damaged", "expiry_dangling"}, 0),
    cut: ({"rejection_damaged", "expiry_dangling"}, 0),
    move: ({"rejection_damaged"}, 1),
    strange: ({"rejection_damaged"}, 1),
    lose: ({"expiry_dangling"}, 0),
    lose_expiry: ({"expiry_missing"}, 1),
    strange_expiry: ({"expiry_dangling"}, 1),
}


async def test_a_whole_store_with_verdicts_is_clean(tmp_path):
    await filled(tmp_path)
    report = check(store_settings(tmp_path))
    assert report.clean, report.problems
    assert report.rows["rejections"] == 2


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
async def test_damage_is_found_passed_over_and_repaired(tmp_path, damage):
    kinds, left = DAMAGES[damage]
    await filled(tmp_path)
    with writing(tmp_path) as (txn, dbs):
        damage(txn, dbs)
    assert {problem.kind for problem in check(store_settings(tmp_path)).problems} == kinds
    store = open_store(tmp_path)
    assert len(await store.verdicts.rejections("acme", digest("a"))) == left
    # The entry has its own copy, which no damage to the row touches.
    assert (await get(store, 1)).rejections == (OF_A,)
    await store.close()
    assert {problem.kind for problem in repair(store_settings(tmp_path)).problems} == kinds
    assert check(store_settings(tmp_path)).clean
    store = open_store(tmp_path)
    assert len(await store.verdicts.rejections("acme", digest("a"))) == left
    await store.close()


async def test_a_damaged_row_is_counted(tmp_path):
    await filled(tmp_path)
    with writing(tmp_path) as (txn, dbs):
        flip(txn, dbs)
    store = open_store(tmp_path)
    await store.entries.invalidate(Selector("acme", everything=True), apply=True)
    assert (await store.entries.put(entry("a"), vector())).rejections == ()
    assert store.stats().damaged == 1
    await store.close()


async def test_a_damaged_entry_gives_a_rejection_no_vector(tmp_path):
    await filled(tmp_path)
    with writing(tmp_path) as (txn, dbs):
        txn.put(entry().partition + pack_id(1), b"\0" * 32, db=dbs.vectors)
    store = open_store(tmp_path)
    store.ledger.record(record("r2"), served("h2", 1, exact_key=digest("c")))
    await store.verdicts.reject("h2", Rejection(digest("c"), b""), "wrong")
    assert list(await store.verdicts.rejections("acme", digest("c"))) == [Rejection(digest("a"), b"")]
    await store.close()


# -- a store of before


def of_format_3(row: bytes) -> bytes:
    """The row of entry 1 without the columns of later formats, which stand before the text run."""
    table = codec._ENTRY
    start = 5 + table._older.size
    columns = row[5 : start + table._later_of_format[3][0].size]
    return sealed(b"\x03" + columns + row[start + table._later.size :], 1)


async def made_by_format_3(path: Path, rejections: tuple[Rejection, ...] = (OF_A,)) -> None:
    """Make a store of format 3, whose entry of `a` was reported wrong for another question, or for others."""
    store = open_store(path)
    await store.entries.put(entry("a"), vector())
    await store.close()
    row = encode_entry(replace(entry("a"), rejections=rejections))
    with writing(path) as (txn, dbs):
        txn.put(pack_id(1), of_format_3(row), db=dbs.entries)
        txn.put(layout.META_FORMAT, (3).to_bytes(2, "big"), db=dbs.meta)
    repair(store_settings(path))  # It counts the bytes of the longer row.
    with writing(path) as (txn, dbs):
        txn.drop(dbs.rejections)


async def test_a_store_of_before_is_read_without_being_changed(tmp_path):
    await made_by_format_3(tmp_path)
    report = check(store_settings(tmp_path))
    assert report.clean
    assert "rejections" not in report.rows
    assert read_judged(store_settings(tmp_path)).without_verdict == 0


@pytest.mark.parametrize("end", ["expiry", "invalidation", "fresh answer", "embedding anew"])
async def test_rejections_of_an_entry_of_before_count_and_outlive_it(tmp_path, end):
    await made_by_format_3(tmp_path)
    clock = FakeClock()
    store = open_store(tmp_path, clock)
    assert (await store.entries.find_exact(digest("a"))).rejections == (OF_A,)
    if end == "expiry":
        clock.advance(3600)
        await store.sweep()
    elif end == "embedding anew":
        assert await store.vectors.reembed(entry().partition, digest("new"), {1: vector(3)}) == 1
        await store.close()
        assert check(store_settings(tmp_path)).clean
        store = open_store(tmp_path, clock)
        await store.entries.invalidate(Selector("acme", entry_ids=(1,)), apply=True)
    elif end == "invalidation":
        await store.entries.invalidate(Selector("acme", entry_ids=(1,)), apply=True)
    kept = Rejection(ASKED, b"") if end == "embedding anew" else OF_A  # That request has no entry, so no new vector.
    assert (await store.entries.put(entry("a", expires_s=START_WALL_S + 2e6), vector())).rejections == (kept,)
    clock.advance(OLDER_TTL_S + 3600)
    await store.sweep()
    assert not await store.verdicts.rejections("acme", digest("a"))
    await store.close()
    assert check(store_settings(tmp_path)).clean


@pytest.mark.parametrize("change", ["its partner is embedded anew", "a further verdict"])
async def test_rejections_of_an_entry_of_before_outlive_it_after_its_row_was_written_anew(tmp_path, change):
    other, partner = Rejection(digest("third"), b"\x01\x02"), Rejection(digest("b"), b"\x03\x04")
    await made_by_format_3(tmp_path, (other, partner))
    clock = FakeClock()
    store = open_store(tmp_path, clock)
    if change == "a further verdict":
        store.ledger.record(record(), served(entry_id=1, entry_key=digest("a")))
        await store.verdicts.reject("h1", OF_A, "wrong")
    else:
        b = await store.entries.put(entry("b", rejections=(Rejection(digest("a"), b""),)), vector(1))
        assert await store.vectors.reembed(b.partition, digest("new"), {b.entry_id: vector(2)}) == 1
    await store.entries.invalidate(Selector("acme", entry_ids=(1,)), apply=True)
    kept = {one.exact_key for one in await store.verdicts.rejections("acme", digest("a"))}
    assert kept >= {other.exact_key, partner.exact_key}
    if change == "a further verdict":
        clock.advance(WEEK_S + 1)  # The new one ends then, as its verdict said, and the older ones an hour later.
        await store.sweep()
        assert {one.exact_key for one in await store.verdicts.rejections("acme", digest("a"))} == kept - {ASKED}
    await store.close()
    assert check(store_settings(tmp_path)).clean


async def test_an_entry_of_today_leaves_no_rejection_behind_that_has_ended(tmp_path):
    clock = FakeClock()
    store = open_store(tmp_path, clock)
    stored = await store.entries.put(entry("a", expires_s=START_WALL_S + 2 * WEEK_S), vector())
    store.ledger.record(record(), served(entry_id=stored.entry_id, entry_key=stored.exact_key))
    await store.verdicts.reject("h1", OF_A, "wrong")
    clock.advance(WEEK_S + 1)
    await store.sweep()
    assert (await get(store, stored.entry_id)).rejections == (OF_A,)
    await store.entries.invalidate(Selector("acme", everything=True), apply=True)
    assert (await store.entries.put(entry("a"), vector())).rejections == ()
    await store.close()


# -- limits


async def test_rejections_are_the_last_history_to_be_deleted(tmp_path):
    store = open_store(tmp_path, max_bytes=1 << 20)
    stored = await store.entries.put(entry("a"), vector())
    store.ledger.record(record(), served(entry_id=stored.entry_id, entry_key=stored.exact_key))
    await store.verdicts.reject("h1", OF_A, "wrong")
    for i in range(2000):
        store.ledger.record(record(f"more {i}"), served(f"more {i}", stored.entry_id, text="x" * 100))
        if i % 200 == 0:
            await store.ledger.flush()
    await store.ledger.flush()
    assert store.stats().history_dropped > 1000
    assert await store.verdicts.served("h1") is None
    assert list(await store.verdicts.rejections("acme", digest("a"))) == [OF_A]
    await store.close()
    assert check(store_settings(tmp_path)).clean


async def test_rejections_alone_keep_to_the_limit_of_history(tmp_path):
    store = open_store(tmp_path, max_bytes=1 << 20)
    verdicts = store.verdicts
    for start in range(0, 600, 60):  # Of more hits at once the first would be forgotten before their verdicts.
        names = [str(i) for i in range(start, start + 60)]
        for name in names:
            store.ledger.record(record(f"r{name}"), served(f"h{name}", 0, entry_key=digest(f"made for {name}")))
        rejections = [Rejection(digest(f"asked {name}"), bytes(768)) for name in names]
        await asyncio.gather(
            *(verdicts.reject(f"h{name}", one, "wrong") for name, one in zip(names, rejections, strict=True))
        )
    assert store.stats().history_bytes <= (1 << 20) * 0.2
    await store.close()
    assert check(store_settings(tmp_path)).clean


def test_of_two_rejections_for_one_request_the_later_counts():
    first, second, third = Rejection(b"a", b"1"), Rejection(b"b", b""), Rejection(b"a", b"2")
    assert latest([first, second, third]) == (second, third)
