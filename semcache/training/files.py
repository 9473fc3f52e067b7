"""Check before a training that its result can be written, and name a file by its bytes."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from semcache.errors import InvalidRequestError
from semcache.training.card import is_card

_NEEDED_BYTES = 64 * 1024**2
"""Free bytes that a training needs: its state, twice while it is replaced, and the adapter."""


def sha256_of_file(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_output(path: Path, suffix: str) -> None:
    """Check, before the work, that the result can be written.

    Args:
        path: of the result.
        suffix: that it must have.

    Raises:
        InvalidRequestError: another suffix, the file is there, the card's name is taken by a page that is no card, the
            folder isn't there or can't be written, or the disk is nearly full.
    """
    folder = path.parent
    if path.suffix != suffix:
        raise InvalidRequestError(f"--out is {path}, and an adapter's file ends with {suffix}.", hint="Name it so.")
    if path.exists():
        raise InvalidRequestError(f"{path} is there already.", hint="Remove it, or name another file by --out.")
    card = path.with_suffix(".md")
    if card.exists() and not is_card(card):
        raise InvalidRequestError(
            f"{card} is there already and is no adapter's card, which would be written there.",
            hint="Rename it, or name another file by --out.",
        )
    if not folder.is_dir():
        raise InvalidRequestError(f"There is no folder {folder} for the adapter.", hint="Create it first.")
    try:
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
    except OSError as error:
        raise InvalidRequestError(
            f"The folder {folder} can't be written: {error.strerror or error}.", hint="Name another folder by --out."
        ) from error
    if free < _NEEDED_BYTES:
        raise InvalidRequestError(
            f"The disk of {folder} has {free / 1024**2:.0f} MiB free, and a training needs {_NEEDED_BYTES // 1024**2}.",
            hint="Free some, or name a folder on another disk by --out.",
        )
