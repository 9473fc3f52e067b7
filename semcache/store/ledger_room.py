"""Room for the ledger: entries are put only where its lines still find room beside them, on the disk and in the map."""

from __future__ import annotations

import errno
from dataclasses import fields

import lmdb

from semcache.disk import FileRoom
from semcache.disk.pages import PAGE_BYTES
from semcache.errors import FULL_ERRNOS, SemcacheError, StoreError, StoreFullError
from semcache.store.layout import Databases

_LOW_BYTES = 1 << 20
"""Room for the pages that some commits copy before they free any."""
_FULL_ERRORS = (lmdb.MapFullError, lmdb.DiskError, lmdb.TxnFullError)
_FULL_HINT = "Free disk space, or lower store.max_bytes below the disk's and store.map_size_bytes."


class LedgerRoom:
    """Keeps the end of the data file for the ledger. The writer's thread uses it.

    Room is what is allocated behind the last page in use, and the free pages within the file. The map's end bounds both
    in the same way as a full disk does.

    Attributes:
        left_bytes: the room that was left at the last look.
    """

    def __init__(self, file: FileRoom, wanted_bytes: int) -> None:
        """Allocate the room where the disk has it.

        Args:
            file: the data file's end.
            wanted_bytes: the room that entries leave to the ledger; on a small disk or map it is less.
        """
        self._file = file
        self._wanted_bytes = file.share_of(wanted_bytes)
        self._low_bytes = min(self._wanted_bytes, max(self._wanted_bytes // 8, _LOW_BYTES))
        used_bytes = file.end_bytes
        file.reach(used_bytes + self._wanted_bytes)
        self.left_bytes = file.end_bytes - used_bytes

    def beyond(self, txn: lmdb.Transaction[bytes], dbs: Databases, used_bytes: int, growth_bytes: int) -> int:
        """Return how many bytes entries may take; negative where the ledger's own room isn't whole.

        Args:
            txn: the write transaction, at its begin.
            dbs: all sub-databases.
            used_bytes: size of the file's pages in use, free ones among them.
            growth_bytes: what entries want to take.
        """
        if self._file.reach(used_bytes + self._wanted_bytes + growth_bytes):
            self.left_bytes = max(self._file.end_bytes - used_bytes, 0)
            return growth_bytes
        free_bytes = used_bytes - PAGE_BYTES * sum(
            stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
            for stat in (txn.stat(db=getattr(dbs, field.name)) for field in fields(dbs))
        )
        self.left_bytes = self._file.end_bytes - used_bytes + max(free_bytes, 0)
        return self.left_bytes - self._wanted_bytes

    @property
    def is_low(self) -> bool:
        """Whether so little is left that entries must make room for the ledger's lines."""
        return self.left_bytes < self._low_bytes and self._file.supported

    def translated(self, error: lmdb.Error) -> SemcacheError:
        """Return the error that callers get: StoreFullError for every kind of missing room, StoreError for the rest.

        Where the system writes a part of what it was given, LMDB says "Input/output error". Whether the disk is full is
        found by asking for a little more.
        """
        code = getattr(error, "code", None)
        if isinstance(error, _FULL_ERRORS) or code in FULL_ERRNOS or (code == errno.EIO and self._file.is_exhausted()):
            return full(
                f"{'its map is full' if isinstance(error, lmdb.MapFullError) else 'the disk is full'} ({error})"
            )
        return StoreError(
            f"the store's commit failed ({error}).",
            hint="The disk or the file may be damaged: look at the system's log, and run `semcache check`.",
        )

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def full(cause: str) -> StoreFullError:
    """Return the error of a write that found no room."""
    return StoreFullError(f"the store can't take more: {cause}.", hint=_FULL_HINT)
