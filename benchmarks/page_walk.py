"""Measure how long the check of a data file's pages takes, which every start does before the file is mapped.

`python -m benchmarks.page_walk [--entries N]`. Rows of the sizes that entries of 700 letters have are written without a
server. The file stays in the page cache: on a cold start the time to read the file is added.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from benchmarks.measurements import Measurement, report
from benchmarks.server_process import scratch
from semcache.disk import inspecting
from semcache.store import layout, opening

ENTRIES = 400_000
ROUNDS = 5
MAP_BYTES = 32 << 30
VECTOR_BYTES = 384 * 4 + 16
ROWS_PER_COMMIT = 10_000
LONG_EVERY = 20
"""One answer in so many has pages of its own."""


def _fill(path: Path, entries: int) -> None:
    chance = np.random.default_rng(16)
    env = opening.new_file(path, MAP_BYTES)
    dbs = {name: env.open_db(name.encode()) for name in layout.SUB_DATABASES}
    for start in range(1, entries + 1, ROWS_PER_COMMIT):
        with env.begin(write=True) as txn:
            for number in range(start, min(start + ROWS_PER_COMMIT, entries + 1)):
                key, noise = layout.pack_id(number), chance.bytes(VECTOR_BYTES)
                partition, exact = (number % 100).to_bytes(32, "big"), chance.bytes(32)
                txn.put(key, noise * (8 if number % LONG_EVERY == 0 else 1), db=dbs["entries"])
                txn.put(partition + key, noise, db=dbs["vectors"])
                txn.put(exact, key, db=dbs["exact"])
                txn.put(b"n" + exact[:16] + key, b"", db=dbs["tags"])
                txn.put(b"e" + key + key, b"", db=dbs["expiry"])
                txn.put(key, noise[:40], db=dbs["access"])
                txn.put(key + exact, noise[:300], db=dbs["log"])
    env.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=ENTRIES)
    entries = parser.parse_args().entries
    with scratch() as folder:
        path = folder / opening.DATA_FILE
        _fill(path, entries)
        size_gb = path.stat().st_size / 1e9
        seconds = []
        for _ in range(ROUNDS + 1):
            started_s = time.perf_counter()
            inspecting.check_pages(path)
            seconds.append((time.perf_counter() - started_s) / size_gb)
        started_s = time.perf_counter()
        problems = inspecting.problems(path)
        whole_s = (time.perf_counter() - started_s) / size_gb
    assert problems == [], problems
    report(
        "page_walk",
        [
            Measurement("check of all pages at the start", "s/GB", tuple(seconds[1:]), at_most=2.0),
            Measurement("check of all pages and keys by `semcache check`", "s/GB", (whole_s,)),
        ],
        notes=[f"{entries:,} entries, {size_gb:.2f} GB, in the page cache."],
    )


if __name__ == "__main__":
    main()
