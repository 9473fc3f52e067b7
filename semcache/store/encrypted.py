"""Which rows of the store are encrypted, and whether a data file, its key file and the settings belong together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import lmdb

from semcache.encryption import KEY_FILE, EncryptedCursor, EncryptedEnvironment, KeyRing, MasterKey
from semcache.errors import StoreUnusableError
from semcache.store import layout, seals

ENCRYPTED = ("entries", "vectors", "served", "rejections", "log", "hours")
"""The sub-databases whose rows are encrypted: all rows that hold a text, a vector, a name or a sum of money.

The rows of `hours` have the store's own key and not their tenant's: what was spent stays known after an erasure. Keys
of rows aren't encrypted, and neither are rows that hold nothing but numbers and ids.
"""


def wrapped(
    env: lmdb.Environment,
    folder: Path,
    master_keys: Sequence[MasterKey],
    stored_format: bytes | None,
    *,
    readonly: bool,
) -> lmdb.Environment:
    """Return an environment that decrypts and encrypts; the given one where the store isn't encrypted.

    Args:
        env: the open environment.
        folder: the store's folder.
        master_keys: the current one, then previous ones; none: encryption is off.
        stored_format: the meta row of the format, or None in a new store.
        readonly: nothing is written, not even the key file.

    Raises:
        StoreUnusableError: the store is encrypted and no key is given, or the key file doesn't belong to it.
    """
    is_encrypted = stored_format is not None and int.from_bytes(stored_format, "big") >= layout.ENCRYPTED_FLAG
    key_file = folder / KEY_FILE
    if not master_keys:
        if is_encrypted or (stored_format is None and key_file.exists()):
            raise StoreUnusableError(
                f"the store at {folder} is encrypted.", hint="Name its master key in store.encryption.key."
            )
        return env
    if is_encrypted and not key_file.exists():
        raise StoreUnusableError(
            f"the store at {folder} is encrypted and its key file {KEY_FILE} is missing.",
            hint="Restore the file from a backup; without it the store can't be read.",
        )
    ring = KeyRing(folder, master_keys, readonly=readonly, rows_in_clear=stored_format is not None)
    if stored_format is not None and not is_encrypted and not ring.rows_in_clear:
        raise StoreUnusableError(
            f"the store at {folder} isn't encrypted, and its key file {KEY_FILE} says that it is.",
            hint="Restore the data file that belongs to the key file; or move the key file away to serve this one.",
        )
    if stored_format is not None:
        with env.begin() as txn:
            _refuse_older_key_file(folder, ring, txn.get(layout.META_DATA_KEYS, db=env.open_db(b"meta", txn)))
    return attached(env, ring, readonly=readonly)


def attached(env: lmdb.Environment, ring: KeyRing, *, readonly: bool = False) -> lmdb.Environment:
    """Return an environment that encrypts and decrypts with the keys of a ring, as far as the store uses LMDB."""
    meta = env.open_db(b"meta", create=not readonly)

    return cast(
        "lmdb.Environment",
        EncryptedEnvironment(env, ring, ENCRYPTED, lambda txn, key_ids: record(txn, meta, key_ids)),
    )


def record(txn: lmdb.Transaction[bytes], meta: lmdb._Database, key_ids: set[bytes]) -> None:
    """Write that the store is encrypted, and the ids of the data keys without which it isn't opened."""
    number = int.from_bytes(txn.get(layout.META_FORMAT, db=meta) or b"", "big") or layout.STORE_FORMAT
    txn.put(layout.META_FORMAT, (number | layout.ENCRYPTED_FLAG).to_bytes(2, "big"), db=meta)
    names = json.dumps(sorted(key_id.hex() for key_id in key_ids)).encode()
    txn.put(layout.META_DATA_KEYS, seals.sealed_row(layout.META_DATA_KEYS, names), db=meta)


def ring_of(env: lmdb.Environment) -> KeyRing:
    """Return the keys of an environment that encrypts."""
    return cast("EncryptedEnvironment", env).ring


def stored_value(cursor: lmdb.Cursor[bytes]) -> bytes:
    """Return the row under a cursor of an environment that encrypts, as it is stored."""
    return bytes(cast("EncryptedCursor", cursor).stored_value())


def _refuse_older_key_file(folder: Path, ring: KeyRing, row: bytes | None) -> None:
    """Refuse a key file that lacks a key of the store: a repair would take that key's rows for damaged ones."""
    names = None if row is None else seals.payload_of(layout.META_DATA_KEYS, row, bare=False)
    recorded = set() if names is None else {bytes.fromhex(name) for name in json.loads(names)}
    missing = sorted(key_id.hex() for key_id in recorded - ring.key_ids)
    if missing:
        raise StoreUnusableError(
            f"the key file {folder / KEY_FILE} is older than the store: it lacks {len(missing)} of its data keys "
            f"({', '.join(missing[:3])}).",
            hint="Restore the newest copy of the key file.",
        )
