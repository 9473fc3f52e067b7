"""The pages of LMDB's data file, read without mapping it: the map of a short or damaged file would kill the process.

The layout is that of LMDB 0.9 on 64 bits, in host order. A page begins with `pgno 8 | pad 2 | flags 2 | lower 2 |
upper 2`. The first two pages are meta pages: `magic 4 | version 4 | address 8 | map size 8 | two sub-databases of 48 |
last page 8 | transaction 8`. Commit n writes meta page n modulo 2; the larger transaction counts.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lmdb.verify import VerifyError, verify

from semcache.errors import StoreUnusableError

PAGE_BYTES = 4096
_HEADER = struct.Struct("=QHHHH")
_META = struct.Struct("=IIQQ48s48sQQ")
_TREE = struct.Struct("=IHHQQQQQ")
"""page size (of the first sub-database) or pad, flags, depth, pages of three kinds, entries, root"""
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_BRANCH, _LEAF = 1, 2
_BIG_VALUE, _SUB_DATABASE = 1, 2
_NODE = struct.Struct("=HHHH")
"""size of the value (low, high) or page of the child (low, middle, high = flags), flags, size of the key"""
_NO_ROOT = (1 << 64) - 1
"""The root of an empty tree."""
_MOST_PAGES = 1 << 48
"""A larger page number can't be one: a branch has 48 bits for it."""
_MOST_SLOTS = (PAGE_BYTES - _HEADER.size) // 2

Row = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Tree:
    """Where a sub-database begins, and how many pages lie above each other in it; an empty one has no root."""

    root: int
    depth: int

    @classmethod
    def unpack(cls, record: bytes) -> Tree:
        """Return the tree of a record of `_TREE`."""
        _, _, depth, _, _, _, _, root = _TREE.unpack(record)
        return cls(root, depth)


@dataclass(frozen=True, slots=True)
class MetaPage:
    """What a whole meta page says: the last page in use, the transaction, and the tree of sub-databases."""

    last_page: int
    transaction: int
    main: Tree


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
    if len(metas) < 2:
        raise _unusable(path, "has a damaged meta page")
    needed_bytes = (metas[0].last_page + 1) * PAGE_BYTES
    # The last pages may be free and never written. Only then is the file shorter without being damaged.
    if size_bytes < needed_bytes and problems(path):
        raise _unusable(path, f"has {size_bytes:,} of its {needed_bytes:,} bytes")


def problems(path: Path) -> list[str]:
    """Return what is wrong with the pages of a file that no process writes: each page is read once, without a map."""
    with path.open("rb") as file:
        if len(meta_pages(file)) < 2:
            return ["a meta page is damaged"]  # `verify` looks closely at the one that counts alone.
    try:
        return list(verify(str(path), subdir=False))  # type: ignore[no-untyped-call]
    except VerifyError as error:
        return [str(error)]
    except (struct.error, IndexError, ValueError, MemoryError, RecursionError) as error:
        return [f"a page can't be read ({type(error).__name__}: {error})"]


def meta_pages(file: BinaryIO) -> list[MetaPage]:
    """Return the whole meta pages of a file, the one that counts first.

    When LMDB fails to write a meta page, it leaves new trees there beside the numbers of the former commit. Such a page
    doesn't count as long as the other one is later, and the next commit writes over it: it isn't damage.
    """
    found: list[MetaPage] = []
    torn: list[MetaPage] = []
    for number in (0, 1):
        page = _page_at(file, number)
        if page is None:
            continue
        magic, version, _, _, free, main, last_page, transaction = _META.unpack_from(page, _HEADER.size)
        tree = Tree.unpack(main)
        whole = (magic, version, _TREE.unpack(free)[0]) == (_MAGIC, _VERSION, PAGE_BYTES)
        in_turn = transaction == 0 or transaction % 2 == number
        if whole and in_turn and 1 <= last_page < _MOST_PAGES:
            fits = tree.root <= last_page or tree.root == _NO_ROOT
            (found if fits else torn).append(MetaPage(last_page, transaction, tree))
    found += [meta for meta in torn if found and meta.transaction < found[0].transaction]
    return sorted(found, key=lambda meta: meta.transaction, reverse=True)


def sub_databases(file: BinaryIO) -> dict[str, Tree]:
    """Return all sub-databases by name, as of the newest commit that can be read; none if none can be."""
    for meta in meta_pages(file):
        trees = {
            name.decode("ascii", "replace"): Tree.unpack(value)
            for name, value in rows(file, meta.main, flag=_SUB_DATABASE)
            if len(value) == _TREE.size
        }
        if trees:
            return trees
    return {}


def rows(file: BinaryIO, tree: Tree, *, flag: int = 0) -> Iterator[Row]:
    """Yield the rows of a tree that can be read; damaged pages and rows are left out.

    A page is taken for what its parent says that it is, even where its own header is damaged: rows have checksums.

    Args:
        file: the data file.
        tree: where it begins, and how deep it is.
        flag: the flag of the rows' nodes; without one, rows of plain values.
    """
    seen: set[int] = set()
    waiting = [(tree.root, 1)]
    while waiting:
        number, level = waiting.pop()
        page = _page_at(file, number) if number not in seen else None
        seen.add(number)
        if page is None:
            continue
        _, _, flags, lower, _ = _HEADER.unpack_from(page)
        kind = flags & (_BRANCH | _LEAF)
        count = (lower - _HEADER.size) // 2 if _HEADER.size <= lower <= PAGE_BYTES else _MOST_SLOTS
        slots = struct.unpack_from(f"={count}H", page, _HEADER.size)
        nodes = [slot for slot in slots if _HEADER.size < slot <= PAGE_BYTES - _NODE.size]
        if kind == _BRANCH or (kind != _LEAF and level < tree.depth):
            # A stack: the first child is walked first.
            waiting += [(int.from_bytes(page[slot : slot + 6], "little"), level + 1) for slot in reversed(nodes)]
            continue
        for slot in nodes:
            row = _row_at(file, page, slot, flag)
            if row is not None:
                yield row


def _row_at(file: BinaryIO, page: bytes, slot: int, flag: int) -> Row | None:
    """Return the row of a leaf's node; None when it is of another kind, or its sizes can't be true."""
    low, high, flags, key_bytes = _NODE.unpack_from(page, slot)
    size = low | high << 16
    start = slot + _NODE.size + key_bytes
    key = page[slot + _NODE.size : start]
    if flags == flag | _BIG_VALUE and start + 8 <= PAGE_BYTES:
        value = _big_value(file, int.from_bytes(page[start : start + 8], "little"), size)
        return None if value is None else (key, value)
    if flags != flag or start + size > PAGE_BYTES:
        return None
    return key, page[start : start + size]


def _big_value(file: BinaryIO, number: int, size: int) -> bytes | None:
    start = number * PAGE_BYTES + _HEADER.size
    if start + size > os.fstat(file.fileno()).st_size:
        return None
    file.seek(start)
    return file.read(size)


def _page_at(file: BinaryIO, number: int) -> bytes | None:
    """Return a page; None when it isn't wholly within the file."""
    if (number + 1) * PAGE_BYTES > os.fstat(file.fileno()).st_size:
        return None
    file.seek(number * PAGE_BYTES)
    return file.read(PAGE_BYTES)


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
