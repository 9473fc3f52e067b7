"""The master key: where it comes from, and how it encrypts the key file."""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import subprocess
from collections.abc import Sequence
from typing import TYPE_CHECKING

from semcache.errors import StoreUnusableError
from semcache.settings import EncryptionSettings, MasterKeySource

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
"""AES-256."""
COMMAND_TIMEOUT_S = 30.0
"""Seconds that the command may take: a key service answers within a few."""
_NONCE_BYTES = 12
_HOW = "A master key is 32 random bytes as base64 or hex; `openssl rand -base64 32` prints one."


class MasterKey:
    """A master key. It encrypts the key file and nothing else.

    Attributes:
        key_id: a name that doesn't reveal the key: 16 hex digits, which the key file holds in clear.
    """

    def __init__(self, secret: bytes) -> None:
        """Derive the name and the encrypting key, so that no key has two uses. `secret` has 32 bytes."""
        self.key_id = hmac.digest(secret, b"semcache master key id", "sha256").hex()[:16]
        self._cipher = aes_gcm(hmac.digest(secret, b"semcache key file", "sha256"))

    def __repr__(self) -> str:
        return f"MasterKey({self.key_id})"

    def encrypt(self, content: bytes, about: bytes) -> bytes:
        """Return nonce and ciphertext. The nonce is random: a key file is written far less than 2^32 times."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, content, about)

    def decrypt(self, content: bytes, about: bytes) -> bytes:
        """Return what was encrypted.

        Raises:
            ValueError: the content or what it is about was changed.
        """
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(content[:_NONCE_BYTES], content[_NONCE_BYTES:], about)
        except InvalidTag as error:
            raise ValueError("it doesn't authenticate") from error


def aes_gcm(key: bytes) -> AESGCM:
    """Return the cipher of a key.

    Raises:
        StoreUnusableError: the package `cryptography` isn't installed.
    """
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        raise StoreUnusableError(
            "store.encryption needs the package cryptography.",
            hint="Install it: `pip install semcache-server[encryption]`.",
        ) from error
    return AESGCM(key)


def master_keys(settings: EncryptionSettings) -> list[MasterKey]:
    """Return the current master key, then the previous ones; none where encryption is off.

    Raises:
        StoreUnusableError: a source can't be read or holds no key, or the package `cryptography` is missing.
    """
    if not settings.enabled:
        return []
    sources: Sequence[MasterKeySource] = (settings.key, *settings.previous_keys)
    return [MasterKey(_secret(source)) for source in sources]


def _secret(source: MasterKeySource) -> bytes:
    if source.file is not None:
        where = f"the file {source.file}"
        try:
            text = source.file.read_text("ascii")
        except OSError as error:
            raise _no_key(where, f"can't be read ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise _no_key(where, "holds no master key") from error
    elif source.environment:
        where = f"the environment variable {source.environment}"
        if source.environment not in os.environ:
            raise _no_key(where, "isn't set")
        text = os.environ[source.environment]
    else:
        where = f"the command {source.command[0]}"
        text = _printed(source.command, where)
    secret = _decoded(text.strip())
    if secret is None:
        raise _no_key(where, "holds no master key")
    return secret


def _printed(command: Sequence[str], where: str) -> str:
    """Return what a command prints. Its errors go where semcache's own go."""
    try:
        done = subprocess.run(  # noqa: S603 - the operator's own command, without a shell
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=COMMAND_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise _no_key(where, f"took longer than {COMMAND_TIMEOUT_S:.0f} s") from error
    except OSError as error:
        raise _no_key(where, f"can't be run ({error.strerror})") from error
    if done.returncode != 0:
        raise _no_key(where, f"ended with exit code {done.returncode}")
    return done.stdout.decode("ascii", "replace")


def _decoded(text: str) -> bytes | None:
    """Return the 32 bytes that a text stands for as hex or base64, of either alphabet; None for another text."""
    try:
        if len(text) == 2 * KEY_BYTES:
            return bytes.fromhex(text)
        padded = text + "=" * (-len(text) % 4)
        key = base64.b64decode(padded.translate(str.maketrans("-_", "+/")), validate=True)
    except (ValueError, binascii.Error):
        return None
    return key if len(key) == KEY_BYTES else None


def _no_key(where: str, what: str) -> StoreUnusableError:
    return StoreUnusableError(f"there is no master key for the store: {where} {what}.", hint=_HOW)
