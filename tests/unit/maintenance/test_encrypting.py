"""Encrypting a store as a whole, changing its keys, erasing a tenant: before, afterwards, and after a kill."""

from pathlib import Path

import pytest

from semcache import maintenance
from semcache.encryption import KEY_FILE, KeyRing, is_encrypted, key_id_of
from semcache.errors import NotFoundError, StoreUnusableError
from semcache.maintenance import encrypting
from semcache.store import check, encrypted, repair
from semcache.store.layout import pack_id, rejections_prefix
from tests.support.encrypted_stores import (
    OTHER_KEY,
    SECRETS,
    fill,
    in_clear,
    opened,
    raw_env,
    raw_rows,
    settings_of,
)
from tests.support.stored import all_entries, digest, encryption, store_settings


async def contents(settings) -> dict[str, object]:
    """All that a store holds, in clear."""
    store = opened(settings)
    found = {
        "entries": [
            each for tenant in ("acme-corporation", "other") for each in await all_entries(store.entries, tenant)
        ],
        "vectors": [part.tolist() for part in store.vectors.load(digest("partition"))],
        "served": [await store.verdicts.served(f"{name}-hit") for name in ("capital", "river")],
        "log": list(store.ledger.records(None, 0, 1e11)),
        "hours": sorted(store.ledger.hours(None, 0, 1e11), key=repr),
        "counters": store.stats().entry_bytes,
    }
    found["rejections"] = [await store.verdicts.rejections(each.tenant, each.exact_key) for each in found["entries"]]
    await store.close()
    return found


def key_ids(folder: Path) -> set[bytes]:
    return {key_id_of(row) for name in encrypted.ENCRYPTED for _, row in raw_rows(folder, name)}


async def test_a_store_in_clear_is_encrypted_as_a_whole(tmp_path):
    await fill(in_clear(tmp_path))
    await fill(in_clear(tmp_path), "other", "river")
    before = await contents(in_clear(tmp_path))
    settings = settings_of(tmp_path)
    seen = []
    count = maintenance.encrypt(settings, seen.append)
    rows = [row for name in encrypted.ENCRYPTED for _, row in raw_rows(tmp_path, name)]
    assert count == len(rows) > 10
    assert all(map(is_encrypted, rows))
    assert "entries" in seen
    raw = b"".join(path.read_bytes() for path in (tmp_path / "store").iterdir())
    assert [secret for secret in SECRETS if secret in raw] == []
    assert check(settings).clean
    assert await contents(settings) == before
    assert [len(some) for some in before["rejections"]] == [1, 1]
    ring = KeyRing(tmp_path / "store", encrypting.encryption.master_keys(settings.encryption), readonly=True)
    tenants = {key[:16]: ring.tenant_of(row) for key, row in raw_rows(tmp_path, "rejections")}
    assert tenants == {rejections_prefix(tenant, b""): tenant for tenant in ("acme-corporation", "other")}
    assert {path.name for path in (tmp_path / "store").iterdir()} == {
        "data.mdb",
        "lock.mdb",
        "semcache.lock",
        KEY_FILE,
        f"{KEY_FILE}.new",
    }


async def test_new_keys_replace_all_old_ones(tmp_path):
    settings = settings_of(tmp_path)
    await fill(settings)
    before, old_ids = await contents(settings), key_ids(tmp_path)
    maintenance.encrypt(settings)
    assert key_ids(tmp_path) == old_ids
    maintenance.encrypt(settings, new_keys=True)
    assert key_ids(tmp_path).isdisjoint(old_ids)
    assert len(key_ids(tmp_path)) == len(old_ids)
    ring = KeyRing(tmp_path / "store", encrypting.encryption.master_keys(settings.encryption), readonly=True)
    assert ring.key_ids == key_ids(tmp_path)
    assert await contents(settings) == before


class KilledError(BaseException):
    pass


@pytest.mark.parametrize("new_keys", [False, True])
@pytest.mark.parametrize("step", ["_copy", "remove", "rename", "sync_folder", "keep_current", "sync"])
async def test_a_kill_while_encrypting_leaves_a_store_that_goes_on(tmp_path, monkeypatch, step, new_keys):
    settings = settings_of(tmp_path)
    await fill(in_clear(tmp_path))
    await fill(settings, "other", "river")
    before = await contents(settings)
    replace = Path.replace

    def killed(*arguments: object, **options: object) -> None:
        raise KilledError

    def killed_rename(source: Path, target: Path) -> Path:
        if target.name == "data.mdb":
            raise KilledError
        return replace(source, target)

    places = {
        "_copy": encrypting,
        "remove": encrypting.rebuilding,
        "sync_folder": encrypting.opening,
        "keep_current": KeyRing,
        "sync": KeyRing,
    }
    if step == "rename":
        monkeypatch.setattr(Path, "replace", killed_rename)
    else:
        monkeypatch.setattr(places[step], step, killed)
    with pytest.raises(KilledError):
        maintenance.encrypt(settings, new_keys=new_keys)
    monkeypatch.undo()
    assert check(settings).clean
    assert await contents(settings) == before
    maintenance.encrypt(settings, new_keys=new_keys)
    assert await contents(settings) == before
    assert all(is_encrypted(row) for name in encrypted.ENCRYPTED for _, row in raw_rows(tmp_path, name))


