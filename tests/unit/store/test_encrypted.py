"""An encrypted store: its file tells nothing, its rows can't be moved, and wrong or missing keys don't open it."""

import errno
from pathlib import Path

import lmdb
import pytest
from structlog.testing import capture_logs

from semcache import encryption as encryption_room
from semcache.disk import pages
from semcache.encryption import KEY_FILE, KeyRing, is_encrypted
from semcache.errors import StoreFullError, StoreUnusableError
from semcache.settings import EncryptionSettings, StoreSettings
from semcache.store import LedgerReader, check, encrypted, layout, opening, read_judged, repair
from semcache.store.codec import encode_entry
from semcache.store.layout import Databases, pack_id
from semcache.testing.clock import START_WALL_S
from tests.support.encrypted_stores import (
    OTHER_KEY,
    SECRETS,
    STORED,
    fill,
    in_clear,
    opened,
    raw_env,
    raw_rows,
    settings_of,
)
from tests.support.stored import all_entries, answer, digest, encryption, entry, get, record, store_settings, vector


async def test_the_files_hold_no_text_no_name_no_tag_and_no_vector(tmp_path):
    await fill(settings_of(tmp_path))
    raw = b"".join(path.read_bytes() for path in (tmp_path / "store").iterdir())
    assert [secret for secret in SECRETS if secret in raw] == []
    for name in encrypted.ENCRYPTED:
        rows = raw_rows(tmp_path, name)
        assert rows
        assert all(is_encrypted(row) for _, row in rows)


async def test_the_same_files_in_clear_hold_them_all(tmp_path):
    await fill(in_clear(tmp_path))
    raw = b"".join(path.read_bytes() for path in (tmp_path / "store").iterdir())
    assert [secret for secret in STORED if secret not in raw] == []


def test_all_rows_that_hold_texts_names_or_vectors_are_encrypted():
    """A new sub-database must be put on one side or the other: these hold numbers and digests alone."""
    in_clear = {"exact", "tags", "expiry", "access", "meta"}
    assert set(encrypted.ENCRYPTED) == set(layout.SUB_DATABASES) - in_clear


async def test_readers_beside_the_store_read_it_with_the_key(tmp_path):
    settings = settings_of(tmp_path)
    await fill(settings)
    assert check(settings).clean
    with LedgerReader(settings) as ledger:
        assert [line.request_id for line in ledger.records(0, START_WALL_S + 100)] == [
            "capital-1",
            "capital-2",
            "capital-3",
        ]
        assert {hour.tenant for hour in ledger.hours(0, START_WALL_S + 100)} == {"acme-corporation"}
    (judged,) = read_judged(settings).hits
    assert judged.hit.text == "capital of Freedonia?"
    assert judged.entry.tags == ("capital-tag",)


def moved_entry(txn, dbs: Databases) -> None:
    txn.put(pack_id(1), txn.get(pack_id(2), db=dbs.entries), db=dbs.entries)


def moved_vector(txn, dbs: Databases) -> None:
    partition = digest("partition")
    txn.put(partition + pack_id(1), txn.get(partition + pack_id(2), db=dbs.vectors), db=dbs.vectors)


def flipped_entry(txn, dbs: Databases) -> None:
    row = txn.get(pack_id(1), db=dbs.entries)
    txn.put(pack_id(1), row[:9] + bytes([row[9] ^ 4]) + row[10:], db=dbs.entries)


def entry_in_clear(txn, dbs: Databases) -> None:
    txn.put(pack_id(1), encode_entry(entry("a", entry_id=1, answer=answer("forged"))), db=dbs.entries)


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (moved_entry, "entry_damaged"),
        (flipped_entry, "entry_damaged"),
        (entry_in_clear, "entry_damaged"),
        (moved_vector, "vector_damaged"),
    ],
)
async def test_a_row_that_was_moved_changed_or_forged_is_damage(tmp_path, harm, problem):
    settings = settings_of(tmp_path)
    store = opened(settings)
    for name in ("a", "b"):
        await store.entries.put(entry(name), vector(1), None)
    await store.close()
    with raw_env(tmp_path) as env:
        dbs = Databases.open(env, create=False)
        with env.begin(write=True) as txn:
            harm(txn, dbs)
    assert problem in {found.kind for found in check(settings).problems}
    store = opened(settings)
    with capture_logs() as logs:
        found = await get(store, 1)
        ids, _ = store.vectors.load(digest("partition"))
    assert found is None or (problem == "vector_damaged" and ids.tolist() == [2])
    assert {line["event"] for line in logs} == {"store.damaged"}
    await store.close()
    assert repair(settings).repaired
    assert check(settings).clean
    store = opened(settings)
    assert (await get(store, 2)) is not None
    await store.close()


