"""Encrypted stores and stores in clear, filled with words that can be looked for in their files."""

from pathlib import Path

import lmdb

from semcache.model import Rejection, Selector, Status
from semcache.settings import StoreSettings
from semcache.store import LmdbStore, layout
from semcache.testing.clock import FakeClock
from tests.support.stored import SECRET, answer, digest, encryption, entry, record, served, store_settings, vector

OTHER_KEY = b"\1" * 32


def settings_of(folder: Path, key: bytes = bytes(32), **fields) -> StoreSettings:
    return store_settings(folder / "store", encryption=encryption(folder, key=key), **fields)


def in_clear(folder: Path) -> StoreSettings:
    return store_settings(folder / "store")


def opened(settings: StoreSettings) -> LmdbStore:
    return LmdbStore.open(settings, FakeClock(), secret_key_ids=[SECRET])


def raw_env(folder: Path) -> lmdb.Environment:
    return lmdb.Environment(
        str(folder / "store"), max_dbs=20, map_size=64 << 20, lib_version=layout.LIB_VERSION, readahead=False
    )


def raw_rows(folder: Path, name: str) -> list[tuple[bytes, bytes]]:
    with raw_env(folder) as env, env.begin() as txn:
        return list(txn.cursor(db=env.open_db(name.encode(), txn, create=False)))


async def fill(settings: StoreSettings, tenant: str = "acme-corporation", name: str = "capital") -> None:
    """Store one entry of everything that a store remembers, then replace and invalidate what is in free pages then."""
    store = opened(settings)
    wanted = entry(
        f"the {name} of Freedonia",
        tenant=tenant,
        tags=(f"{name}-tag",),
        sources=(f"{name}-source",),
        answer=answer(f"{name}: Fredville " + "is its name " * 400),
    )
    await store.entries.put(wanted, vector(3), record(f"{name}-1", tenant=tenant, model=f"{name}-model"))
    stored = await store.entries.put(wanted, vector(4), record(f"{name}-2", tenant=tenant))
    store.ledger.record(
        record(f"{name}-3", tenant=tenant, status=Status.SEMANTIC_HIT, entry_id=stored.entry_id),
        served(f"{name}-hit", stored.entry_id, tenant=tenant, text=f"{name} of Freedonia?"),
    )
    await store.ledger.flush()
    rejection = Rejection(digest("another question"), vector(5).astype("float16").tobytes())
    await store.verdicts.reject(f"{name}-hit", rejection, "wrong")
    gone = await store.entries.put(entry(f"{name} that goes", tenant=tenant), vector(6), None)
    await store.entries.invalidate(Selector(tenant, entry_ids=(gone.entry_id,)), apply=True)
    await store.close()


STORED = [
    b"acme-corporation",
    b"Freedonia",
    b"Fredville",
    b"capital-tag",
    b"capital-source",
    b"capital-model",
    b"openai",
    vector(4).tobytes()[:16],
    vector(5).astype("float16").tobytes()[:8],
]
GONE = [b"capital that goes", vector(3).tobytes()[:16], vector(6).tobytes()[:16]]
"""What was replaced or invalidated: it may still lie in free pages."""
SECRETS = STORED + GONE
