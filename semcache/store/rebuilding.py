"""The rebuild of a store whose pages are damaged: its readable rows go into a new file, and the old file is kept."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import lmdb

from semcache.disk import inspecting, pages
from semcache.errors import StoreUnusableError
from semcache.store import layout, opening
from semcache.store.opening import DATA_FILE

_NEW_FILE = "data.rebuilt"
_ROWS_PER_COMMIT = 4096


def rebuild(folder: Path, map_size_bytes: int, progress: Callable[[str], None] | None = None) -> Path:
    """Copy the rows that can be read into a new data file; return where the old one is kept, beside it.

    The caller holds the folder's lock. Rows are as of the newest commit that can be read; whether they are whole is for
    the check that follows. The new file takes its name by one rename, after it is on disk.

    Raises:
        StoreUnusableError: nothing can be read, a newer semcache wrote the store, or the disk refuses.
    """
    old, new = folder / DATA_FILE, folder / _NEW_FILE
    try:
        remove(new)
        with old.open("rb") as file:
            env = opening.new_file(new, map_size_bytes)
            try:
                _copy(file, env, folder, progress)
                env.sync(True)  # noqa: FBT003 - LMDB's own argument: wait for the disk
            finally:
                env.close()
        kept = _free_name(folder)
        os.link(old, kept)
        new.replace(old)
        opening.sync_folder(folder)
        remove(new)
    except (lmdb.Error, OSError) as error:
        raise StoreUnusableError(
            f"the store at {folder} can't be rebuilt ({error}).",
            hint="The disk needs room for a second data file. The old file is as it was.",
        ) from error
    return kept


def _copy(file: BinaryIO, env: lmdb.Environment, folder: Path, progress: Callable[[str], None] | None) -> None:
    trees = pages.sub_databases(file)
    if not trees:
        raise inspecting.nothing_readable(folder / DATA_FILE, "has no row that can be read")
    meta = dict(pages.rows(file, trees["meta"])) if "meta" in trees else {}
    opening.check_format(meta.get(layout.META_FORMAT), folder)
    for name in layout.SUB_DATABASES:
        if progress is not None:
            progress(name)
        db = env.open_db(name.encode())
        rows = pages.rows(file, trees[name]) if name in trees else iter(())
        more = True
        while more:
            with env.begin(write=True) as txn:
                for _ in range(_ROWS_PER_COMMIT):
                    row = next(rows, None)
                    if row is None:
                        more = False
                        break
                    if 0 < len(row[0]) <= layout.MAX_KEY_BYTES:
                        txn.put(*row, db=db)


def _free_name(folder: Path) -> Path:
    """Return a name for the old file that no file has, with the UTC time."""
    name = f"{DATA_FILE}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    names = (folder / (name + suffix) for suffix in ("", *(f"-{number}" for number in range(2, 1000))))
    return next(path for path in names if not path.exists())


def remove(new: Path) -> None:
    """Remove a data file that has not taken its name, with its lock file; do nothing where there is none."""
    for path in (new, new.with_name(new.name + "-lock")):
        with suppress(FileNotFoundError):
            path.unlink()
