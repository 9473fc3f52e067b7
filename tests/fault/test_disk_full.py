"""On a full disk or map, storing stops and serving goes on; with room again, storing goes on and no note is lost."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from semcache.errors import StoreError, StoreFullError, StoreUnusableError
from semcache.model import Selector, Status
from semcache.store import LmdbStore, check, layout
from semcache.store.eviction import unpack_access
from semcache.store.transaction import WriteTransaction
from tests.support.disks import mounted_disk
from tests.support.stored import answer, entry, get, hit, record, served, store_settings, vector
from tests.support.stores import open_store

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    with ExitStack() as closing:
        try:
            path = closing.enter_context(mounted_disk(tmp_path / "disk", 4 << 20))
        except PermissionError as error:
            pytest.skip(str(error))
        yield path


async def fill(store: LmdbStore) -> list:
    """Put entries until the store is full; return those that it stored."""
    stored = []
    for number in range(5000):
        try:
            stored.append(await store.entries.put(entry(f"n{number}", answer=answer("x" * 5000)), vector(number)))
        except StoreFullError:
            return stored
    pytest.fail("the store took everything")


async def test_on_a_full_disk_serving_goes_on_and_with_room_storing_does(small_disk):
    store = open_store(small_disk / "store")
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * (1 << 20))
    stored = await fill(store)
    assert len(stored) > 100
    # After the refusal some entries were evicted; all others are served unchanged.
    live = [one for one in stored if await get(store, one.entry_id) == one]
    assert len(live) >= len(stored) * 0.85
    store.ledger.record(record("noted"), served("noted", stored[-1].entry_id))
    assert await store.verdicts.served("noted") is not None
    ballast.unlink()
    again = await store.entries.put(entry("again"), vector())
    await store.ledger.flush()
    assert await get(store, again.entry_id) == again
    assert [line.request_id for line in store.ledger.records(None, 0, 1e11)] == ["noted"]
    assert store.stats().notes_dropped == 0
    await store.close()
    report = check(store_settings(small_disk / "store"))
    assert report.clean, report.problems


@pytest.mark.parametrize(("room", "count"), [("taken", 200), ("own", 1000)])
async def test_a_kill_on_a_full_disk_loses_no_spend_that_was_told(small_disk, room, count):
    """Another file takes the room at once, which leaves the ledger its own; or entries do, which are then evicted."""
    told, refused = spend_until_killed(small_disk / "store", room, count)
    assert len(told) >= count
    assert refused == {"STORE_FULL"}
    await assert_in_ledger(small_disk / "store", told)


async def test_a_kill_at_the_largest_size_of_files_loses_no_spend_that_was_told(tmp_path):
    told, refused = spend_until_killed(tmp_path / "store", "limited", 400)
    assert len(told) >= 400
    assert refused == {"STORE_FULL"}
    await assert_in_ledger(tmp_path / "store", told)


def spend_until_killed(path: Path, room: str, count: int) -> tuple[set[str], set[str]]:
    """Names that a process told as spent before it was killed, and the reasons of what it was refused."""
    command = [sys.executable, "-m", "tests.fault.spending", str(path), room]
    told, refused = set(), set()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        while len(told) < count and (line := process.stdout.readline()):
            kind, name = line.split()
            (told if kind == "spent" else refused).add(name)
        process.kill()
        # A line that was cut in half wasn't told.
        rest = [line.split() for line in process.stdout.readlines() if line.endswith("\n")]
    return told | {name for kind, name in rest if kind == "spent"}, refused


async def assert_in_ledger(path: Path, told: set[str]) -> None:
    report = check(store_settings(path))
    assert report.clean, report.problems
    store = open_store(path)
    assert told <= {line.request_id for line in store.ledger.records(None, 0, 1e11)}
    await store.close()


async def test_a_store_on_a_full_disk_says_so(small_disk):
    (small_disk / "ballast").write_bytes(b"\0" * ((4 << 20) - 8192))
    with pytest.raises(StoreError, match="can't be opened"):
        open_store(small_disk / "store")


async def test_a_read_only_disk_is_refused_with_the_way_out(small_disk):
    await open_store(small_disk / "store").close()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)  # noqa: ASYNC221 - nothing else runs here
    with pytest.raises(StoreUnusableError, match="Read-only file system") as caught:
        open_store(small_disk / "store")
    assert "may write" in caught.value.hint


async def test_a_full_map_makes_room_for_itself(tmp_path, monkeypatch):
    monkeypatch.setattr("semcache.store.eviction.START_RATIO", 10.0)  # eviction never starts by itself
    store = open_store(tmp_path / "store", map_size_bytes=2 << 20)
    stored = await fill(store)
    # Entries are refused before the map is full, and the few that are evicted make room for the next ones.
    assert store.stats().failed_commits == 0
    assert 0 < store.stats().evictions < len(stored) / 10
    assert await get(store, stored[-1].entry_id) == stored[-1]
    refused = 0
    for number in range(50):
        try:
            await store.entries.put(entry(f"more{number}", answer=answer("x" * 5000)), vector())
        except StoreFullError:
            refused += 1
    assert refused < 25
    # The ledger has the room that is left, and then that of the entries.
    for number in range(700):
        await store.ledger.record_durably(record(f"spend{number}"))
    assert store.stats().failed_commits == 0
    await store.close()
    report = check(store_settings(tmp_path / "store"))
    assert report.clean, report.problems


async def test_below_its_limits_a_store_never_meets_a_full_map(tmp_path):
    store = open_store(tmp_path / "store", map_size_bytes=8 << 20)
    for start in range(0, 3000, 10):
        writes = []
        for number in range(start, start + 10):
            text = "x" * (number * 97 % 9000)
            store.ledger.record(record(f"h{number}"), served(f"h{number}"))
            writes.append(
                store.entries.put(entry(f"n{number}", answer=answer(text)), vector(number), record(f"r{number}"))
            )
        await asyncio.gather(*writes)
    assert store.stats().failed_commits == 0
    assert store.stats().evictions > 0
    assert store.stats().history_dropped > 0
    await store.close()
    report = check(store_settings(tmp_path / "store"))
    assert report.clean, report.problems


class Refusal:
    """Makes the commits of some groups fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
        self.on = True
        self._finish = WriteTransaction.finish

        def finish(transaction: WriteTransaction) -> None:
            if self.on:
                raise error
            self._finish(transaction)

        monkeypatch.setattr(WriteTransaction, "finish", finish)


