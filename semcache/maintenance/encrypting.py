"""Encrypt all rows of a store, change its keys, erase a tenant, while no server has the store open."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import lmdb

from semcache import encryption
from semcache.encryption import KEY_FILE, KeyRing, MasterKey
from semcache.errors import NotFoundError, StoreUnusableError
from semcache.settings import StoreSettings
from semcache.store import checking, damage, encrypted, layout, opening, rebuilding
from semcache.store.layout import Databases
from semcache.store.opening import DATA_FILE

_NEW_FILE = "data.encrypted"
_ROWS_PER_COMMIT = 4096

Progress = Callable[[str], None]


def encrypt(settings: StoreSettings, progress: Progress | None = None, *, new_keys: bool = False) -> int:
    """Write a new data file in which every row has the current key of its tenant; return how many rows were encrypted.

    The file takes its name by one rename, and the old one is deleted: it may hold rows in clear, in free pages too.
    Then the older data keys are forgotten, and rows in clear count as damage.

    Args:
        settings: where the store is, and its master key.
        progress: called with the name of each sub-database before it is walked.
        new_keys: first give every tenant a new data key.

    Raises:
        StoreUnusableError: encryption is off, a server has the store, it isn't clean, or the disk refuses.
    """
    folder = settings.path
    with _locked(settings):
        report = checking.check(settings, progress)
        if not report.clean:
            raise StoreUnusableError(
                f"the store at {folder} has {report.problem_count} problems, so that it can't be encrypted as a whole.",
                hint="Run `semcache check --repair` first.",
            )
        try:
            return _encrypted(settings, progress, new_keys=new_keys)
        except (lmdb.Error, OSError) as error:
            raise StoreUnusableError(
                f"the store at {folder} can't be encrypted ({error}).",
                hint="The disk needs room for a second data file. The old file is as it was.",
            ) from error


def files_in_clear(folder: Path) -> list[Path]:
    """Return the data files that repairs have kept beside the store: they may hold rows in clear."""
    return sorted(folder.glob(f"{DATA_FILE}.damaged-*"))


def change_master_key(settings: StoreSettings) -> bool:
    """Encrypt the key file under the current master key; return False where it was already.

    Raises:
        StoreUnusableError: encryption is off, a server has the store, there is no key file, or the disk refuses.
    """
    with _locked(settings):
        ring = _ring(settings, encryption.master_keys(settings.encryption))
        was_changed = ring.changed
        _sync(ring, settings.path)
        return was_changed


def erase(settings: StoreSettings, tenant: str, progress: Progress | None = None, *, with_sums: bool = False) -> int:
    """Destroy a tenant's data keys, durably, then delete its rows; return how many keys were destroyed.

    Afterwards nothing can read its rows any more, in a copy of the data file neither. Rows are deleted as a repair
    deletes damaged ones. Where a kill left some behind, running it again deletes them.

    Args:
        settings: where the store is, and its master key.
        tenant: whose keys are destroyed.
        progress: called with the name of each sub-database before it is walked.
        with_sums: also delete the hourly sums of what it used and cost, which have the store's own key.

    Raises:
        NotFoundError: the tenant has no key, and nothing of it is left.
        StoreUnusableError: encryption is off, a server has the store, rows may be in clear, or the disk refuses.
    """
    with _locked(settings):
        master_keys = encryption.master_keys(settings.encryption)
        env, _ = opening.open_environment(settings, readonly=True, master_keys=master_keys)
        env.close()
        ring = _ring(settings, master_keys)
        if ring.rows_in_clear:
            raise StoreUnusableError(
                f"the store at {settings.path} may hold rows in clear, which no key erases.",
                hint="Run `semcache store encrypt` first.",
            )
        keys = ring.destroy(tenant)
        _sync(ring, settings.path)
        report = checking.repair_locked(settings, progress)
        sums = _delete_sums(settings, tenant) if with_sums else 0
        if not (keys or report.repaired or sums):
            raise NotFoundError(f"the store holds nothing of the tenant {tenant!r}.")
        return keys


@contextmanager
def _locked(settings: StoreSettings) -> Iterator[None]:
    if not settings.encryption.enabled:
        raise StoreUnusableError(
            "encryption is off: there is no master key.", hint="Name its source in store.encryption.key."
        )
    with opening.locked(settings):
        yield


def _ring(settings: StoreSettings, master_keys: Sequence[MasterKey]) -> KeyRing:
    if not (settings.path / KEY_FILE).exists():
        raise StoreUnusableError(
            f"the store at {settings.path} has no key file: none of its rows is encrypted.",
            hint="Run `semcache store encrypt` first.",
        )
    return KeyRing(settings.path, master_keys, readonly=False)


def _sync(ring: KeyRing, folder: Path) -> None:
    try:
        ring.sync()
    except OSError as error:
        raise StoreUnusableError(
            f"the key file {folder / KEY_FILE} can't be written ({error.strerror}).",
            hint="Free disk space. The old file is as it was.",
        ) from error


def _encrypted(settings: StoreSettings, progress: Progress | None, *, new_keys: bool) -> int:
    folder = settings.path
    new = folder / _NEW_FILE
    rebuilding.remove(new)
    env, dbs = opening.open_environment(settings, readonly=False)
    try:
        ring = encrypted.ring_of(env)
        if new_keys:
            ring.renew()
        target = opening.new_file(new, settings.map_size_bytes)
        try:
            count = _copy(env, dbs, encrypted.attached(target, ring), progress)
            with target.begin(write=True) as txn:
                encrypted.record(txn, target.open_db(b"meta", txn), ring.current_key_ids)
            target.sync(True)  # noqa: FBT003 - LMDB's own argument: wait for the disk
        finally:
            target.close()
    finally:
        env.close()
    new.replace(folder / DATA_FILE)
    opening.sync_folder(folder)
    rebuilding.remove(new)
    ring.keep_current()
    ring.sync()
    return count


def _copy(source: lmdb.Environment, dbs: Databases, target: lmdb.Environment, progress: Progress | None) -> int:
    """Copy all rows in the order of their keys; return how many of them are encrypted."""
    count = 0
    with source.begin() as reading:
        tenants = _tenants_by_digest(reading, dbs)
    # The rows of `meta` come first, because each commit with a new data key changes two of them.
    for name in sorted(layout.SUB_DATABASES, key=lambda name: name != "meta"):
        if progress is not None:
            progress(name)
        db = target.open_db(name.encode())
        is_encrypted = name in encrypted.ENCRYPTED
        with source.begin() as reading, reading.cursor(db=getattr(dbs, name)) as cursor:
            more = cursor.first()
            while more:
                with target.begin(write=True) as txn:
                    for _ in range(_ROWS_PER_COMMIT):
                        key, row = cursor.key(), cursor.value()
                        if is_encrypted:
                            tenant = (
                                _tenant_of_rejection(source, tenants, key, encrypted.stored_value(cursor))
                                if name == "rejections"
                                else _tenant_of(reading, dbs, name, key, row)
                            )
                            row = encryption.stored_row(txn, tenant, key, row, db)
                            count += 1
                        txn.put(key, row, append=True, db=db)
                        more = cursor.next()
                        if not more:
                            break
    return count


def _tenants_by_digest(txn: lmdb.Transaction[bytes], dbs: Databases) -> dict[bytes, str]:
    """Return the tenants that the rollup names, by what the keys of their rejections begin with."""
    tenants = {damage.ledger_hour(key, row).tenant for key, row in txn.cursor(db=dbs.hours)}
    return {layout.rejections_prefix(tenant, b""): tenant for tenant in tenants}


def _tenant_of_rejection(
    source: lmdb.Environment, tenants: Mapping[bytes, str], key: bytes, stored: bytes
) -> str | None:
    """Return whose rejection it is, by the key of a row that is encrypted, else by the digest in the row's own key.

    A tenant that the rollup doesn't name can't be told by the digest: its rejections get the store's own key (None).
    """
    if encryption.is_encrypted(stored):
        return encrypted.ring_of(source).tenant_of(stored)
    return tenants.get(key[: -2 * layout.EXACT_KEY_BYTES])


def _tenant_of(txn: lmdb.Transaction[bytes], dbs: Databases, name: str, key: bytes, row: bytes) -> str | None:
    """Return whose row it is; None for the store's own. The store was checked, so that each row can be decoded."""
    if name == "hours":
        return None
    if name == "log":
        return damage.log_line(key, row).tenant
    if name == "served":
        return damage.served_hit(key, row).tenant
    key_of_entry = key[-8:]  # of the entry itself, or of a vector
    return damage.entry(key_of_entry, txn.get(key_of_entry, b"", db=dbs.entries)).tenant


def _delete_sums(settings: StoreSettings, tenant: str) -> int:
    """Delete the rollup rows of a tenant; return how many there were."""
    env, dbs = opening.open_environment(settings, readonly=False)
    try:
        with env.begin(write=True) as txn:
            keys = [key for key, row in txn.cursor(db=dbs.hours) if damage.ledger_hour(key, row).tenant == tenant]
            for key in keys:
                txn.delete(key, db=dbs.hours)
        return len(keys)
    finally:
        env.close()