async def test_a_store_with_problems_is_not_encrypted(tmp_path):
    await fill(in_clear(tmp_path))
    with raw_env(tmp_path) as env, env.begin(write=True) as txn:
        txn.put(pack_id(77), b"no entry", db=env.open_db(b"entries", txn))
    settings = settings_of(tmp_path)
    with pytest.raises(StoreUnusableError, match="can't be encrypted as a whole") as caught:
        maintenance.encrypt(settings)
    assert "check --repair" in caught.value.hint
    repair(settings)
    maintenance.encrypt(settings)
    assert check(settings).clean


@pytest.mark.parametrize(
    "act", [maintenance.encrypt, maintenance.change_master_key, lambda settings: maintenance.erase(settings, "acme")]
)
async def test_no_act_without_encryption_or_beside_a_server(tmp_path, act):
    await fill(in_clear(tmp_path))
    with pytest.raises(StoreUnusableError, match="encryption is off"):
        act(in_clear(tmp_path))
    with pytest.raises(StoreUnusableError, match="there is no store at"):
        act(settings_of(tmp_path / "elsewhere"))
    store = opened(in_clear(tmp_path))
    with pytest.raises(StoreUnusableError, match="is in use by process"):
        act(settings_of(tmp_path))
    await store.close()


async def test_the_master_key_is_changed_without_touching_a_row(tmp_path):
    await fill(settings_of(tmp_path))
    data = (tmp_path / "store" / "data.mdb").read_bytes()
    both = encryption(tmp_path, key=OTHER_KEY, previous_keys=(settings_of(tmp_path).encryption.key,))
    settings = store_settings(tmp_path / "store", encryption=both)
    assert maintenance.change_master_key(settings)
    assert not maintenance.change_master_key(settings)
    assert (tmp_path / "store" / "data.mdb").read_bytes() == data
    assert check(settings_of(tmp_path, OTHER_KEY)).clean


async def test_there_is_no_master_key_to_change_where_nothing_is_encrypted(tmp_path):
    await fill(in_clear(tmp_path))
    with pytest.raises(StoreUnusableError, match="has no key file"):
        maintenance.change_master_key(settings_of(tmp_path))


# -- erasing


async def test_an_erased_tenant_is_gone_and_others_stay(tmp_path):
    settings = settings_of(tmp_path)
    await fill(settings)
    await fill(settings, "other", "river")
    copy = (tmp_path / "store" / "data.mdb").read_bytes()
    assert maintenance.erase(settings, "acme-corporation") == 1
    assert check(settings).clean
    after = await contents(settings)
    assert {each.tenant for each in after["entries"]} == {"other"}
    assert {line.tenant for line in after["log"]} == {"other"}
    assert after["served"][0] is None
    assert [len(some) for some in after["rejections"]] == [1]
    assert {key[:16] for key, _ in raw_rows(tmp_path, "rejections")} == {rejections_prefix("other", b"")}
    assert after["served"][1].tenant == "other"
    assert {hour.tenant for hour in after["hours"]} == {"acme-corporation", "other"}  # the operator's own books
    assert {key for key, _ in raw_rows(tmp_path, "access")} == {pack_id(after["entries"][0].entry_id)}
    with pytest.raises(NotFoundError):
        maintenance.erase(settings, "acme-corporation")

    # A copy of the data file from before tells nothing of the tenant any more.
    (tmp_path / "store" / "data.mdb").write_bytes(copy)
    kinds = {problem.kind for problem in check(settings).problems}
    assert "row_erased" in kinds
    assert not any(kind.endswith("_damaged") for kind in kinds)
    again = await contents(settings)
    assert {each.tenant for each in again["entries"]} == {"other"}
    repair(settings)
    assert check(settings).clean


async def test_the_sums_of_an_erased_tenant_go_too_if_wanted(tmp_path):
    settings = settings_of(tmp_path)
    await fill(settings)
    await fill(settings, "other", "river")
    maintenance.erase(settings, "acme-corporation", with_sums=True)
    assert {hour.tenant for hour in (await contents(settings))["hours"]} == {"other"}
    assert check(settings).clean


async def test_an_erased_tenant_may_come_back(tmp_path):
    settings = settings_of(tmp_path)
    await fill(settings)
    maintenance.erase(settings, "acme-corporation")
    await fill(settings)
    assert check(settings).clean
    assert len((await contents(settings))["entries"]) == 1


async def test_a_kill_after_the_key_is_destroyed_leaves_nothing_readable(tmp_path, monkeypatch):
    settings = settings_of(tmp_path)
    await fill(settings)

    def killed(*arguments: object) -> None:
        raise KilledError

    monkeypatch.setattr(encrypting.checking, "repair_locked", killed)
    with pytest.raises(KilledError):
        maintenance.erase(settings, "acme-corporation")
    monkeypatch.undo()
    after = await contents(settings)
    assert after["entries"] == after["log"] == []
    assert {problem.kind for problem in check(settings).problems} >= {"row_erased"}
    assert maintenance.erase(settings, "acme-corporation") == 0
    assert check(settings).clean


async def test_rows_in_clear_are_not_said_to_be_erased(tmp_path):
    await fill(in_clear(tmp_path))
    settings = settings_of(tmp_path)
    await fill(settings, name="river")
    with pytest.raises(StoreUnusableError, match="may hold rows in clear"):
        maintenance.erase(settings, "acme-corporation")
    maintenance.encrypt(settings)
    maintenance.erase(settings, "acme-corporation")
    assert (await contents(settings))["entries"] == []


async def test_files_that_repairs_have_kept_are_named(tmp_path):
    kept = tmp_path / "data.mdb.damaged-20261201T000000Z"
    kept.touch()
    assert maintenance.files_in_clear(tmp_path) == [kept]
