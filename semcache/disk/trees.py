"""A walk over the headers of all pages that a data file has in use, without mapping it.

LMDB trusts what it finds in a page: a wrong page number, size or offset ends the process by a signal, and a wrong list
of free pages lets it write over pages in use. So all that it trusts is checked before a file is mapped. Keys and values
aren't: rows have checksums, and `lmdb.verify` compares the rest at leisure.

Pages of one level of a tree are read in the order of their numbers, and checked together by numpy.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from semcache.disk import pages
from semcache.disk.pages import BRANCH, HEADER_BYTES, LEAF, NODE_BYTES, PAGE_BYTES, MetaPage, Tree

_BATCH_PAGES = 512
"""Pages that are checked together: 2 MiB, which stays in a processor's cache."""
_MOST_MISSING_PAGES = 1 << 20
"""The last pages of a file may be free and never written. More than these and as many as it has are damage."""
_MOST_LEVELS = 32
"""LMDB's stack of a cursor."""
_MOST_KEY_BYTES = 511
_PAGE_NUMBER_BYTES = 8
_FREE_FLAGS, _NO_SUBFOLDER = 0x08, 0x4000
"""Flags of the tree of free pages: its keys are integers; and whether the file was made without a folder of its own."""

_Numbers = npt.NDArray[np.int64]


class _DamageError(Exception):
    """A page breaks a rule; the message says which, as the end of a sentence about the file."""


def first_damage(file: BinaryIO, meta: MetaPage) -> str | None:
    """Return what is wrong with the first damaged page that a commit has in use, as `page 7 …`; None if all are whole.

    It costs a read of all pages but the values that take pages of their own.

    Args:
        file: the data file.
        meta: the meta page of the commit.

    Raises:
        OSError: the file can't be read.
    """
    try:
        _TreeWalk(file, meta).run()
    except _DamageError as error:
        return str(error)
    return None


