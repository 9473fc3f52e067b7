"""What becomes of a group whose commit fails: it is written once more, or its callers are told and its notes kept."""

import asyncio
import threading

import lmdb
import pytest

from semcache.disk import Environment
from semcache.errors import StoreError, StoreUnusableError
from semcache.model import Selector
from semcache.settings import StoreSettings
from semcache.store import LmdbStore, committing, opening, writer
from semcache.store.transaction import WriteTransaction
from semcache.testing.clock import FakeClock
from tests.support.stored import SECRET, digest, entry, record, served, store_settings, vector


@pytest.fixture(autouse=True)
def _retries_at_once(monkeypatch):
    monkeypatch.setattr(writer, "RETRY_WAIT_S", 0.01)


class Fault:
    """Makes the next commits fail, and the reopening while it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.commits = 0
        self.opens = False
        self.refusals = threading.Event()
        finish, open_checked = WriteTransaction.finish, opening.open_checked

        def failing_finish(transaction: WriteTransaction) -> None:
            if self.commits:
                self.commits -= 1
                raise lmdb.CorruptedError("mdb_put: MDB_CORRUPTED: Located page was wrong type")
            finish(transaction)

        def failing_open(settings: StoreSettings, **options: object) -> object:
            if self.opens:
                self.refusals.set()
                raise StoreUnusableError("the disk is gone.")
            return open_checked(settings, **options)

        monkeypatch.setattr(WriteTransaction, "finish", failing_finish)
        monkeypatch.setattr(opening, "open_checked", failing_open)


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> Fault:
    return Fault(monkeypatch)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def store(tmp_path, clock, fault):
    store = LmdbStore.open(store_settings(tmp_path), clock, secret_key_ids=[SECRET])
    yield store
    fault.commits, fault.opens = 0, False
    await store.close()


async def test_a_group_is_written_once_more_after_a_reopening(store, fault):
    fault.commits = 1
    stored = await store.entries.put(entry("a"), vector(), record("spend"))
    assert await store.entries.find_exact(digest("a")) == stored
    assert [line.request_id for line in store.ledger.records(None, 0, 1e11)] == ["spend"]
    assert (store.stats().reopened, store.stats().failed_commits, store.stats().is_writable) == (1, 1, True)


async def test_an_invalidation_whose_slice_failed_leaves_nothing_behind(store, fault):
    await asyncio.gather(*(store.entries.put(entry(f"n{number}"), None) for number in range(600)))
    fault.commits = 1
    assert await store.entries.invalidate(Selector("acme", everything=True), apply=True) == 600
    assert store.stats().entries == 0
    assert store.stats().reopened == 1


async def test_an_invalidation_whose_next_slice_never_began_counts_what_is_gone(store, monkeypatch):
    await asyncio.gather(*(store.entries.put(entry(f"n{number}"), None) for number in range(600)))
    begun, writing = 0, Environment.writing

    def failing_writing(file: Environment[object]) -> object:
        nonlocal begun
        begun += 1
        if begun == 2:  # The first slice is committed by now.
            raise lmdb.CorruptedError("mdb_txn_begin: MDB_CORRUPTED")
        return writing(file)

    monkeypatch.setattr(Environment, "writing", failing_writing)
    assert await store.entries.invalidate(Selector("acme", everything=True), apply=True) == 600
    assert (store.stats().entries, store.stats().reopened) == (0, 1)


async def test_of_two_closes_at_once_one_closes(store):
    core = store._core
    assert sorted(await asyncio.gather(core.close(), core.close())) == [False, True]


async def test_a_count_whose_slice_failed_counts_each_once(store, fault):
    await asyncio.gather(
        *(store.entries.put(entry(f"n{number}", tags=("a", "b")), None) for number in range(300)),
    )
    fault.commits = 1
    selector = Selector("acme", tags=("a", "b"))
    assert await store.entries.invalidate(selector, apply=False) == 300


async def test_while_the_file_can_not_be_opened_it_is_tried_again_and_nothing_noted_is_lost(store, fault):
    kept = await store.entries.put(entry("kept"), vector())
    fault.commits, fault.opens = 1, True
    store.ledger.record(record("noted"), served("noted", kept.entry_id))
    with pytest.raises(StoreError):
        await store.entries.put(entry("a"), None)
    assert isinstance(store.ledger.trouble, StoreError)
    with pytest.raises(StoreError, match="can't be opened again yet"):
        await store.entries.find_exact(digest("kept"))
    fault.refusals.clear()
    assert await asyncio.to_thread(fault.refusals.wait, 30)  # No write comes: the writer tries by itself.
    fault.opens = False
    await store.ledger.flush()
    assert store.ledger.trouble is None
    assert await store.entries.find_exact(digest("kept")) == kept
    assert [line.request_id for line in store.ledger.records(None, 0, 1e11)] == ["noted"]
    assert await store.verdicts.served("noted") is not None


async def test_a_store_whose_commits_all_fail_for_long_is_given_up(store, fault, clock):
    failed = asyncio.ensure_future(store.failed())
    fault.commits = 1 << 30
    with pytest.raises(StoreError):
        await store.entries.put(entry("a"), None)
    clock.advance(committing.BROKEN_AFTER_S - 1)
    with pytest.raises(StoreError):
        await store.entries.put(entry("a"), None)
    assert not failed.done()
    clock.advance(1)
    assert "MDB_CORRUPTED" in str(await asyncio.wait_for(failed, 30))


async def test_one_commit_that_succeeds_gives_a_store_its_time_again(store, fault, clock):
    failed = asyncio.ensure_future(store.failed())
    for _ in range(3):
        fault.commits = 2
        with pytest.raises(StoreError):
            await store.entries.put(entry("a"), None)
        clock.advance(committing.BROKEN_AFTER_S - 1)
        assert await store.entries.put(entry("a"), None)
    assert not failed.done()
    failed.cancel()
