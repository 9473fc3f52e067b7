"""A process that stores and spends on a disk without room until it is killed.

Its second argument says who takes the room: "taken" by another file, "limited" to the file's present size, or "own".
It prints "spent NAME" once a spend is on disk, and "refused REASON" when an entry isn't stored.
"""

import asyncio
import resource
import sys
from contextlib import suppress
from itertools import count
from pathlib import Path

from semcache.errors import StoreError
from semcache.observe.logs import configure_logging
from semcache.settings import LogSettings
from semcache.store import LmdbStore
from semcache.testing.clock import FakeClock
from tests.support.stored import SECRET, answer, entry, record, served, store_settings, vector

WORKERS = 8


def fill(filler: Path) -> None:
    """Take what is left of the disk."""
    with suppress(OSError), filler.open("ab") as file:
        while True:
            file.write(b"\0" * 4096)
            file.flush()


async def main(path: Path, room: str) -> None:
    store = LmdbStore.open(store_settings(path, map_size_bytes=16 << 20), FakeClock(), secret_key_ids=[SECRET])
    if room == "limited":
        size_bytes = (path / "data.mdb").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes))
    elif room == "taken":
        fill(path.parent / "filler")
    numbers = count()

    async def work() -> None:
        for number in numbers:
            name = f"n{number}"
            try:
                await store.entries.put(entry(name, answer=answer("x" * 8000)), vector(number), record(name))
            except StoreError as error:
                sys.stdout.write(f"refused {error.reason}\n")
                await store.ledger.record_durably(record(name))
            store.ledger.record(record(f"hit-{name}"), served(f"hit-{name}"))
            sys.stdout.write(f"spent {name}\n")
            sys.stdout.flush()

    async with asyncio.TaskGroup() as group:
        for _ in range(WORKERS):
            group.create_task(work())


if __name__ == "__main__":
    configure_logging(LogSettings())  # Its lines go to standard error.
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
