"""A process that embeds a store's entries anew until it is killed, printing each id once its move is acknowledged."""

import asyncio
import sys
from pathlib import Path

from semcache.store import LmdbStore
from semcache.testing.clock import FakeClock
from tests.fault.storing import settings_of
from tests.support.stored import SECRET, digest, vector

OLD, NEW = digest("old partition"), digest("new partition")
SLICE = 8


async def main(path: Path, *, encrypted: bool) -> None:
    store = LmdbStore.open(
        settings_of(path, encrypted=encrypted), FakeClock(), secret_key_ids=[SECRET], embedder_fingerprint="new model"
    )
    while texts := await store.vectors.texts(OLD, SLICE):
        vectors = {entry_id: vector(entry_id) for entry_id in texts}
        assert await store.vectors.reembed(OLD, NEW, vectors) == len(texts)
        sys.stdout.write("".join(f"moved {entry_id}\n" for entry_id in texts))
        sys.stdout.flush()
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), encrypted="encrypted" in sys.argv[2:]))
