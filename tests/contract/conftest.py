"""A store of each kind, as the contracts of its ports need it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from semcache.model import Changes
from semcache.store import LmdbStore
from semcache.testing.clock import FakeClock
from semcache.testing.store import MemoryStore
from tests.support.stored import SECRET, encryption, store_settings

Store = LmdbStore | MemoryStore
Make = Callable[..., Awaitable[Store]]
Reopened = Callable[..., Awaitable[Store]]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory", "lmdb", "encrypted lmdb"])
async def make(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> AsyncIterator[Make]:
    made: list[Store] = []

    async def build(embedder: str = "", **fields: Any) -> Store:
        if request.param == "encrypted lmdb":
            fields = {"encryption": encryption(tmp_path), **fields}
        settings = store_settings(tmp_path / "store", **fields)
        store: Store = (
            MemoryStore(clock, settings, embedder_fingerprint=embedder)
            if request.param == "memory"
            else LmdbStore.open(settings, clock, secret_key_ids=[SECRET], embedder_fingerprint=embedder)
        )
        made.append(store)
        return store

    yield build
    for store in made:
        await store.close()


@pytest.fixture
def reopened(make: Make) -> Reopened:
    """Return what closes a store that `make` made and opens it again, under any embedder."""

    async def reopen(store: Store, embedder: str, **fields: Any) -> Store:
        await store.close()
        if isinstance(store, MemoryStore):
            store.reopen(embedder)
            return store
        return await make(embedder, **fields)

    return reopen


@pytest.fixture
async def store(make: Make) -> Store:
    return await make()


@pytest.fixture
def changes(store: Store) -> list[Changes]:
    seen: list[Changes] = []
    store.entries.subscribe(seen.append)
    return seen
