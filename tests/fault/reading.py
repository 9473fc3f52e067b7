"""A process that checks, opens, reads, writes, repairs and reads again the damaged stores that it is given.

It prints one JSON document per store. A signal would end it, and be seen.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from semcache.errors import SemcacheError
from semcache.model import Entry
from semcache.store import LmdbStore, check, repair
from semcache.testing.clock import FakeClock
from tests.support.stored import SECRET, answer, digest, entry, record, served, store_settings, vector

ENTRIES = 120
DIMENSION = 64


def stored(number: int) -> Entry:
    """The entry of a number; every eighth has a body of several pages."""
    text = "x" * (number * 61 % 700 + (9000 if number % 8 == 0 else 0))
    return entry(str(number), answer=answer(text), tags=(f"t{number % 5}",))


async def fill(path: Path) -> None:
    store = LmdbStore.open(store_settings(path), FakeClock(), secret_key_ids=[SECRET])
    async with asyncio.TaskGroup() as group:
        for number in range(ENTRIES):
            line = record(f"r{number}")
            group.create_task(store.entries.put(stored(number), vector(number, DIMENSION), line))
            store.ledger.record(record(f"hit{number}"), served(f"h{number}"))
    await store.close()


async def read(path: Path) -> dict[str, int]:
    """Read everything and store one more; return how many answers were right and how many were wrong."""
    store = LmdbStore.open(store_settings(path), FakeClock(), secret_key_ids=[SECRET])
    right = wrong = 0
    ids = []
    for number in range(ENTRIES):
        found = await store.entries.find_exact(digest(str(number)))
        if found is not None:
            ids.append(found.entry_id)
            is_right = found == replace(stored(number), entry_id=found.entry_id)
            right, wrong = right + is_right, wrong + (not is_right)
    await store.entries.get_many(ids)
    vectors = dict(zip(*store.vectors.load(digest("partition")), strict=True))
    for number, found in [(int(found.text[8:-1]), found) for found in (await store.entries.get_many(ids)).values()]:
        loaded = vectors.get(found.entry_id)
        wrong += loaded is not None and not np.array_equal(loaded, vector(number, DIMENSION))
    lines = len({line.request_id for line in store.ledger.records(None, 0, 1e11)})
    for number in range(ENTRIES):
        hit = await store.verdicts.served(f"h{number}")
        wrong += hit is not None and hit.hit_id != f"h{number}"
    await store.entries.put(entry("new"), vector(999, DIMENSION), record("new"))
    await store.close()
    return {"right": right, "wrong": wrong, "lines": lines}


def told(work: Callable[[], object]) -> object:
    try:
        return work()
    except SemcacheError as error:
        return f"refused: {error.reason}"


def report_of(path: Path) -> dict[str, object]:
    settings = store_settings(path)
    before = (path / "data.mdb").read_bytes()
    checked = told(lambda: check(settings).problem_count)
    opened = told(lambda: asyncio.run(read(path)))
    (path / "data.mdb").write_bytes(before)
    repaired = told(lambda: repair(settings).kept)
    kept = isinstance(repaired, str) and Path(repaired).is_file() and Path(repaired).read_bytes() == before
    refused = str(repaired).startswith("refused")
    return {
        "check": checked,
        "open": opened,
        "repair": repaired,
        "kept": kept,
        "unchanged": (path / "data.mdb").read_bytes() == before,
        "after": None if refused else told(lambda: asyncio.run(read(path))),
        "clean": None if refused else check(settings).clean,
    }


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        sys.stdout.write(json.dumps(report_of(Path(argument))) + "\n")
