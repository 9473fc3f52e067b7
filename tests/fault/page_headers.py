"""The bytes of a data file that LMDB trusts, and what becomes of a store when one of their bits is flipped."""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from semcache.disk import trees
from semcache.disk.inspecting import check_pages
from semcache.disk.pages import (
    BIG_VALUE,
    BRANCH,
    HEADER_BYTES,
    LEAF,
    NODE_BYTES,
    PAGE_BYTES,
    SUB_DATABASE,
    TREE,
    meta_pages,
)
from semcache.errors import StoreUnusableError

ROOT = Path(__file__).resolve().parents[2]
_META_BYTES = HEADER_BYTES + 24 + 2 * TREE.size + 16
_PLAYED_TOGETHER = 12
"""Damaged stores that one process reads; where it dies, each of them gets a process of its own."""


def trusted_bytes(path: Path) -> list[int]:
    """Return the places of all headers of pages and of rows, of page numbers, and of the records of sub-databases.

    They are those of the pages that the newest commit has in use, and of the meta pages.
    """
    found = set(range(_META_BYTES)) | set(range(PAGE_BYTES, PAGE_BYTES + _META_BYTES))
    with path.open("rb") as file:
        walk = trees._TreeWalk(file, meta_pages(file)[0])
        walk.run()
        for number in walk._used.nonzero()[0].tolist()[2:]:
            file.seek(number * PAGE_BYTES)
            page = file.read(PAGE_BYTES)
            if int.from_bytes(page[:8], "little") == number:  # Otherwise it goes on with the value of the page before.
                found |= {number * PAGE_BYTES + place for place in _trusted_of(page)}
    return sorted(found)


def _trusted_of(page: bytes) -> Iterator[int]:
    yield from range(HEADER_BYTES)
    flags, lower = page[10], int.from_bytes(page[12:14], "little")
    if flags not in {BRANCH, LEAF} or not HEADER_BYTES <= lower <= PAGE_BYTES:
        return
    yield from range(HEADER_BYTES, lower)
    for slot in range(HEADER_BYTES, lower, 2):
        node = int.from_bytes(page[slot : slot + 2], "little")
        yield from range(node, min(node + NODE_BYTES, PAGE_BYTES))
        value = node + NODE_BYTES + int.from_bytes(page[node + 6 : node + 8], "little")
        if flags == LEAF and page[node + 4] & (BIG_VALUE | SUB_DATABASE):
            yield from range(value, min(value + (TREE.size if page[node + 4] & SUB_DATABASE else 8), PAGE_BYTES))


@dataclass
class Played:
    """What flips showed: how many the start found, how many it didn't, and what broke a promise, as sentences."""

    found: int = 0
    unfound: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, other: "Played") -> None:
        """Add what other flips showed."""
        self.found += other.found
        self.unfound += other.unfound
        self.problems += other.problems


def play(data: bytes, flips: Iterable[tuple[int, int]], folder: Path) -> Played:
    """Flip a bit of a data file at a time. A store whose damage the start doesn't find is used, in another process.

    Args:
        data: a whole data file.
        flips: the place of a byte and the number of its bit, each.
        folder: an empty folder.
    """
    played = Played()
    path = folder / "data.mdb"
    path.write_bytes(data)
    unfound = []
    with path.open("r+b", buffering=0) as file:
        for place, bit in flips:
            _write(file, place, data[place] ^ 1 << bit)
            try:
                check_pages(path)
                unfound.append((place, bit))
            except StoreUnusableError:
                played.found += 1
            finally:
                _write(file, place, data[place])
    played.unfound = len(unfound)
    for start in range(0, len(unfound), _PLAYED_TOGETHER):
        some = unfound[start : start + _PLAYED_TOGETHER]
        reports = use(data, some, folder)
        if len(reports) < len(some):
            reports = [report for flip in some for report in use(data, [flip], folder) or [{"died": True}]]
        for flip, report in zip(some, reports, strict=True):
            problem = _problem(report)
            if problem:
                played.problems.append(f"bit {flip[1]} of byte {flip[0]}: {problem} ({report})")
    return played


def _write(file: Any, place: int, value: int) -> None:
    file.seek(place)
    file.write(bytes([value]))


def use(data: bytes, flips: Iterable[tuple[int, int]], folder: Path) -> list[dict[str, Any]]:
    """Let one process check, open, read, write, repair and read again a store for each flip; return its reports.

    There are fewer of them than flips where the process died.
    """
    paths = []
    for place, bit in flips:
        path = folder / f"{place}.{bit}"
        path.mkdir(exist_ok=True)
        (path / "data.mdb").write_bytes(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
        paths.append(str(path))
    done = subprocess.run(
        [sys.executable, "-m", "tests.fault.reading", *paths], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def _problem(report: dict[str, Any]) -> str:
    """Return how a report breaks a promise; empty where it doesn't."""
    if report.get("died"):
        return "the process died"
    served = [part for part in (report["open"], report["after"]) if isinstance(part, dict)]
    if any(part["wrong"] for part in served):
        return "something wrong was served"
    if str(report["repair"]).startswith("refused"):
        return "" if report["unchanged"] else "a repair that was refused changed the file"
    return "" if report["clean"] else "the store isn't clean after its repair"
