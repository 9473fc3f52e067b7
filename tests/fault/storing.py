"""A process that stores under load until it is killed, printing each entry's name once its write is acknowledged."""

import asyncio
import sys
from itertools import count
from pathlib import Path

from semcache.settings import StoreSettings
from semcache.store import LmdbStore
from semcache.testing.clock import FakeClock
from tests.support.stored import SECRET, answer, encryption, entry, record, served, store_settings, vector

WORKERS = 24


def name_of(run: str, number: int) -> str:
    return f"{run}-{number}"


def settings_of(path: Path, *, encrypted: bool) -> StoreSettings:
    """A store in clear, or an encrypted one whose master key lies beside its folder."""
    return store_settings(path, encryption=encryption(path.parent)) if encrypted else store_settings(path)


async def main(path: Path, run: str, *, encrypted: bool) -> None:
    store = LmdbStore.open(settings_of(path, encrypted=encrypted), FakeClock(), secret_key_ids=[SECRET])
    numbers = count()

    async def work() -> None:
        for number in numbers:
            name = name_of(run, number)
            text = f"answer {name} " + "x" * (number * 37 % 6000)
            wanted = entry(name, tenant=f"tenant {number % 3}", tags=(f"t{number % 7}",), answer=answer(text))
            stored = await store.entries.put(wanted, vector(number), record(name))
            # Some are replaced, some removed, some noted: a kill may fall into any of it.
            if number % 5 == 0:
                stored = await store.entries.put(wanted, vector(number + 1))
            store.ledger.record(record(f"hit-{name}"), served(f"hit-{name}", stored.entry_id))
            sys.stdout.write(f"{name} {stored.entry_id}\n")
            sys.stdout.flush()

    async with asyncio.TaskGroup() as group:
        for _ in range(WORKERS):
            group.create_task(work())


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], encrypted="encrypted" in sys.argv[3:]))
