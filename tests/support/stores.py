"""Stores on disk: opened as tests do, and written to behind their back."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb

from semcache.store import LmdbStore, layout
from semcache.store.layout import Databases
from semcache.testing.clock import FakeClock
from tests.support.stored import SECRET, store_settings


def open_store(path: Path, clock: FakeClock | None = None, *, embedder: str = "", **fields) -> LmdbStore:
    return LmdbStore.open(
        store_settings(path, **fields), clock or FakeClock(), secret_key_ids=[SECRET], embedder_fingerprint=embedder
    )


@contextmanager
def writing(path: Path) -> Iterator[tuple[lmdb.Transaction, Databases]]:
    """Write rows directly, as damage or an older semcache would."""
    env = lmdb.Environment(str(path), max_dbs=20, map_size=64 << 20, lib_version=layout.LIB_VERSION)
    dbs = Databases.open(env, create=False)
    with env, env.begin(write=True) as txn:
        yield txn, dbs
