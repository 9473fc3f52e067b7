"""The secrets of partitions: from the settings, or from a file that the first start makes."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import structlog

from semcache.errors import StartError
from semcache.settings import Settings

_log = structlog.get_logger(__name__)
_FILE_NAME = "partition.secret"
_SHORTEST = 16
"""Characters. Shorter secrets could be guessed."""


def partition_secrets(settings: Settings) -> list[str]:
    """Return the current secret, then those that are kept for reading.

    Raises:
        StartError: the secret's file can't be read or made, or its secret is too short.
    """
    keys = settings.keys
    current = keys.secret.get_secret_value() if keys.secret else _from_file(settings)
    return [current, *(secret.get_secret_value() for secret in keys.previous_secrets)]


def _from_file(settings: Settings) -> str:
    path = settings.keys.secret_file or settings.store.path / _FILE_NAME
    try:
        if settings.keys.secret_file is None and not path.exists():
            _make(path)
        secret = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(
            f"The partition secret {path} can't be read or made: {error}.",
            hint="Set keys.secret or keys.secret_file, or make store.path writable.",
        ) from error
    if len(secret) < _SHORTEST:
        raise StartError(
            f"The partition secret in {path} has fewer than {_SHORTEST} characters.",
            hint="Restore the file: entries stored under another secret can't be found.",
        )
    return secret


def _make(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # It is written under another name and then renamed: a crash must not leave half a secret.
    part = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(secrets.token_hex(32) + "\n")
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    _log.info("server.secret_made", path=str(path), hint="Keep a copy: without it the stored entries can't be found.")
