"""Data keys: rows are bound to their places, keys reach the disk before their rows, and a crash loses none."""

import json
import os
from pathlib import Path

import pytest

from semcache.encryption import (
    DAMAGED_ROW,
    ERASED_ROW,
    KEY_FILE,
    KeyRing,
    MasterKey,
    is_encrypted,
    key_file,
    key_id_of,
    key_ring,
)
from semcache.errors import StoreUnusableError

OLD, NEW = MasterKey(bytes(32)), MasterKey(bytes(31) + b"\1")
PLACE = b"entries/" + bytes(8)


def opened(folder: Path, *masters: MasterKey, readonly: bool = False) -> KeyRing:
    return KeyRing(folder, masters or (OLD,), readonly=readonly)


def made(folder: Path) -> tuple[KeyRing, bytes]:
    """A ring whose file is on disk, and a row of the tenant acme."""
    ring = opened(folder)
    row = ring.encrypt("acme", PLACE, b"a row")
    ring.sync()
    return ring, row


def test_a_row_is_read_at_its_place_alone(tmp_path):
    ring, row = made(tmp_path)
    assert is_encrypted(row)
    assert b"a row" not in row
    assert ring.decrypt(PLACE, row) == b"a row"
    assert ring.decrypt(PLACE, memoryview(row)) == b"a row"
    assert ring.decrypt(b"served/" + bytes(8), row) == DAMAGED_ROW
    assert ring.decrypt(b"entries/" + bytes(7) + b"\1", row) == DAMAGED_ROW


def test_every_flipped_bit_and_every_cut_is_damage(tmp_path):
    ring, row = made(tmp_path)
    flipped = [row[:at] + bytes([row[at] ^ 1 << bit]) + row[at + 1 :] for at in range(len(row)) for bit in range(8)]
    assert {ring.decrypt(PLACE, damaged) for damaged in flipped} == {DAMAGED_ROW}
    assert {ring.decrypt(PLACE, row[:size]) for size in range(len(row))} == {DAMAGED_ROW}
    assert {ring.decrypt(PLACE, row[start:]) for start in range(1, len(row) + 1)} == {DAMAGED_ROW}


def test_equal_rows_look_different(tmp_path):
    ring, row = made(tmp_path)
    assert len({row, *(ring.encrypt("acme", PLACE, b"a row") for _ in range(100))}) == 101


def test_tenants_and_the_store_itself_have_keys_of_their_own(tmp_path):
    ring, row = made(tmp_path)
    rows = [row, ring.encrypt("other", PLACE, b"a row"), ring.encrypt(None, PLACE, b"a row")]
    assert len({key_id_of(each) for each in rows}) == 3
    assert [ring.tenant_of(each) for each in rows] == ["acme", "other", None]
    assert repr(ring) == "KeyRing(3 keys, 0 destroyed)"


def test_another_process_reads_rows_and_notices_new_keys(tmp_path):
    ring, row = made(tmp_path)
    reader = opened(tmp_path, readonly=True)
    assert reader.decrypt(PLACE, row) == b"a row"
    later = ring.encrypt("new tenant", PLACE, b"later")
    assert reader.decrypt(PLACE, later) == DAMAGED_ROW
    ring.sync()
    assert reader.decrypt(PLACE, later) == b"later"


def test_rows_in_clear_are_read_until_all_are_encrypted(tmp_path):
    ring = KeyRing(tmp_path, [OLD], readonly=False, rows_in_clear=True)
    assert ring.decrypt(PLACE, b"a row in clear") == b"a row in clear"
    ring.keep_current()
    ring.sync()
    assert opened(tmp_path).decrypt(PLACE, b"a row in clear") == DAMAGED_ROW


# -- the file


def test_the_file_tells_nothing_and_is_its_owners_alone(tmp_path):
    made(tmp_path)
    path = tmp_path / KEY_FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"acme" not in path.read_bytes()
    assert json.loads(path.read_bytes())["master_key_id"] == OLD.key_id


