"""The key file: all data keys of a store, encrypted as a whole under the master key.

It is a file of its own, because a key that was deleted from LMDB would stay in a free page. It is never changed in
place: a new file is written, synced and renamed, so that a crash leaves the old content or the new one.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from semcache.encryption.master_key import KEY_BYTES, MasterKey
from semcache.encryption.rows import KEY_ID_BYTES
from semcache.errors import StoreUnusableError

KEY_FILE = "tenant.keys"
FORMAT = 1
_LEAST_ROOM_BYTES = 1 << 16
"""Room that is kept for the next key file: that of some hundred tenants, or twice what there are."""
_RESTORE = "Restore the file from a backup; without it the encrypted rows are lost."


@dataclass(slots=True)
class DataKey:
    """A key that encrypts rows.

    Attributes:
        key_id: 4 random bytes, which each of its rows has.
        secret: the key itself.
        tenant: whose rows it encrypts; None for rows of the store itself.
        rows: how many rows it may have encrypted so far: an upper bound.
    """

    key_id: bytes
    secret: bytes
    tenant: str | None
    rows: int = 0


@dataclass(slots=True)
class KeyFileContent:
    """What a key file holds.

    Attributes:
        keys: all data keys, by age; the last one of a tenant is its current one.
        destroyed: the ids of the keys of erased tenants.
        rows_in_clear: whether the store may hold rows that aren't encrypted yet.
    """

    keys: list[DataKey]
    destroyed: list[bytes]
    rows_in_clear: bool


def read(path: Path, master_keys: Sequence[MasterKey]) -> tuple[KeyFileContent, MasterKey]:
    """Return the content of a key file, and the master key that it is encrypted under.

    Raises:
        StoreUnusableError: the file is damaged or of a newer format, or none of the keys is its master key.
        OSError: it can't be read.
    """
    raw = path.read_bytes()
    try:
        document = json.loads(raw)
        about = _about(document["format"], document["master_key_id"])
        encrypted = base64.b64decode(document["keys"], validate=True)
        whole = document["sha256"] == sha256(about + encrypted).hexdigest()
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(path) from error
    if not whole:
        raise _damaged(path)
    if document["format"] > FORMAT:
        raise StoreUnusableError(
            f"the key file {path} has format {document['format']}, and this semcache reads up to {FORMAT}.",
            hint="Start the newer semcache that wrote it.",
        )
    master = next((key for key in master_keys if key.key_id == document["master_key_id"]), None)
    if master is None:
        raise StoreUnusableError(
            f"the key file {path} is encrypted under another master key (key id {document['master_key_id']}).",
            hint="Give that key as store.encryption.key, or among store.encryption.previous_keys after a rotation.",
        )
    try:
        return _unpacked(json.loads(master.decrypt(encrypted, about))), master
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(path) from error


def write(path: Path, content: KeyFileContent, master: MasterKey) -> None:
    """Replace a key file; return when the new one is on disk.

    It is written over a file that was allocated before, or that a crash has left half written.

    Raises:
        OSError: the disk refuses. The old file is as it was.
    """
    about = _about(FORMAT, master.key_id)
    encrypted = master.encrypt(json.dumps(_packed(content)).encode(), about)
    document = {
        "format": FORMAT,
        "master_key_id": master.key_id,
        "keys": base64.b64encode(encrypted).decode(),
        "sha256": sha256(about + encrypted).hexdigest(),
    }
    raw = json.dumps(document, indent=1).encode() + b"\n"
    new = path.with_name(f"{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(raw)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    _keep_room(new, 2 * len(raw))


def _keep_room(new: Path, size_bytes: int) -> None:
    """Allocate the next key file where the system can, so that a new tenant's key finds room on a full disk."""
    with suppress(OSError, AttributeError):  # a full disk; a system without posix_fallocate
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, max(size_bytes, _LEAST_ROOM_BYTES))
        finally:
            os.close(descriptor)


def _about(version: int, master_key_id: str) -> bytes:
    """Return what is authenticated with the keys, and stands beside them in clear."""
    return f"semcache tenant keys, format {int(version)}, master key {master_key_id}".encode()


def _packed(content: KeyFileContent) -> dict[str, Any]:
    return {
        "keys": [[key.key_id.hex(), key.secret.hex(), key.tenant, key.rows] for key in content.keys],
        "destroyed": [key_id.hex() for key_id in content.destroyed],
        "rows_in_clear": content.rows_in_clear,
    }


def _unpacked(document: dict[str, Any]) -> KeyFileContent:
    keys = [
        DataKey(bytes.fromhex(key_id), bytes.fromhex(secret), tenant, rows)
        for key_id, secret, tenant, rows in document["keys"]
    ]
    if any(len(key.key_id) != KEY_ID_BYTES or len(key.secret) != KEY_BYTES for key in keys):
        raise ValueError("a key of another length")
    destroyed = [bytes.fromhex(key_id) for key_id in document["destroyed"]]
    return KeyFileContent(keys, destroyed, bool(document["rows_in_clear"]))


def unreadable(path: Path, error: OSError) -> StoreUnusableError:
    """Return the error that says why a key file can't be read."""
    return StoreUnusableError(f"the key file {path} can't be read ({error.strerror}).", hint=_RESTORE)


def _damaged(path: Path) -> StoreUnusableError:
    return StoreUnusableError(f"the key file {path} is damaged or was changed.", hint=_RESTORE, reason="STORE_DAMAGED")
