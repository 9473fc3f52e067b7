"""Room at the end of a file, allocated on the disk before anything is written there.

A full disk, a quota or a limit on the size of files then refuses the allocation, and no write into what is allocated.
Nobody else can take it, unlike the room that a separate file would give back to the whole disk.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import structlog

from semcache.errors import FULL_ERRNOS

_log = structlog.get_logger(__name__)

_UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
_LARGEST_SHARE = 8
"""The room that is kept free takes at most an eighth of the file system."""
_SMALLEST_STEP_BYTES = 64 * 1024
"""The least that is worth a call to the system."""


class FileRoom:
    """The end of one growing file. One thread uses it; `close` may be called by another one afterwards.

    Attributes:
        end_bytes: up to where the file is allocated.
        supported: whether this file system can allocate ahead; where it can't, nothing is refused here.
    """

    def __init__(self, path: Path, used_bytes: int, limit_bytes: int) -> None:
        """Look after a file that exists.

        Args:
            path: the file.
            used_bytes: how much of it is written.
            limit_bytes: the size that it may never pass.

        Raises:
            OSError: the file can't be opened for writing.
        """
        self._path = path
        self._limit_bytes = limit_bytes
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self.end_bytes = used_bytes
        self.supported = True

    def share_of(self, wanted_bytes: int) -> int:
        """Return `wanted_bytes`, or an eighth of the file system or of the file's limit where that is less."""
        disk = os.fstatvfs(self._descriptor)
        return min(wanted_bytes, disk.f_blocks * disk.f_frsize // _LARGEST_SHARE, self._limit_bytes // _LARGEST_SHARE)

    def reach(self, end_bytes: int) -> bool:
        """Allocate the file up to `end_bytes`, and return whether there is room so far.

        Where there isn't, as much as there is gets allocated. A disk that fails in another way isn't full: the write
        that follows tells what is wrong with it.
        """
        if end_bytes <= self.end_bytes or not self.supported:
            return True
        within_bytes = min(end_bytes, self._limit_bytes)
        step_bytes = within_bytes - self.end_bytes
        while step_bytes > 0:
            try:
                os.posix_fallocate(self._descriptor, self.end_bytes, step_bytes)
            except OSError as error:
                if error.errno not in FULL_ERRNOS:
                    self._note(error)
                    return True
                step_bytes = step_bytes // 2 if step_bytes > _SMALLEST_STEP_BYTES else 0
            else:
                self.end_bytes += step_bytes
                step_bytes = min(step_bytes, within_bytes - self.end_bytes)
        return self.end_bytes >= end_bytes

    def is_exhausted(self) -> bool:
        """Return whether the disk refuses to let the file grow by a little."""
        return not self.reach(self.end_bytes + _SMALLEST_STEP_BYTES)

    def _note(self, error: OSError) -> None:
        """Note that this file system can't allocate ahead, if that is what the error says."""
        if error.errno in _UNSUPPORTED:
            self.supported = False
            effect = "on a full disk the ledger has no room of its own"
            _log.warning("disk.room_not_kept", path=str(self._path), error=str(error), effect=effect)

    def close(self) -> None:
        """Let go of the file; what is allocated stays."""
        os.close(self._descriptor)
