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
from typing import BinaryIO

PAGE_BYTES = 4096
_HEADER = struct.Struct("=QHHHH")
_META = struct.Struct("=IIQQ48s48sQQ")
TREE = struct.Struct("=IHHQQQQQ")
"""page size (of the first sub-database) or pad, flags, depth, pages of three kinds, entries, root"""
_MAGIC, _VERSION = 0xBEEFC0DE, 1
BRANCH, LEAF, OVERFLOW = 1, 2, 4
"""Kinds of pages."""
BIG_VALUE, SUB_DATABASE = 1, 2
"""Flags of a leaf's nodes: the value has pages of its own; it is the record of a sub-database."""
HEADER_BYTES = _HEADER.size
_NODE = struct.Struct("=HHHH")
"""size of the value (low, high) or page of the child (low, middle, high = flags), flags, size of the key"""
NODE_BYTES = _NODE.size
NO_ROOT = (1 << 64) - 1
"""The root of an empty tree."""
_MOST_PAGES = 1 << 48
"""A larger page number can't be one: a branch has 48 bits for it."""
_MOST_SLOTS = (PAGE_BYTES - _HEADER.size) // 2

Row = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Tree:
    """The record of a sub-database: where it begins, how many pages lie above each other in it, and what it counts.

    An empty one has no root.
    """

    pad: int
    flags: int
    depth: int
    branch_pages: int
    leaf_pages: int
    overflow_pages: int
    entries: int
    root: int

    @classmethod
    def unpack(cls, record: bytes) -> Tree:
        """Return the tree of a record of `TREE`."""
        return cls(*TREE.unpack(record))


@dataclass(frozen=True, slots=True)
class MetaPage:
    """What a whole meta page says: the last page in use, the transaction, the trees of free pages and sub-databases."""

    last_page: int
    transaction: int
    free: Tree
    main: Tree


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
        meta = MetaPage(last_page, transaction, Tree.unpack(free), Tree.unpack(main))
        whole = (magic, version, meta.free.pad) == (_MAGIC, _VERSION, PAGE_BYTES)
        in_turn = transaction == 0 or transaction % 2 == number
        if whole and in_turn and 1 <= last_page < _MOST_PAGES:
            fits = meta.main.root <= last_page or meta.main.root == NO_ROOT
            (found if fits else torn).append(meta)
    found += [meta for meta in torn if found and meta.transaction < found[0].transaction]
    return sorted(found, key=lambda meta: meta.transaction, reverse=True)


def sub_databases(file: BinaryIO) -> dict[str, Tree]:
    """Return all sub-databases by name, as of the newest commit that can be read; none if none can be."""
    for meta in meta_pages(file):
        trees = {
            name.decode("ascii", "replace"): Tree.unpack(value)
            for name, value in rows(file, meta.main, flag=SUB_DATABASE)
            if len(value) == TREE.size
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
        kind = flags & (BRANCH | LEAF)
        count = (lower - _HEADER.size) // 2 if _HEADER.size <= lower <= PAGE_BYTES else _MOST_SLOTS
        slots = struct.unpack_from(f"={count}H", page, _HEADER.size)
        nodes = [slot for slot in slots if _HEADER.size < slot <= PAGE_BYTES - _NODE.size]
        if kind == BRANCH or (kind != LEAF and level < tree.depth):
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
    if flags == flag | BIG_VALUE and start + 8 <= PAGE_BYTES:
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