def test_a_wrong_master_key_is_told_from_damage(tmp_path):
    made(tmp_path)
    path = tmp_path / KEY_FILE
    whole = path.read_bytes()
    with pytest.raises(StoreUnusableError, match="under another master key") as caught:
        opened(tmp_path, NEW)
    assert OLD.key_id in caught.value.message
    assert path.read_bytes() == whole
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        if json_or_none(path) == json.loads(whole):
            continue  # white space
        with pytest.raises(StoreUnusableError, match=r"is damaged|newer semcache|has format"):
            opened(tmp_path)
    for content in (b"", b"{}", b"[]", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(StoreUnusableError, match="is damaged"):
            opened(tmp_path)


def json_or_none(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except ValueError:
        return None


def test_a_file_that_was_forged_under_the_right_id_is_damaged(tmp_path):
    """Its checksum fits, but nothing in it was encrypted with the key."""
    made(tmp_path)
    path = tmp_path / KEY_FILE
    forger = MasterKey(b"\7" * 32)
    forger.key_id = OLD.key_id
    key_file.write(path, key_file.KeyFileContent([], [], rows_in_clear=True), forger)
    with pytest.raises(StoreUnusableError, match="is damaged or was changed"):
        opened(tmp_path)


def test_a_newer_format_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(key_file, "FORMAT", 2)
    made(tmp_path)
    monkeypatch.undo()
    with pytest.raises(StoreUnusableError, match="has format 2"):
        opened(tmp_path)


class KilledError(BaseException):
    pass


STEPS = ("open", "fsync", "replace", "fsync of the folder")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("act", ["another tenant", "new master key", "destroyed", "renewed", "kept current"])
def test_a_kill_at_each_step_of_a_rewrite_leaves_the_old_file_or_the_new_one(tmp_path, monkeypatch, step, act):
    ring, row = made(tmp_path)
    masters = (NEW, OLD)
    if act == "new master key":
        ring = opened(tmp_path, *masters)
    elif act == "another tenant":
        other = ring.encrypt("other", PLACE, b"another row")
    elif act == "destroyed":
        ring.destroy("acme")
    else:
        ring.renew()
        if act == "kept current":
            ring.keep_current()
    assert ring.changed
    kill(monkeypatch, step)
    with pytest.raises(KilledError):
        ring.sync()
    monkeypatch.undo()

    happened = step == "fsync of the folder"
    after = opened(tmp_path, *masters)
    expected = {"destroyed": ERASED_ROW, "kept current": DAMAGED_ROW}.get(act, b"a row") if happened else b"a row"
    assert after.decrypt(PLACE, row) == expected
    if act == "another tenant":
        assert after.decrypt(PLACE, other) == (b"another row" if happened else DAMAGED_ROW)
    # The next rewrite isn't held up by what the kill left behind.
    again = after.encrypt("acme", PLACE, b"afterwards")
    after.sync()
    assert opened(tmp_path, *masters).decrypt(PLACE, again) == b"afterwards"


def kill(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Raise what nothing catches, instead of one step of the rewrite."""
    fsync, syncs = os.fsync, []

    def killed(*arguments: object, **options: object) -> None:
        raise KilledError

    def sync(descriptor: int) -> None:
        syncs.append(descriptor)
        if len(syncs) == (1 if step == "fsync" else 2):
            raise KilledError
        fsync(descriptor)

    if step.startswith("fsync"):
        monkeypatch.setattr(os, "fsync", sync)
    elif step == "open":
        monkeypatch.setattr(key_file.os, "fdopen", killed)
    else:
        monkeypatch.setattr(Path, "replace", killed)


def test_a_disk_that_refuses_is_tried_again(tmp_path, monkeypatch):
    ring, row = made(tmp_path)
    later = ring.encrypt("other", PLACE, b"later")

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError):
        ring.sync()
    monkeypatch.undo()
    assert opened(tmp_path).decrypt(PLACE, row) == b"a row"
    ring.sync()
    assert opened(tmp_path).decrypt(PLACE, later) == b"later"


def test_the_next_rewrite_has_its_room_beforehand(tmp_path):
    """On a full disk, a new tenant's key would otherwise hold up the ledger lines of all tenants."""
    ring, _ = made(tmp_path)
    spare = (tmp_path / f"{KEY_FILE}.new").stat()
    assert spare.st_blocks * 512 >= 1 << 16
    assert spare.st_mode & 0o777 == 0o600
    ring.encrypt("other", PLACE, b"another row")
    ring.sync()
    assert (tmp_path / KEY_FILE).stat().st_ino == spare.st_ino
    assert opened(tmp_path).key_ids == ring.key_ids


def test_a_system_that_gives_no_room_beforehand_is_no_reason_to_fail(tmp_path, monkeypatch):
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    _, row = made(tmp_path)
    assert opened(tmp_path).decrypt(PLACE, row) == b"a row"


# -- changing keys


def test_a_new_master_key_takes_over_with_the_old_one_beside_it(tmp_path):
    _, row = made(tmp_path)
    ring = opened(tmp_path, NEW, OLD)
    assert ring.changed
    ring.sync()
    assert opened(tmp_path, NEW).decrypt(PLACE, row) == b"a row"
    with pytest.raises(StoreUnusableError, match="under another master key"):
        opened(tmp_path, OLD)


def test_renewed_keys_encrypt_and_the_old_ones_still_decrypt(tmp_path):
    ring, row = made(tmp_path)
    ring.renew()
    new = ring.encrypt("acme", PLACE, b"a new row")
    assert key_id_of(new) != key_id_of(row)
    ring.sync()
    again = opened(tmp_path)
    assert [again.decrypt(PLACE, each) for each in (row, new)] == [b"a row", b"a new row"]
    again.keep_current()
    assert [again.decrypt(PLACE, each) for each in (row, new)] == [DAMAGED_ROW, b"a new row"]


def test_an_erased_tenants_rows_are_told_as_erased_and_it_may_come_back(tmp_path):
    ring, row = made(tmp_path)
    other = ring.encrypt("other", PLACE, b"another row")
    assert ring.destroy("acme") == 1
    ring.sync()
    for each in (ring, opened(tmp_path)):
        assert each.decrypt(PLACE, row) == ERASED_ROW
        assert each.decrypt(PLACE, other) == b"another row"
    new = ring.encrypt("acme", PLACE, b"a new row")
    assert [ring.decrypt(PLACE, each) for each in (row, new)] == [ERASED_ROW, b"a new row"]
    assert ring.destroy("nobody") == 0


def test_a_key_is_replaced_before_it_has_encrypted_too_many_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(key_ring, "ROWS_PER_RESERVATION", 4)
    monkeypatch.setattr(key_ring, "MAX_ROWS_PER_KEY", 12)
    ring = opened(tmp_path)
    key_ids = [key_id_of(ring.encrypt("acme", PLACE, b"a row")) for _ in range(30)]
    counts = [key_ids.count(key_id) for key_id in dict.fromkeys(key_ids)]
    assert counts == [12, 12, 6]


def test_a_kill_never_lowers_the_count_of_rows(tmp_path, monkeypatch):
    """Each process reserves rows in the file before it encrypts them, and takes up where the reservations end."""
    monkeypatch.setattr(key_ring, "ROWS_PER_RESERVATION", 4)
    monkeypatch.setattr(key_ring, "MAX_ROWS_PER_KEY", 12)
    key_ids = []
    for _ in range(4):
        ring = opened(tmp_path)
        key_ids.append(key_id_of(ring.encrypt("acme", PLACE, b"a row")))
        ring.sync()
    assert [key_ids.count(key_id) for key_id in dict.fromkeys(key_ids)] == [3, 1]


def test_a_start_reserves_rows_of_all_tenants_with_one_rewrite(tmp_path):
    ring = opened(tmp_path)
    for tenant in ("a", "b", "c"):
        ring.encrypt(tenant, PLACE, b"a row")
    ring.sync()
    ring = opened(tmp_path)
    ring.encrypt("a", PLACE, b"a row")
    ring.sync()
    ring.encrypt("b", PLACE, b"a row")
    assert not ring.changed
