"""Which stores are opened and brought up to date, and which are refused, each in one sentence with a hint."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import lmdb
import pytest

from semcache.errors import StoreUnusableError
from semcache.model import Selector
from semcache.store import LmdbStore, check, layout, repair
from semcache.store.embedders import EmbedderRun, unpack_runs
from semcache.testing.clock import FakeClock
from tests.support.stored import SECRET, entry, get, store_settings, vector

ROOT = Path(__file__).resolve().parents[3]


def open_store(path: Path, keys=(SECRET,), embedder: str = "", **fields) -> LmdbStore:
    settings = store_settings(path, **fields)
    return LmdbStore.open(settings, FakeClock(), secret_key_ids=keys, embedder_fingerprint=embedder)


def write_meta(path: Path, key: bytes, value: bytes | None) -> None:
    with (
        lmdb.Environment(str(path), max_dbs=20, map_size=64 << 20, lib_version=layout.LIB_VERSION) as env,
        env.begin(write=True) as txn,
    ):
        meta = env.open_db(b"meta", txn)
        if value is None:
            txn.delete(key, db=meta)
        else:
            txn.put(key, value, db=meta)


def read_meta(path: Path, key: bytes) -> bytes | None:
    with (
        lmdb.Environment(str(path), max_dbs=20, map_size=64 << 20, lib_version=layout.LIB_VERSION) as env,
        env.begin() as txn,
    ):
        return txn.get(key, db=env.open_db(b"meta", txn))


def embedders_of_vectors(path: Path) -> set[str]:
    """Return the fingerprints of the embedders whose vectors the store holds."""
    runs = unpack_runs(read_meta(path, layout.META_RUNS))
    return {run.fingerprint for run in runs if run.vectors}


async def test_what_was_stored_is_there_after_reopening_and_ids_go_on(tmp_path):
    store = open_store(tmp_path)
    first = await store.entries.put(entry("a"), vector())
    stats = store.stats()
    await store.close()
    store = open_store(tmp_path)
    assert await get(store, first.entry_id) == first
    assert (store.stats().entries, store.stats().used_bytes) == (stats.entries, stats.used_bytes)
    assert (await store.entries.put(entry("b"), None)).entry_id > first.entry_id
    await store.close()


async def test_the_folder_and_its_files_are_the_owners_alone(tmp_path):
    store = open_store(tmp_path / "deep" / "store")
    modes = {path.name: path.stat().st_mode & 0o077 for path in (tmp_path / "deep" / "store").iterdir()}
    assert modes == {"data.mdb": 0, "lock.mdb": 0, "semcache.lock": 0}
    assert (tmp_path / "deep" / "store").stat().st_mode & 0o077 == 0
    await store.close()


async def test_a_second_server_is_refused_with_the_holders_pid(tmp_path):
    store = open_store(tmp_path)
    script = (
        "import sys; from pathlib import Path; from tests.unit.store.test_opening import open_store\n"
        "try: open_store(Path(sys.argv[1]))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    other = subprocess.run(  # noqa: ASYNC221 - nothing else runs on this loop
        [sys.executable, "-c", script, tmp_path], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert other.stdout.startswith(f"StoreUnusableError the store at {tmp_path} is in use by process {os.getpid()}.")
    assert "store.path" in other.stdout
    with pytest.raises(StoreUnusableError, match=f"in use by process {os.getpid()}"):
        open_store(tmp_path)
    with pytest.raises(StoreUnusableError, match=f"in use by process {os.getpid()}"):
        repair(store_settings(tmp_path))
    await store.close()
    await open_store(tmp_path).close()


async def test_a_check_may_run_beside_a_server(tmp_path):
    store = open_store(tmp_path)
    await store.entries.put(entry("a"), vector())
    script = (
        "import sys; from pathlib import Path; from semcache.store import check; from semcache.settings import *\n"
        "report = check(StoreSettings(path=Path(sys.argv[1]), map_size_bytes=64 << 20))\n"
        "print(report.clean, report.rows['entries'])"
    )
    other = subprocess.run(  # noqa: ASYNC221 - nothing else runs on this loop
        [sys.executable, "-c", script, tmp_path], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert other.stdout == "True 1\n"
    await store.entries.put(entry("b"), vector())
    await store.close()


async def test_another_secret_is_refused_and_rotation_is_not(tmp_path):
    await open_store(tmp_path, ["first"]).close()
    with pytest.raises(StoreUnusableError, match=r"another secret \(key id first\)"):
        open_store(tmp_path, ["second"])
    await open_store(tmp_path, ["second", "first"]).close()
    await open_store(tmp_path, ["second"]).close()
    with pytest.raises(StoreUnusableError, match="first, second"):
        open_store(tmp_path, ["third"])
    await open_store(tmp_path, ["first"]).close()


async def test_a_newer_store_is_refused_by_all_and_left_as_it_is(tmp_path):
    await open_store(tmp_path).close()
    write_meta(tmp_path, layout.META_FORMAT, (9).to_bytes(2, "big"))
    before = (tmp_path / "data.mdb").read_bytes()
    for refused in (open_store, lambda path: check(store_settings(path)), lambda path: repair(store_settings(path))):
        with pytest.raises(StoreUnusableError, match=f"format 9, and this semcache reads up to {layout.STORE_FORMAT}"):
            refused(tmp_path)
    assert (tmp_path / "data.mdb").read_bytes() == before


@pytest.mark.parametrize("content", [b"not a database at all" * 1000, b"\0" * 8192])
def test_files_that_are_no_store_are_refused(tmp_path, content):
    (tmp_path / "data.mdb").write_bytes(content)
    with pytest.raises(StoreUnusableError, match="no store that this semcache reads"):
        open_store(tmp_path)
    with pytest.raises(StoreUnusableError, match=re.escape(str(tmp_path))):
        check(store_settings(tmp_path))
    # The lock was freed: the file can be removed at once.
    (tmp_path / "data.mdb").unlink()


def test_a_path_that_can_not_be_a_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreUnusableError, match="can't be opened") as caught:
            open_store(path)
        assert "store.path must be a folder" in caught.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StoreUnusableError, match="Permission denied"):
        open_store(tmp_path)


def test_a_map_beyond_the_address_space_is_refused(tmp_path):
    with pytest.raises(StoreUnusableError, match="address space") as caught:
        open_store(tmp_path, map_size_bytes=1 << 60)
    assert "store.map_size_bytes" in caught.value.hint


def test_there_is_nothing_to_check_where_no_store_is(tmp_path):
    for look in (check, repair):
        with pytest.raises(StoreUnusableError, match="there is no store"):
            look(store_settings(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()


async def test_embedders_are_remembered_while_a_vector_of_theirs_is_there(tmp_path):
    for fingerprint in ("one", "", "two", "three", "one"):
        store = open_store(tmp_path, embedder=fingerprint)
        await store.entries.put(entry(fingerprint), vector() if fingerprint in {"one", "two"} else None)
        await store.close()
    assert embedders_of_vectors(tmp_path) == {"one", "two"}
    store = open_store(tmp_path)
    await store.entries.invalidate(Selector("acme", everything=True), apply=True)
    await store.close()
    assert embedders_of_vectors(tmp_path) == set()


async def test_runs_of_embedders_of_which_nothing_is_left_are_forgotten(tmp_path):
    for fingerprint in ("one", "two") * 10:
        store = open_store(tmp_path, embedder=fingerprint)
        await store.entries.put(entry("the only one"), vector())
        await store.close()
    runs = unpack_runs(read_meta(tmp_path, layout.META_RUNS))
    assert runs == (EmbedderRun(19, "one", 0), EmbedderRun(20, "two", 1))


FIRST_FORMAT = {
    "one embedder": (["one"], "one", 0),
    "another one": (["one"], "two", 2),
    "several, of which none says what is whose": (["one", "two"], "three", 0),
    "none": ([], "one", 0),
}


@pytest.mark.parametrize("case", FIRST_FORMAT)
async def test_a_store_of_the_first_format_is_brought_up_to_date(tmp_path, case):
    names, embedder, inert = FIRST_FORMAT[case]
    store = open_store(tmp_path)
    kept = [await store.entries.put(entry(name), vector()) for name in "ab"]
    await store.close()
    write_meta(tmp_path, layout.META_FORMAT, (1).to_bytes(2, "big"))
    write_meta(tmp_path, layout.META_RUNS, None)
    write_meta(tmp_path, layout.META_FINGERPRINTS, json.dumps(names).encode() if names else None)
    assert check(store_settings(tmp_path)).clean
    store = open_store(tmp_path, embedder=embedder)
    assert [await get(store, one.entry_id) for one in kept] == kept
    assert store.stats().inert == inert
    await store.entries.put(entry("c"), vector())
    assert store.stats().inert == inert
    await store.close()
    assert check(store_settings(tmp_path)).clean
    assert read_meta(tmp_path, layout.META_FORMAT) == layout.STORE_FORMAT.to_bytes(2, "big")
    assert read_meta(tmp_path, layout.META_FINGERPRINTS) is None