# -- keys that don't fit


async def refused(tmp_path: Path, settings: StoreSettings) -> StoreUnusableError:
    """Open a filled store that must be refused by everything; return the error. Its files stay as they are."""
    before = {path.name: path.read_bytes() for path in (tmp_path / "store").iterdir() if path.name in FILES}
    errors = []
    for act in (opened, check, repair, LedgerReader, read_judged):
        with pytest.raises(StoreUnusableError) as caught:
            act(settings)
        errors.append(caught.value)
    assert {path.name: path.read_bytes() for path in (tmp_path / "store").iterdir() if path.name in FILES} == before
    assert len({error.message for error in errors}) == 1
    assert errors[0].hint
    return errors[0]


FILES = {"data.mdb", KEY_FILE}


async def test_a_wrong_master_key_is_refused_and_harms_nothing(tmp_path):
    settings = settings_of(tmp_path)
    await fill(settings)
    assert "another master key" in (await refused(tmp_path, settings_of(tmp_path, OTHER_KEY))).message
    assert check(settings).clean


async def test_a_missing_master_key_is_refused(tmp_path):
    await fill(settings_of(tmp_path))
    assert (await refused(tmp_path, in_clear(tmp_path))).message.endswith("is encrypted.")
    nowhere = EncryptionSettings(key={"file": tmp_path / "nowhere"})
    assert "no master key" in (await refused(tmp_path, store_settings(tmp_path / "store", encryption=nowhere))).message


async def test_a_missing_key_file_is_refused_and_not_made_anew(tmp_path):
    settings = settings_of(tmp_path)
    await fill(settings)
    (tmp_path / "store" / KEY_FILE).unlink()
    assert "its key file tenant.keys is missing" in (await refused(tmp_path, settings)).message


async def test_a_key_file_that_is_older_than_the_store_is_refused(tmp_path):
    """A repair would otherwise delete the rows of newer tenants as damaged ones."""
    settings = settings_of(tmp_path)
    await fill(settings)
    path = tmp_path / "store" / KEY_FILE
    older = path.read_bytes()
    await fill(settings, "new-tenant", "river")
    newer = path.read_bytes()
    path.write_bytes(older)
    assert "is older than the store: it lacks 1 of its data keys" in (await refused(tmp_path, settings)).message
    path.write_bytes(newer)
    assert check(settings).clean


async def test_a_store_in_clear_under_a_key_file_that_rules_it_out_is_refused(tmp_path):
    settings = settings_of(tmp_path)
    await fill(settings)
    path = tmp_path / "store" / KEY_FILE
    keys = path.read_bytes()
    for name in FILES:
        (tmp_path / "store" / name).unlink()
    await fill(in_clear(tmp_path))
    path.write_bytes(keys)
    assert "isn't encrypted, and its key file" in (await refused(tmp_path, settings)).message


async def test_a_semcache_that_knows_no_encryption_takes_the_store_for_a_newer_one(tmp_path):
    await fill(settings_of(tmp_path))
    number = int.from_bytes(dict(raw_rows(tmp_path, "meta"))[layout.META_FORMAT], "big")
    assert number > 1000


async def test_a_first_start_that_was_killed_before_its_first_commit_goes_on(tmp_path, monkeypatch):
    settings = settings_of(tmp_path)

    class KilledError(BaseException):
        pass

    def killed(*arguments: object) -> None:
        raise KilledError

    monkeypatch.setattr(encrypted, "record", killed)
    with pytest.raises(KilledError):
        opened(settings)
    monkeypatch.undo()
    assert (tmp_path / "store" / KEY_FILE).exists()
    await fill(settings)
    assert check(settings).clean


# -- what goes on


