"""Whether a data file may be mapped: its meta pages, its length and its pages are checked before LMDB trusts them."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from lmdb.verify import VerifyError, verify

from semcache.disk.pages import PAGE_BYTES, MetaPage, meta_pages
from semcache.disk.trees import first_damage
from semcache.errors import StoreUnusableError

_ATTEMPTS = 3
"""Walks beside a server that commits meanwhile."""


def inspect(path: Path) -> None:
    """Hold a data file against its meta pages before it is mapped. It takes microseconds.

    Raises:
        StoreUnusableError: the file is empty, foreign, damaged at its start, or shorter than its meta pages say.
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        size_bytes = os.fstat(file.fileno()).st_size
        metas = meta_pages(file)
        if size_bytes == 0 or not metas:
            raise nothing_readable(path, "is empty" if size_bytes == 0 else "has no page that tells what is where")
        problem = _problem_of(metas)
        if problem:
            raise _unusable(path, f"has {problem}")
        needed_bytes = (metas[0].last_page + 1) * PAGE_BYTES
        # The last pages may be free and never written. Only then is the file shorter without being damaged.
        if size_bytes < needed_bytes and first_damage(file, metas[0]):
            raise _unusable(path, f"has {size_bytes:,} of its {needed_bytes:,} bytes")


def check_pages(path: Path) -> None:
    """Check the headers of all pages in use before a file is mapped; do nothing where there is no file.

    It takes about a second for each GB (`benchmarks/README.md`). While a server writes the file, pages change under the
    walk, so that its word counts only when no commit came between. After some attempts the file is taken as whole: the
    server that writes it checked it at its own start.

    Raises:
        StoreUnusableError: a page is damaged, or the meta pages are.
        OSError: the file can't be read.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for _ in range(_ATTEMPTS):
            metas = meta_pages(file)
            try:
                inspect(path)
            except StoreUnusableError:
                if meta_pages(file) == metas:
                    raise
                continue  # A commit came between the reading of the two meta pages.
            damage = first_damage(file, metas[0]) if metas else None
            if damage is None:
                return
            if meta_pages(file) == metas:
                raise _unusable(path, f"has a damaged page ({damage})")


def problems(path: Path) -> list[str]:
    """Return what is wrong with the pages of a file that no process writes: each page is read once, without a map."""
    with path.open("rb") as file:
        metas = meta_pages(file)
        problem = _problem_of(metas)
        if problem:
            return [problem]  # `verify` looks closely at the one that counts alone.
        try:
            found = list(verify(str(path), subdir=False))  # type: ignore[no-untyped-call]
        except VerifyError as error:
            return [str(error)]
        except (struct.error, IndexError, ValueError, MemoryError, RecursionError) as error:
            return [f"a page can't be read ({type(error).__name__}: {error})"]
        damage = None if found else first_damage(file, metas[0])
        return found if damage is None else [damage]


def _problem_of(metas: list[MetaPage]) -> str | None:
    """Return what is wrong with the meta pages; each commit writes one of them, and its number follows the other's."""
    if len(metas) < 2:
        return "a damaged meta page"
    later, earlier = metas[0].transaction, metas[1].transaction
    if later != earlier + 1 and later:
        return f"meta pages of the commits {later} and {earlier}, which don't follow each other"
    return None


def nothing_readable(path: Path, what: str) -> StoreUnusableError:
    """Return the error of a data file of which no row can be rebuilt."""
    return StoreUnusableError(
        f"the files at {path.parent} are no store that this semcache reads: {path.name} {what}.",
        hint="Name another store.path, restore the folder from a backup, or move that file away to start anew.",
        reason="STORE_DAMAGED",
    )


def _unusable(path: Path, what: str) -> StoreUnusableError:
    return StoreUnusableError(
        f"the store at {path.parent} is damaged: {path.name} {what}.",
        hint="`semcache check --repair` rebuilds what can be read and keeps the old file; or restore a backup.",
        reason="STORE_DAMAGED",
    )
