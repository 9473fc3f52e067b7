"""Open the environment, or say in one sentence why it can't be: the lock, the format, the secret, the disk."""

from __future__ import annotations

import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import lmdb

from semcache import encryption
from semcache.disk import Environment, inspecting, narrow
from semcache.encryption import KEY_FILE, MasterKey
from semcache.errors import StoreError, StoreUnusableError
from semcache.settings import StoreSettings
from semcache.store import embedders, encrypted, layout, seals
from semcache.store.damage import Damage
from semcache.store.damage import entry as entry_of_row
from semcache.store.embedders import EmbedderRun, Runs
from semcache.store.layout import Counters, Databases

LOCK_FILE = "semcache.lock"
DATA_FILE = "data.mdb"
_OWN_FILES = (LOCK_FILE, DATA_FILE, "data.rebuilt", "data.encrypted", "lock.mdb", "partition.", KEY_FILE)
"""How the names of semcache's own files in its folder begin."""
_MAX_READERS = 512
"""Threads that may read at once: the event loop, the index's workers, a `check` beside them."""


class OwnerLock:
    """An exclusive lock on a store's folder. Its file holds the process id; the system frees the lock at a crash."""

    def __init__(self, folder: Path) -> None:
        """Take the lock.

        Raises:
            StoreUnusableError: another process holds it.
            OSError: the file can't be made.
        """
        self._descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._descriptor)
            raise StoreUnusableError(
                f"the store at {folder} is in use by process {holder}.",
                hint="Stop that process, or name another store.path.",
                metadata={"pid": holder},
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Free the lock for another process."""
        os.close(self._descriptor)


def narrow_modes(path: Path) -> None:
    """Take the access of group and others from the files of the store's folder that are semcache's own.

    Raises:
        StoreUnusableError: the folder can't be read.
    """
    try:
        narrow(path, lambda name: name.startswith(_OWN_FILES))
    except OSError as error:
        raise _unusable(path, error) from error


def make_folder(path: Path) -> None:
    """Create the store's folder, readable by its owner alone: prompts and their vectors are personal data.

    Raises:
        StoreUnusableError: it can't be made, or isn't a folder.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(path, error) from error


def lock_folder(path: Path) -> OwnerLock:
    """Take and return the lock on the store's folder.

    Raises:
        StoreUnusableError: another process holds it, or the folder can't be written.
    """
    try:
        return OwnerLock(path)
    except OSError as error:
        raise _unusable(path, error) from error


def check_pages(folder: Path) -> None:
    """Check the headers of all pages of a store before it is opened; do nothing where there is none.

    Raises:
        StoreUnusableError: a page is damaged, or the file can't be read.
    """
    try:
        inspecting.check_pages(folder / DATA_FILE)
    except OSError as error:
        raise _unusable(folder, error) from error


def open_environment(
    settings: StoreSettings, *, readonly: bool, master_keys: Sequence[MasterKey] | None = None
) -> tuple[lmdb.Environment, Databases]:
    """Check the pages of a store, then return what `open_checked` returns, with the same arguments and errors."""
    check_pages(settings.path)
    return open_checked(settings, readonly=readonly, master_keys=master_keys)


def open_checked(
    settings: StoreSettings, *, readonly: bool, master_keys: Sequence[MasterKey] | None = None
) -> tuple[lmdb.Environment, Databases]:
    """Return the environment and its sub-databases; make a missing store unless `readonly`.

    The caller has had the pages of an existing file checked: LMDB trusts them, and damaged ones may end the process.
    Commits are synced. The map isn't writable, because a full disk would then end the process with SIGBUS. The map's
    size never changes. With `encryption`, the environment encrypts and decrypts rows.

    Args:
        settings: where the store is, its map's size, and the sources of its master keys.
        readonly: whether nothing is written.
        master_keys: what the sources have given before; None: they are asked.

    Raises:
        StoreUnusableError: it isn't a store that this semcache reads, a key of it is missing, or the disk refuses.
    """
    path, map_size_bytes = settings.path, settings.map_size_bytes
    if master_keys is None:
        master_keys = encryption.master_keys(settings.encryption)
    if readonly and not (path / DATA_FILE).is_file():
        raise StoreUnusableError(
            f"there is no store at {path}.", hint="Name the folder that store.path names, or start the server once."
        )
    try:
        if not (path / DATA_FILE).exists():
            _make_data_file(path, map_size_bytes)
        inspecting.inspect(path / DATA_FILE)
        env = lmdb.Environment(str(path), subdir=True, readonly=readonly, **_options(map_size_bytes))
    except (lmdb.Error, OSError) as error:
        raise _unusable(path, error) from error
    try:
        # The format is checked before sub-databases are made: a store that can't be read stays as it is.
        with env.begin() as txn:
            stored_format = _stored_format(env, txn)
        check_format(stored_format, path)
        env = encrypted.wrapped(env, path, master_keys, stored_format, readonly=readonly)
        return env, Databases.open(env, create=not readonly)
    except lmdb.NotFoundError:
        env.close()
        raise StoreUnusableError(
            f"the files at {path} are no store of semcache.", hint="Name the folder that store.path names."
        ) from None
    except (lmdb.Error, OSError) as error:
        env.close()
        raise _unusable(path, error) from error
    except StoreUnusableError:
        env.close()
        raise


def _options(map_size_bytes: int) -> dict[str, Any]:
    return {
        "map_size": map_size_bytes,
        "mode": 0o600,
        "max_readers": _MAX_READERS,
        "max_dbs": len(layout.SUB_DATABASES),
        "lib_version": layout.LIB_VERSION,
        # The read-ahead of the system stays on: a partition is read in one pass when it is first searched.
    }


def new_file(path: Path, map_size_bytes: int) -> lmdb.Environment:
    """Return the environment of a new data file; its lock file lies beside it."""
    return lmdb.Environment(str(path), subdir=False, **_options(map_size_bytes))


def _make_data_file(folder: Path, map_size_bytes: int) -> None:
    """Make an empty data file by one rename, so that a file of no bytes is always damage and never a killed start."""
    path = folder / f"{DATA_FILE}.new"
    path.unlink(missing_ok=True)
    new_file(path, map_size_bytes).close()
    path.replace(folder / DATA_FILE)
    path.with_name(f"{path.name}-lock").unlink(missing_ok=True)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Return when the names of a folder's files are on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _stored_format(env: lmdb.Environment, txn: lmdb.Transaction[bytes]) -> bytes | None:
    try:
        return txn.get(layout.META_FORMAT, db=env.open_db(b"meta", txn, create=False))
    except lmdb.NotFoundError:
        return None


def check_format(row: bytes | None, path: Path) -> None:
    """Refuse a store that a newer semcache wrote.

    Raises:
        StoreUnusableError: the store's format isn't one that this semcache reads.
    """
    if row is None:
        return
    version = int.from_bytes(row, "big") & ~layout.ENCRYPTED_FLAG
    if version > layout.STORE_FORMAT:
        raise StoreUnusableError(
            f"the store at {path} has format {version}, and this semcache reads up to {layout.STORE_FORMAT}.",
            hint="Start the newer semcache that wrote it, or name an empty store.path.",
        )


def settle_meta(
    file: Environment[Databases],
    path: Path,
    secret_key_ids: Sequence[str],
    embedder_fingerprint: str,
    *,
    damage: Damage,
) -> Counters:
    """Check and record the store's owner, in one commit; return its counters. An older format is brought up to date.

    Raises:
        StoreUnusableError: a newer format, none of the secrets, or a disk that refuses.
    """
    try:
        with file.writing() as (txn, dbs, _):
            check_format(txn.get(layout.META_FORMAT, db=dbs.meta), path)
            known = _names(txn, dbs, layout.META_SECRETS, damage)
            if known and known.isdisjoint(secret_key_ids):
                raise StoreUnusableError(
                    f"the store at {path} was written under another secret (key id {', '.join(sorted(known))}).",
                    hint="Give that secret as keys.secret, or among keys.previous_secrets when it was replaced.",
                )
            txn.put(layout.META_FORMAT, layout.STORE_FORMAT.to_bytes(2, "big"), db=dbs.meta)
            _add_name(txn, dbs, layout.META_SECRETS, known, secret_key_ids[0] if secret_key_ids else "")
            counters = _counters(txn, dbs, damage)
            runs = _embedder_runs(txn, dbs, counters.next_entry_id, damage)
            runs = embedders.continued(runs, counters.next_entry_id, embedder_fingerprint)
            txn.put(layout.META_RUNS, embedders.pack_runs(runs), db=dbs.meta)
            txn.delete(layout.META_FINGERPRINTS, db=dbs.meta)
            return replace(counters, embedder_runs=runs)
    except (lmdb.Error, OSError) as error:
        raise _unusable(path, error) from error


def _embedder_runs(txn: lmdb.Transaction[bytes], dbs: Databases, next_id: int, damage: Damage) -> Runs:
    """Return the recorded runs; where there are none, or they can't be read, they are counted.

    All vectors are one run then, but for those of entries that name their embedder, each of which has a run of its own
    behind all ids. This walks over all entries with a vector.
    """
    row = txn.get(layout.META_RUNS, db=dbs.meta)
    runs = None if row is None else embedders.unpack_runs(row)
    if runs is not None:
        return runs
    if row is not None:
        damage.note(["meta/embedder_runs"], "it isn't known which embedder made the vectors.")
    # Format 1 has the names of all embedders so far: they say who made the vectors only if there is a single name.
    names = _names(txn, dbs, layout.META_FINGERPRINTS, damage)
    counts: Counter[str] = Counter()
    with damage.skipped("the embedders of entries"), txn.cursor(db=dbs.vectors) as cursor:
        for key in cursor.iternext(values=False):
            counts[_named_embedder(txn, dbs, key[-8:])] += 1
    unnamed = EmbedderRun(1, names.pop() if len(names) == 1 else "", counts.pop("", 0))
    return (unnamed, *(EmbedderRun(next_id, name, vectors) for name, vectors in sorted(counts.items())))


def _named_embedder(txn: lmdb.Transaction[bytes], dbs: Databases, key: bytes) -> str:
    """Return the embedder that an entry names by itself; empty where it names none or can't be read."""
    row = txn.get(key, db=dbs.entries)
    try:
        return "" if row is None else entry_of_row(key, row).embedder
    except StoreError:
        return ""


def _counters(txn: lmdb.Transaction[bytes], dbs: Databases, damage: Damage) -> Counters:
    row = txn.get(layout.META_COUNTERS, db=dbs.meta)
    counters = Counters.unpack(row)
    if counters is None:
        damage.note(["meta/counters"], "sizes are estimated until a repair counts them.")
        counters = _estimated(txn, dbs)
    with txn.cursor(db=dbs.entries) as cursor:
        last_id = layout.unpack_id(cursor.key()) if cursor.last() else 0
    # Even when the counters are lost, no id is given twice.
    return Counters(
        max(counters.next_entry_id, last_id + 1), counters.entries, counters.entry_bytes, counters.history_bytes
    )


@contextmanager
def locked(settings: StoreSettings) -> Iterator[None]:
    """Hold the lock of a store that exists, within the block.

    Raises:
        StoreUnusableError: there is none, or a server has it.
    """
    if not (settings.path / DATA_FILE).is_file():
        open_environment(settings, readonly=True)  # raises, naming the path
    lock = lock_folder(settings.path)
    try:
        yield
    finally:
        lock.release()


def _estimated(txn: lmdb.Transaction[bytes], dbs: Databases) -> Counters:
    """Return counters by the pages of the sub-databases: too high by what their pages leave free."""

    def page_bytes(*databases: lmdb._Database) -> int:
        stats = [txn.stat(db=database) for database in databases]
        return sum((stat["leaf_pages"] + stat["overflow_pages"]) * stat["psize"] for stat in stats)

    return Counters(
        entries=txn.stat(db=dbs.entries)["entries"],
        entry_bytes=page_bytes(dbs.entries, dbs.exact, dbs.vectors, dbs.tags),
        history_bytes=page_bytes(*[db for db in (dbs.log, dbs.served, dbs.rejections) if db is not None]),
    )


def stored_names(txn: lmdb.Transaction[bytes], dbs: Databases, key: bytes) -> set[str] | None:
    """Return the names of a meta row: none where there is no such row, and None when it is damaged."""
    row = txn.get(key, db=dbs.meta)
    if row is None:
        return set()
    payload = seals.payload_of(key, row, bare=row.endswith(b"]"))
    try:
        return None if payload is None else set(json.loads(payload))
    except (ValueError, TypeError):
        return None


def _names(txn: lmdb.Transaction[bytes], dbs: Databases, key: bytes, damage: Damage) -> set[str]:
    names = stored_names(txn, dbs, key)
    if names is None:
        damage.note([f"meta/{key.decode()}"], "it is written anew.")
    return names or set()


def _add_name(txn: lmdb.Transaction[bytes], dbs: Databases, key: bytes, names: set[str], name: str) -> None:
    if name and name not in names:
        txn.put(key, seals.sealed_row(key, json.dumps(sorted({*names, name})).encode()), db=dbs.meta)


def _unusable(path: Path, error: Exception) -> StoreUnusableError:
    """Return the error that says in one sentence what the system or LMDB refused."""
    if isinstance(error, lmdb.VersionMismatchError | lmdb.InvalidError | lmdb.CorruptedError | lmdb.PageNotFoundError):
        return StoreUnusableError(
            f"the files at {path} are no store that this semcache reads ({error}).",
            hint="Name another store.path, or restore the folder from a backup.",
        )
    if isinstance(error, lmdb.MemoryError):
        return StoreUnusableError(
            f"the system gives no address space for the store at {path} ({error}).",
            hint="Lower store.map_size_bytes, or raise the limit on virtual memory (ulimit -v).",
        )
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return StoreUnusableError(
        f"the store at {path} can't be opened ({reason}).",
        hint="store.path must be a folder that this user may write, on a disk that isn't full.",
    )
