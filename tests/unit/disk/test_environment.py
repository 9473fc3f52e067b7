"""The environment: readers and a reopening exclude each other, and one that ended is opened again for whoever asks."""

import threading
from pathlib import Path

import lmdb
import pytest

from semcache.disk import Environment
from semcache.errors import StoreError, StoreUnusableError


class Opener:
    """Opens a file, or refuses to; knows what it has opened."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self.refuses = False
        self.opened: list[lmdb.Environment] = []

    def __call__(self) -> tuple[lmdb.Environment, lmdb._Database]:
        if self.refuses:
            raise StoreUnusableError("the disk is gone.")
        env = lmdb.Environment(self._path, max_dbs=1, map_size=1 << 20, lib_version=0)
        self.opened.append(env)
        return env, env.open_db(b"rows")


@pytest.fixture
def opener(tmp_path: Path) -> Opener:
    return Opener(tmp_path / "file")


def put(file: Environment, key: bytes) -> None:
    with file.writing() as (txn, db, _):
        txn.put(key, b"value", db=db)


def get(file: Environment, key: bytes) -> bytes | None:
    with file.reading() as (txn, db):
        return txn.get(key, db=db)


def test_what_was_committed_is_there_after_a_reopening(opener):
    file = Environment(opener)
    put(file, b"a")
    file.reopen()
    assert get(file, b"a") == b"value"
    put(file, b"b")
    assert (file.reopened, len(opener.opened)) == (1, 2)
    file.close()


def test_a_reopening_waits_for_the_readers_and_new_readers_wait_for_it(opener):
    file = Environment(opener)
    put(file, b"a")
    found = []
    with file.reading() as (txn, db):
        reopening = threading.Thread(target=file.reopen)
        reopening.start()
        while not file._held:
            pass
        reading = threading.Thread(target=lambda: found.append(get(file, b"a")))
        reading.start()
        assert txn.get(b"a", db=db) == b"value"
        assert (found, file.reopened) == ([], 0)
    reopening.join(30)
    reading.join(30)
    assert (found, file.reopened) == ([b"value"], 1)
    file.close()


class Panicking:
    """An environment that has ended."""

    def __init__(self, env: lmdb.Environment) -> None:
        self._env = env

    def begin(self, **_: object) -> None:
        raise lmdb.PanicError("mdb_txn_begin: MDB_PANIC")

    def close(self) -> None:
        self._env.close()


def test_a_reader_that_meets_an_ended_environment_opens_it_again(opener):
    file = Environment(opener)
    put(file, b"a")
    file._opened = (Panicking(file._opened[0]), file._opened[1])
    assert get(file, b"a") == b"value"
    assert file.reopened == 1
    file.close()


def test_while_it_can_not_be_opened_transactions_are_refused_and_later_they_work(opener):
    file = Environment(opener)
    put(file, b"a")
    opener.refuses = True
    with pytest.raises(StoreUnusableError, match="the disk is gone"):
        file.reopen()
    for transaction in (file.reading, file.writing, file.reading_buffers):
        with pytest.raises(StoreError, match="can't be opened again yet"), transaction():
            pass
    assert file.sizes()[1] == 1 << 20
    opener.refuses = False
    file.reopen()
    assert get(file, b"a") == b"value"
    file.close()


def test_one_that_another_thread_has_opened_again_is_left(opener):
    file = Environment(opener)
    broken = opener.opened[0]
    file.reopen(broken)
    file.reopen(broken)
    assert file.reopened == 1
    file.close()


def test_a_commit_is_told_by_its_number(opener):
    file = Environment(opener)
    with file.writing() as (txn, db, _):
        number = txn.id()
        txn.put(b"a", b"value", db=db)
    assert file.is_committed(number)
    assert not file.is_committed(number + 1)
    file.close()


def test_after_closing_transactions_are_refused_and_the_sizes_stay(opener):
    file = Environment(opener)
    sizes = file.sizes()
    file.close()
    file.close()
    assert file.sizes() == sizes
    with pytest.raises(StoreError, match="closed"), file.reading():
        pass
    with pytest.raises(StoreError, match="closed"):
        file.reopen()