async def test_a_failed_commit_reaches_its_waiters_and_its_notes_are_kept(tmp_path, monkeypatch):
    import lmdb

    store = open_store(tmp_path / "store")
    kept = await store.entries.put(entry("kept"), vector())
    refusal = Refusal(monkeypatch, lmdb.DiskError("No space left on device", 28))
    store.ledger.record(record("noted"), served("noted", kept.entry_id))
    results = await asyncio.gather(
        store.entries.put(entry("a"), vector(), record("a")),
        store.ledger.record_durably(record("b")),
        store.entries.invalidate(Selector("acme", everything=True), apply=True),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [StoreFullError] * 3
    assert len({id(result) for result in results}) == 3
    assert "disk" in str(results[0])
    assert await get(store, kept.entry_id) == kept
    assert await store.entries.find_exact(entry("a").exact_key) is None
    assert await store.verdicts.served("noted") is not None
    assert store.ledger.durable_through_s == kept.created_s
    refusal.on = False
    stored = await store.entries.put(entry("a"), vector())
    assert stored.entry_id > kept.entry_id
    assert [line.request_id for line in store.ledger.records(None, 0, 1e11)] == ["noted"]
    assert await store.verdicts.served("noted") == served("noted", kept.entry_id)
    await store.close()


async def test_an_unexpected_failure_does_not_end_the_thread(tmp_path, monkeypatch):
    store = open_store(tmp_path / "store")
    refusal = Refusal(monkeypatch, RuntimeError("broken"))
    with pytest.raises(StoreError, match="RuntimeError: broken"):
        await store.entries.put(entry("a"), None)
    refusal.on = False
    assert await store.entries.put(entry("a"), None)
    await store.close()


async def test_notes_that_can_not_be_kept_are_counted_and_closing_ends(tmp_path, monkeypatch):
    import lmdb

    store = open_store(tmp_path / "store", max_queue=5)
    Refusal(monkeypatch, lmdb.DiskError("No space left on device", 28))
    for number in range(8):
        store.ledger.record(record(f"r{number}", at_s=number), served(f"h{number}"))
    assert store.stats().notes_dropped == 3
    await store.close()
    assert store.stats().notes_dropped == 8


async def test_a_hit_counts_once_as_a_use_though_its_commit_was_repeated(tmp_path, monkeypatch):
    import lmdb

    store = open_store(tmp_path / "store")
    kept = await store.entries.put(entry("kept"), vector())
    refusal = Refusal(monkeypatch, lmdb.DiskError("No space left on device", 28))
    store.ledger.record(hit(kept.entry_id, 7))
    for name in "ab":
        with pytest.raises(StoreFullError):
            await store.entries.put(entry(name), vector())
    refusal.on = False
    for line in (record("miss"), record("deposit", requests=0, entry_id=kept.entry_id, status=Status.EXACT_HIT)):
        store.ledger.record(line)
    await store.close()
    path = str(tmp_path / "store")
    with lmdb.Environment(path, max_dbs=20, readonly=True, lib_version=layout.LIB_VERSION) as env:
        dbs = layout.Databases.open(env, create=False)
        with env.begin() as txn:
            accesses = [unpack_access(key, row) for key, row in txn.cursor(db=dbs.access)]
    assert [(access.uses, access.saved_nanousd) for access in accesses] == [(1, 7)]
