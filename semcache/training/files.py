"""Write a file whole or not at all, and name a file by its bytes."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from semcache.errors import InvalidRequestError

_NEEDED_BYTES = 64 * 1024**2
"""Free bytes that a training needs: its state, twice while it is replaced, and the adapter."""


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file's content, whole or not at all, also if the machine stops meanwhile.

    Raises:
        OSError: it can't be written.
    """
    descriptor, fresh = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(fresh).chmod(0o644)
        Path(fresh).replace(path)
    finally:
        Path(fresh).unlink(missing_ok=True)


def sha256_of_file(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_output(path: Path, suffix: str) -> None:
    """Check, before the work, that the result can be written.

    Args:
        path: of the result.
        suffix: that it must have.

    Raises:
        InvalidRequestError: another suffix, the file is there, its folder isn't or can't be written, or the disk is
            nearly full.
    """
    folder = path.parent
    if path.suffix != suffix:
        raise InvalidRequestError(f"--out is {path}, and an adapter's file ends with {suffix}.", hint="Name it so.")
    if path.exists():
        raise InvalidRequestError(f"{path} is there already.", hint="Remove it, or name another file by --out.")
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
