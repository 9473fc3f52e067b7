"""After SIGKILL nothing acknowledged is missing, nothing half-written is served, and a check finds no problem."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from semcache.store import LmdbStore, check
from semcache.testing.clock import FakeClock
from tests.fault.storing import settings_of
from tests.support.stored import SECRET, digest, vector

ROOT = Path(__file__).resolve().parents[2]


def store_until_killed(path: Path, run: str, acknowledged: int, *, encrypted: bool) -> dict[str, int]:
    """Names and ids that the process printed; it is killed once it has printed so many."""
    command = [sys.executable, "-m", "tests.fault.storing", str(path), run, *["encrypted"] * encrypted]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        lines = [process.stdout.readline() for _ in range(acknowledged)]
        os.kill(process.pid, signal.SIGKILL)
        # What it had printed by then was acknowledged, too; a line that was cut in half wasn't.
        lines += process.stdout.readlines()
    assert process.returncode == -signal.SIGKILL
    return {name: int(entry_id) for name, entry_id in (line.split() for line in lines if line.endswith("\n"))}


@pytest.mark.parametrize(("rounds", "encrypted"), [(12, False), (2, True)])
async def test_kills_lose_nothing_that_was_acknowledged(tmp_path, rounds, encrypted):
    path = tmp_path / "store"
    settings = settings_of(path, encrypted=encrypted)
    chance = random.Random(9)
    acknowledged: dict[str, int] = {}
    for round_number in range(rounds):
        acknowledged |= store_until_killed(path, f"run{round_number}", chance.randrange(1, 400), encrypted=encrypted)
        report = check(settings)
        assert report.clean, report.problems
        store = LmdbStore.open(settings, FakeClock(), secret_key_ids=[SECRET])
        for name, entry_id in acknowledged.items():
            found = await store.entries.find_exact(digest(name))
            assert found is not None, f"{name} was acknowledged and is gone"
            assert found.answer.text.startswith(f"answer {name} ")
            assert found.entry_id == entry_id
        spent = {line.request_id for line in store.ledger.records(None, 0, 1e11)}
        assert acknowledged.keys() <= spent
        rolled_up = sum(hour.requests for hour in store.ledger.hours(None, 0, 1e11))
        assert rolled_up == sum(1 for _ in store.ledger.records(None, 0, 1e11))
        ids, vectors = store.vectors.load(digest("partition"))
        assert set(acknowledged.values()) <= set(ids.tolist())
        assert vectors.shape == (len(ids), len(vector()))
        await store.close()
    assert len(acknowledged) > rounds
    assert check(settings).clean
