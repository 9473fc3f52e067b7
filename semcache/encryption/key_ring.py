"""The data keys of one open store: they encrypt and decrypt rows, and the key file holds them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from semcache.encryption import key_file
from semcache.encryption.key_file import KEY_FILE, DataKey, KeyFileContent
from semcache.encryption.master_key import KEY_BYTES, MasterKey, aes_gcm
from semcache.encryption.rows import (
    DAMAGED_ROW,
    ERASED_ROW,
    KEY_ID_AT,
    KEY_ID_BYTES,
    MARK,
    NONCE_AT,
    NONCE_BYTES,
    is_encrypted,
    key_id_of,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAX_ROWS_PER_KEY = 1 << 32
"""Rows that one data key encrypts before it is replaced. Of so many random nonces of 96 bits, two are equal with a
probability below 2^-32 (NIST SP 800-38D, 8.3)."""
ROWS_PER_RESERVATION = 1 << 20
"""Rows that a process adds to a key's count at once, in the key file, before it encrypts them. A kill can't lower the
count so, and the file isn't written for each row."""


@dataclass(slots=True)
class _Current:
    """The current key of a tenant, and how many rows it may still encrypt before the next reservation."""

    cipher: AESGCM
    trailer: bytes
    rows_left: int


class KeyRing:
    """All data keys of a store. One thread encrypts; any thread decrypts.

    Nonces are random, and never counted: a counter would start again after an old copy of the key file, or the memory
    of a virtual machine, was restored. Then two rows would share a nonce, which reveals both.

    Attributes:
        changed: whether the key file on disk lacks something of this ring.
        revision: another number whenever keys come or go.
    """

    def __init__(
        self, folder: Path, master_keys: Sequence[MasterKey], *, readonly: bool, rows_in_clear: bool = False
    ) -> None:
        """Read the key file of a store, or begin one. `sync` writes what changed, and a first start's too.

        Args:
            folder: the store's folder.
            master_keys: the current one, then previous ones.
            readonly: another process may hold the store: the file isn't written, and is read again when it changed.
            rows_in_clear: whether the store may hold rows in clear, where there is no key file yet.

        Raises:
            StoreUnusableError: the file is damaged, or under another master key, or can't be read.
        """
        from cryptography.exceptions import InvalidTag

        self._invalid_tag = InvalidTag
        self._path = folder / KEY_FILE
        self._master_keys = master_keys
        self._readonly = readonly
        self._reserving = False
        self._stamp: tuple[int, ...] = ()
        self.revision = 0
        self._take(KeyFileContent([], [], rows_in_clear))
        self.changed = not self._read()

    def __repr__(self) -> str:
        content = self._content
        return f"KeyRing({len(content.keys)} keys, {len(content.destroyed)} destroyed)"

    @property
    def rows_in_clear(self) -> bool:
        """Whether the store may hold rows in clear. Where it may not, one is taken for damage."""
        return self._content.rows_in_clear

    @property
    def key_ids(self) -> set[bytes]:
        """The ids of all keys, and of those that were destroyed."""
        return {*self._ciphers, *self._content.destroyed}

    @property
    def current_key_ids(self) -> set[bytes]:
        """The ids of the keys that encrypt."""
        return {key.key_id for key in self._by_tenant().values()}

    def tenant_of(self, row: bytes) -> str | None:
        """Return whose key an encrypted row has; None for the store's own. The row's key must be there."""
        return self._tenants[key_id_of(row)]

    # -- rows

    def encrypt(self, tenant: str | None, place: bytes, row: bytes) -> bytes:
        """Return a row as it is stored.

        Args:
            tenant: whose key encrypts it; None: the store's own.
            place: the sub-database and the key of the row. It is authenticated, so that a moved row isn't read.
            row: the row in clear.
        """
        current = self._current.get(tenant)
        if current is None or not current.rows_left:
            current = self._reserved(tenant)
        current.rows_left -= 1
        nonce = os.urandom(NONCE_BYTES)
        return current.cipher.encrypt(nonce, row, place) + nonce + current.trailer

    def decrypt(self, place: bytes, row: bytes | memoryview) -> bytes | memoryview:
        """Return the row in clear of a stored row: `DAMAGED_ROW` or `ERASED_ROW` where it can't be read."""
        if not is_encrypted(row):
            return row if self._content.rows_in_clear else DAMAGED_ROW
        key_id = bytes(row[KEY_ID_AT:-1])
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            if not self._is_new(key_id):
                return ERASED_ROW if key_id in self._content.destroyed else DAMAGED_ROW
            cipher = self._ciphers[key_id]
        try:
            return cipher.decrypt(row[NONCE_AT:KEY_ID_AT], row[:NONCE_AT], place)
        except self._invalid_tag:
            return DAMAGED_ROW

    # -- keys

    def sync(self) -> None:
        """Return when the key file on disk has every key of this ring.

        Raises:
            OSError: the disk refuses. The next call tries again.
        """
        if self.changed:
            key_file.write(self._path, self._content, self._master_keys[0])
            self.changed = False

    def renew(self) -> None:
        """Give each tenant, and the store itself, a new current key; the old ones stay for reading."""
        for tenant in list(self._current):
            self._add(tenant)

    def keep_current(self) -> None:
        """Forget all keys but the current ones, and that rows in clear were allowed: no row needs either any more."""
        self._content.keys = list(self._by_tenant().values())
        self._content.rows_in_clear = False
        self._take(self._content)
        self.changed = True

    def destroy(self, tenant: str) -> int:
        """Forget all keys of a tenant and keep their ids; return how many keys it had."""
        keys = [key for key in self._content.keys if key.tenant == tenant]
        self._content.keys = [key for key in self._content.keys if key.tenant != tenant]
        self._content.destroyed += [key.key_id for key in keys]
        self._take(self._content)
        self.changed = True
        return len(keys)

    def _reserved(self, tenant: str | None) -> _Current:
        """Return the current key of a tenant with rows left; the first call reserves rows of all keys at once."""
        tenants = {tenant} if self._reserving else {tenant, *self._current}
        self._reserving = True
        keys = self._by_tenant()
        for name in tenants:
            key = keys.get(name)
            if key is None or key.rows + ROWS_PER_RESERVATION > MAX_ROWS_PER_KEY:
                key = self._add(name)
            key.rows += ROWS_PER_RESERVATION
            self._current[name].rows_left = ROWS_PER_RESERVATION
        self.changed = True
        return self._current[tenant]

    def _add(self, tenant: str | None) -> DataKey:
        known = self.key_ids
        key_id = next(key_id for key_id in iter(lambda: os.urandom(KEY_ID_BYTES), b"") if key_id not in known)
        key = DataKey(key_id, os.urandom(KEY_BYTES), tenant)
        self._content.keys.append(key)
        self._hold(key)
        self.revision += 1
        self.changed = True
        return key

    def _by_tenant(self) -> dict[str | None, DataKey]:
        """Return the current key of each tenant: its last one."""
        return {key.tenant: key for key in self._content.keys}

    def _take(self, content: KeyFileContent) -> None:
        self._content = content
        self.revision += 1
        self._ciphers: dict[bytes, AESGCM] = {}
        self._current: dict[str | None, _Current] = {}
        self._tenants: dict[bytes, str | None] = {}
        for key in content.keys:
            self._hold(key)

    def _hold(self, key: DataKey) -> None:
        cipher = self._ciphers[key.key_id] = aes_gcm(key.secret)
        self._tenants[key.key_id] = key.tenant
        self._current[key.tenant] = _Current(cipher, key.key_id + bytes([MARK]), 0)

    def _is_new(self, key_id: bytes) -> bool:
        """Return whether a server that runs beside this process has made a key since the file was read."""
        return self._readonly and self._stamp != self._stamped() and self._read() and key_id in self._ciphers

    def _read(self) -> bool:
        """Read the key file; return False when there is none, or it must be written under the current master key."""
        try:
            self._stamp = self._stamped()
            content, master = key_file.read(self._path, self._master_keys)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise key_file.unreadable(self._path, error) from error
        self._take(content)
        return self._readonly or master is self._master_keys[0]

    def _stamped(self) -> tuple[int, ...]:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return ()
        return (status.st_ino, status.st_mtime_ns, status.st_size)