async def test_a_store_in_clear_goes_on_and_is_encrypted_as_it_is_rewritten(tmp_path):
    await fill(in_clear(tmp_path))
    settings = settings_of(tmp_path)
    await fill(settings, name="river")
    assert check(settings).clean
    assert {is_encrypted(row) for _, row in raw_rows(tmp_path, "entries")} == {True, False}
    store = opened(settings)
    assert len(await all_entries(store.entries, "acme-corporation")) == 2
    await store.close()
    assert "is encrypted" in (await refused(tmp_path, in_clear(tmp_path))).message


async def test_a_new_master_key_is_taken_over_by_the_next_start(tmp_path):
    await fill(settings_of(tmp_path))
    old = settings_of(tmp_path).encryption.key
    both = encryption(tmp_path, key=OTHER_KEY, previous_keys=(old,))
    await opened(store_settings(tmp_path / "store", encryption=both)).close()
    assert check(settings_of(tmp_path, OTHER_KEY)).clean
    assert "another master key" in (await refused(tmp_path, settings_of(tmp_path))).message


async def test_a_rebuild_of_damaged_pages_keeps_encrypted_rows(tmp_path):
    settings = settings_of(tmp_path)
    await fill(settings)
    data = tmp_path / "store" / "data.mdb"
    with data.open("rb") as file:
        (page, *_) = [tree.root for name, tree in pages.sub_databases(file).items() if name == "access"]
        root = page if page < 1 << 40 else pages.sub_databases(file)["tags"].root
    with data.open("r+b") as file:
        file.seek(root * 4096)
        file.write(b"\0" * 16)
    assert not check(settings).clean
    assert repair(settings).kept
    assert check(settings).clean
    store = opened(settings)
    assert len(await all_entries(store.entries, "acme-corporation")) == 1
    await store.close()


async def test_a_commit_whose_key_cannot_be_written_fails_and_is_made_later(tmp_path, monkeypatch):
    store = opened(settings_of(tmp_path))

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(StoreFullError):
            await store.entries.put(entry("a"), vector(), record("r1"))
    assert store.stats().entries == 0
    stored = await store.entries.put(entry("a"), vector(), record("r1"))
    assert await get(store, stored.entry_id) == stored
    await store.close()
    assert check(settings_of(tmp_path)).clean


class FailingCommit:
    """A transaction whose commit the disk refuses."""

    def __init__(self, txn) -> None:
        self._txn = txn

    def __getattr__(self, name: str) -> object:
        return getattr(self._txn, name)

    def __exit__(self, *error: object) -> None:
        self._txn.abort()
        raise lmdb.DiskError("No space left on device")


def test_the_ids_of_keys_are_recorded_by_the_commit_after_one_that_failed(tmp_path):
    settings = settings_of(tmp_path)
    opening.make_folder(settings.path)
    env, dbs = opening.open_environment(settings, readonly=False)

    def write(tenant: str, *, failing: bool = False) -> None:
        with env.begin(write=True) as txn:
            if failing:
                txn._txn = FailingCommit(txn._txn)
            txn.put(b"key", encryption_room.stored_row(txn, tenant, b"key", b"a row", dbs.served), db=dbs.served)

    write("first")
    with pytest.raises(lmdb.DiskError):
        write("second", failing=True)
    write("first")
    key_ids = encrypted.ring_of(env).key_ids
    env.close()
    recorded = dict(raw_rows(tmp_path, "meta"))[layout.META_DATA_KEYS]
    assert len(key_ids) == 2
    assert all(key_id.hex().encode() in recorded for key_id in key_ids)


def test_a_row_that_nobody_encrypted_is_not_written(tmp_path):
    settings = settings_of(tmp_path)
    opening.make_folder(settings.path)
    env, dbs = opening.open_environment(settings, readonly=False)
    with env.begin(write=True) as txn:
        for write in (txn.put, txn.replace):
            with pytest.raises(ValueError, match="in clear"):
                write(b"key", b"a row in clear", db=dbs.served)
    env.close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
async def test_a_key_file_without_room_is_a_full_store(tmp_path, monkeypatch, number):
    store = opened(settings_of(tmp_path))

    def refused(_: object) -> None:
        raise OSError(number, "no room")

    monkeypatch.setattr(KeyRing, "sync", refused)
    with pytest.raises(StoreFullError):
        await store.entries.put(entry("a"), vector(), None)
    monkeypatch.undo()
    await store.close()
