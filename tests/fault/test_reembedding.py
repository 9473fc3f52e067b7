"""SIGKILL while entries are embedded anew: each is in one partition, with that one's vector, and the rest goes on."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from semcache.settings import StoreSettings
from semcache.store import LmdbStore, check
from semcache.testing.clock import FakeClock
from tests.fault.reembedding import NEW, OLD
from tests.fault.storing import settings_of
from tests.support.stored import SECRET, all_entries, digest, entry, vector

ROOT = Path(__file__).resolve().parents[2]
ENTRIES = 400


def opened(settings: StoreSettings, embedder: str) -> LmdbStore:
    return LmdbStore.open(settings, FakeClock(), secret_key_ids=[SECRET], embedder_fingerprint=embedder)


def move_until_killed(path: Path, acknowledged: int, *, encrypted: bool) -> list[int]:
    """Ids that the process printed; it is killed once it has printed so many, or ends by itself."""
    command = [sys.executable, "-m", "tests.fault.reembedding", str(path), *["encrypted"] * encrypted]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        lines = [process.stdout.readline() for _ in range(acknowledged)]
        os.kill(process.pid, signal.SIGKILL)
        lines += process.stdout.readlines()
    assert process.returncode in {0, -signal.SIGKILL}
    # A log line says how many entries are inert; a line that was cut in half wasn't acknowledged.
    whole = [line for line in lines if line.startswith("moved ") and line.endswith("\n")]
    return [int(line.removeprefix("moved ")) for line in whole]


@pytest.mark.parametrize("encrypted", [False, True])
async def test_a_kill_in_the_middle_loses_and_doubles_nothing(tmp_path, encrypted):
    path = tmp_path / "store"
    settings = settings_of(path, encrypted=encrypted)
    store = opened(settings, "old model")
    for number in range(ENTRIES):
        await store.entries.put(entry(str(number), partition=OLD), vector(0, dimension=4))
    await store.close()

    chance = random.Random(5)
    rounds, moved = 0, []
    while len(moved) < ENTRIES:
        rounds += 1
        acknowledged = move_until_killed(path, chance.randrange(1, 120), encrypted=encrypted)
        assert check(settings).clean
        store = opened(settings, "new model")
        old, new = store.vectors.load(OLD)[0].tolist(), store.vectors.load(NEW)[0].tolist()
        assert sorted([*old, *new]) == list(range(1, ENTRIES + 1))
        assert {*moved, *acknowledged} <= set(new)
        assert store.stats().inert == len(old)
        for entry_id, found in zip(new, store.vectors.load(NEW)[1], strict=True):
            np.testing.assert_array_equal(found, vector(entry_id))
        entries = await all_entries(store.entries, "acme")
        assert [one.partition for one in entries] == [NEW if one.entry_id in set(new) else OLD for one in entries]
        assert await store.entries.find_exact(digest("7")) is not None
        await store.close()
        moved = new
    assert rounds > 3
    store = opened(settings, "new model")
    assert list(store.vectors.other_embedders()) == []
    await store.close()