class _TreeWalk:
    """One walk. `_used` has a place for each page: whether it was met."""

    def __init__(self, file: BinaryIO, meta: MetaPage) -> None:
        self._file = file
        self._meta = meta
        self._pages = min(meta.last_page + 1, os.fstat(file.fileno()).st_size // PAGE_BYTES)
        self._used = np.zeros(self._pages, dtype=bool)
        self._used[:2] = True

    def run(self) -> None:
        """Walk over the tree of free pages, that of sub-databases, and each sub-database.

        Raises:
            _DamageError: a page is damaged.
        """
        free, main, last_page = self._meta.free, self._meta.main, self._meta.last_page
        if last_page > 2 * self._pages + _MOST_MISSING_PAGES:
            raise _DamageError(f"page {last_page} is the last of a file with {self._pages}")
        if free.flags & ~_NO_SUBFOLDER != _FREE_FLAGS:
            raise _DamageError(f"the tree of free pages has the flags {free.flags:#x}")
        self._walk_tree("the free pages", free)
        self._walk_sub_database("the sub-databases", main, leaf_flag=pages.SUB_DATABASE)
        for name, record in pages.rows(self._file, main, flag=pages.SUB_DATABASE):
            self._walk_sub_database(f"the sub-database {name.decode('ascii', 'replace')}", Tree.unpack(record))
        self._check_free_pages()

    def _walk_sub_database(self, name: str, tree: Tree, leaf_flag: int = 0) -> None:
        if tree.flags or tree.pad:
            raise _DamageError(f"{name} has the flags {tree.flags:#x} and the padding {tree.pad}")
        self._walk_tree(name, tree, leaf_flag)

    def _walk_tree(self, name: str, tree: Tree, leaf_flag: int = 0) -> None:
        counted = (tree.branch_pages, tree.leaf_pages, tree.overflow_pages, tree.entries)
        if tree.root == pages.NO_ROOT:
            if any(counted) or tree.depth:
                raise _DamageError(f"{name}: no page, but {tree.entries} rows")
            return
        if not 1 <= tree.depth <= _MOST_LEVELS:
            raise _DamageError(f"{name}: {tree.depth} levels")
        level = _page_numbers([tree.root])
        branches = 0
        for _ in range(tree.depth - 1):
            level = self._use(name, level)
            branches += len(level)
            least = 1 if tree is self._meta.free else 2
            level = np.concatenate([_children(batch, least) for batch in self._batches(level, BRANCH)])
        level = self._use(name, level)
        overflow = entries = 0
        for batch in self._batches(level, LEAF):
            entries += batch.nodes
            overflow += self._check_values(name, batch, leaf_flag)
        if counted != (branches, len(level), overflow, entries):
            raise _DamageError(f"{name}: {branches, len(level), overflow, entries} pages and rows instead of {counted}")

    def _check_values(self, name: str, batch: _Batch, leaf_flag: int) -> int:
        """Check the sizes and flags of a leaf's values; return how many pages they have of their own."""
        big = batch.flags == leaf_flag | pages.BIG_VALUE
        batch.require_nodes((batch.flags == leaf_flag) | big, "a value of an unknown kind")
        batch.require_nodes(batch.key_bytes >= 1, "a key without bytes")
        sizes = batch.low | batch.high << 16
        if leaf_flag:
            batch.require_nodes((sizes == pages.TREE.size) & ~big, "a sub-database of another size")
        batch.require_tiles(NODE_BYTES + batch.key_bytes + np.where(big, _PAGE_NUMBER_BYTES, sizes))
        if not big.any():
            return 0
        at = batch.rows[big] * PAGE_BYTES + batch.offsets[big] + NODE_BYTES + batch.key_bytes[big]
        place = batch.content.reshape(-1)[at[:, None] + np.arange(_PAGE_NUMBER_BYTES)]
        return self._check_overflow(name, _as_page_numbers(place.view("<u8")[:, 0]), sizes[big])

    def _check_overflow(self, name: str, numbers: _Numbers, sizes: _Numbers) -> int:
        """Check the first pages of values that have pages of their own; return how many pages those are."""
        self._require_within(name, numbers)
        order = np.argsort(numbers)
        numbers, needed = numbers[order], (sizes[order] + HEADER_BYTES - 1) // PAGE_BYTES + 1
        headers = b"".join(
            os.pread(self._file.fileno(), HEADER_BYTES, number * PAGE_BYTES) for number in numbers.tolist()
        )
        words = np.frombuffer(headers, "<u4").reshape(-1, 4)
        counts = words[:, 3].astype(np.int64)
        whole = (words[:, 0] | words[:, 1].astype(np.int64) << 32) == numbers
        whole &= (words[:, 2] >> 16 == pages.OVERFLOW) & (counts >= needed) & (counts <= self._pages)
        if not whole.all():
            raise _DamageError(f"page {numbers[~whole][0]} isn't the value that {name} has there")
        if int(counts.sum()) > self._pages:
            raise _DamageError(f"{name} has values of more pages than the file")
        starts = np.cumsum(counts) - counts
        self._use(name, np.repeat(numbers - starts, counts) + np.arange(int(counts.sum())))
        return int(counts.sum())

    def _use(self, name: str, numbers: _Numbers) -> _Numbers:
        """Mark pages as in use; return their numbers in order."""
        self._require_within(name, numbers)
        numbers = np.sort(numbers)
        again = self._used[numbers]
        again[1:] |= numbers[1:] == numbers[:-1]
        if again.any():
            raise _DamageError(f"page {numbers[again][0]} is in use twice, once by {name}")
        self._used[numbers] = True
        return numbers

    def _require_within(self, name: str, numbers: _Numbers) -> None:
        outside = (numbers < 0) | (numbers >= self._pages)
        if outside.any():
            raise _DamageError(f"{name}: page {numbers[outside][0]} isn't among the {self._pages} of the file")

    def _batches(self, numbers: _Numbers, kind: int) -> Iterator[_Batch]:
        for start in range(0, len(numbers), _BATCH_PAGES):
            part = numbers[start : start + _BATCH_PAGES]
            yield _Batch(part, self._read(part), kind)

    def _read(self, numbers: _Numbers) -> npt.NDArray[np.uint8]:
        """Return pages, by rows; those that follow each other are read at once."""
        content = np.zeros((len(numbers), PAGE_BYTES), dtype=np.uint8)
        starts = [0, *(np.flatnonzero(np.diff(numbers) != 1) + 1).tolist()]
        for start, end in zip(starts, [*starts[1:], len(numbers)], strict=True):
            os.preadv(self._file.fileno(), [content[start:end]], int(numbers[start]) * PAGE_BYTES)  # type: ignore[list-item]
        return content

    def _check_free_pages(self) -> None:
        """Check the lists of free pages: each page once, none in use, the lists in the order of their transactions."""
        earlier = 0
        listed = np.zeros(self._meta.last_page + 1, dtype=bool)
        for key, value in pages.rows(self._file, self._meta.free):
            transaction = int.from_bytes(key, "little")
            if len(key) != _PAGE_NUMBER_BYTES or not earlier < transaction <= self._meta.transaction:
                raise _DamageError(f"the free pages: a list of transaction {transaction} after that of {earlier}")
            earlier = transaction
            if len(value) % _PAGE_NUMBER_BYTES or int.from_bytes(value[:8], "little") != len(value) // 8 - 1:
                raise _DamageError(f"the free pages: a list of {len(value)} bytes with another count")
            numbers = _as_page_numbers(np.frombuffer(value, "<u8")[1:])
            if (numbers < 2).any() or (numbers > self._meta.last_page).any() or (np.diff(numbers) >= 0).any():
                raise _DamageError(f"the free pages: a list of transaction {transaction} out of order")
            in_use = numbers[listed[numbers]]
            listed[numbers] = True
            in_use = np.concatenate(
                [in_use, numbers[numbers < self._pages][self._used[numbers[numbers < self._pages]]]]
            )
            if in_use.size:
                raise _DamageError(f"page {in_use[0]} is free and in use")


class _Batch:
    """Some pages of one level, and their nodes: a row of each array is a node, `rows` says of which page."""

    def __init__(self, numbers: _Numbers, content: npt.NDArray[np.uint8], kind: int) -> None:
        self.numbers, self.content = numbers, content
        halves = content.view("<u2")
        lower, self._upper = halves[:, 6].astype(np.int64), halves[:, 7].astype(np.int64)
        self._require_pages(content.view("<u8")[:, 0] == numbers, "has the number of another page")
        self._require_pages(halves[:, 5] == kind, f"isn't a {'leaf' if kind == LEAF else 'branch'}")
        fits = (lower >= HEADER_BYTES) & (lower <= self._upper) & (self._upper <= PAGE_BYTES)
        self._require_pages(fits & ((lower | self._upper) % 2 == 0), "has wrong bounds")
        self.counts = (lower - HEADER_BYTES) // 2
        self.nodes = int(self.counts.sum())
        self._ends = np.cumsum(self.counts)
        self.rows = np.repeat(np.arange(len(numbers)), self.counts)
        slots = np.arange(self.nodes) - np.repeat(self._ends - self.counts, self.counts)
        self.offsets = halves[self.rows, HEADER_BYTES // 2 + slots].astype(np.int64)
        fits = (self.offsets >= self._upper[self.rows]) & (self.offsets <= PAGE_BYTES - NODE_BYTES)
        self.require_nodes(fits & (self.offsets % 2 == 0), "a row beyond its bounds")
        flat = halves.reshape(-1)
        at = self.rows * (PAGE_BYTES // 2) + self.offsets // 2
        self.low, self.high, self.flags, self.key_bytes = (flat[at + place].astype(np.int64) for place in range(4))
        self.require_nodes(self.key_bytes <= _MOST_KEY_BYTES, "a key that is too long")

    def _require_pages(self, whole: npt.NDArray[np.bool_], what: str) -> None:
        if not whole.all():
            raise _DamageError(f"page {self.numbers[~whole][0]} {what}")

    def require_nodes(self, whole: npt.NDArray[np.bool_], what: str) -> None:
        """Raise where a node breaks a rule."""
        if not whole.all():
            raise _DamageError(f"page {self.numbers[self.rows[~whole][0]]} has {what}")

    def require_tiles(self, sizes: _Numbers) -> None:
        """Raise unless the nodes of each page fill it from its upper bound to its end, without gap or overlap."""
        order = np.argsort(self.rows * PAGE_BYTES + self.offsets)
        starts = self.offsets[order]
        ends = starts + sizes[order] + sizes[order] % 2
        full = self.counts > 0
        first, last = (self._ends - self.counts)[full], self._ends[full] - 1
        self._require_pages(full | (self._upper == PAGE_BYTES), "has room for rows, but none")
        expected = np.append(starts[1:], PAGE_BYTES)
        expected[last] = PAGE_BYTES
        whole = ends == expected
        whole[first] &= starts[first] == self._upper[full]
        if not whole.all():
            raise _DamageError(f"page {self.numbers[self.rows[order][~whole][0]]} has rows that overlap or leave a gap")


def _children(batch: _Batch, least: int) -> _Numbers:
    """Return the pages that branches lead to."""
    if (batch.counts < least).any():
        raise _DamageError(f"page {batch.numbers[batch.counts < least][0]} has too few branches")
    batch.require_tiles(NODE_BYTES + batch.key_bytes)
    children: _Numbers = batch.low | batch.high << 16 | batch.flags << 32
    return children


def _page_numbers(numbers: list[int]) -> _Numbers:
    return _as_page_numbers(np.array(numbers, dtype="<u8"))


def _as_page_numbers(numbers: npt.NDArray[np.uint64]) -> _Numbers:
    """Return numbers as signed ones: those that are too large become negative, and so lie outside of any file."""
    return numbers.astype(np.uint64).view(np.int64)
