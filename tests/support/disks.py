"""A file system of a test's own, small enough to be filled."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def mounted_disk(path: Path, size_bytes: int) -> Iterator[Path]:
    """Mount a tmpfs of so many bytes at `path` for as long as the block runs.

    Raises:
        PermissionError: none may be mounted here.
    """
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        raise PermissionError("mounting a tmpfs needs root and the program mount")
    path.mkdir()
    done = subprocess.run([mount, "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", path], capture_output=True)
    if done.returncode != 0:
        raise PermissionError(f"no tmpfs may be mounted here: {done.stderr.decode().strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)
