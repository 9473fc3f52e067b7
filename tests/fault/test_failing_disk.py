"""A disk that fails while a process writes: the store is opened again, or the process ends and says why."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from semcache.store import LmdbStore, check
from semcache.testing.clock import FakeClock
from tests.support.stored import SECRET, store_settings

HERE = Path(__file__).resolve().parent
ONCE = [
    ("meta", errno.EIO, 1),
    ("meta", errno.EIO, 2),
    ("data", errno.EIO, 1),
    ("sync", errno.EIO, 1),
    ("data", errno.EROFS, 1),
    ("meta", errno.EROFS, 1),
]
"""Faults that one reopening mends."""
FULL = [
    ("meta", errno.ENOSPC, 1),
    ("data", errno.ENOSPC, 1),
    ("data", errno.EDQUOT, 1),
    ("data", errno.EFBIG, 1),
]
LONGER = [("all", errno.EIO, 3)]
"""Faults that a reopening doesn't mend at once."""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def run_with_failing_disk(tmp_path_factory: pytest.TempPathFactory) -> Run:
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("a disk that fails needs Linux and a C compiler")
    folder = tmp_path_factory.mktemp("shim")
    shim = folder / "failing_disk.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", shim, HERE / "failing_disk.c", "-ldl"], check=True)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tests.fault.failing", *arguments],
            cwd=HERE.parents[1],
            env={**os.environ, "LD_PRELOAD": str(shim), "FAILING_DISK": str(folder / "orders")},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture(scope="module")
def reports(run_with_failing_disk: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """What a process says of each fault, and of the store as another process finds it."""
    path = tmp_path_factory.mktemp("store") / "store"
    done = run_with_failing_disk("store", str(path), json.dumps(ONCE + FULL + LONGER))
    assert done.returncode == 0, done.stderr[-3000:]
    report = check(store_settings(path))
    assert report.clean, report.problems
    store = LmdbStore.open(store_settings(path), FakeClock(), secret_key_ids=[SECRET])
    lines = [line.request_id for line in store.ledger.records(None, 0, 1e11)]
    assert len(lines) == len(set(lines)), "a group was written twice"
    told = [json.loads(line) for line in done.stdout.splitlines()]
    return {each["fault"]: {**each, "found_later": lines} for each in told}


def name_of(fault: tuple[str, int, int]) -> str:
    return "-".join(map(str, fault))


@pytest.mark.parametrize("fault", ONCE, ids=name_of)
def test_after_one_fault_the_file_is_opened_again_and_nobody_notices(reports, fault):
    report = reports[name_of(fault)]
    name = name_of(fault)
    assert report["told"] == ["ok", "ok"]
    assert report["stored"]
    assert report["served"]
    assert report["searched"]
    assert report["writable"]
    assert report["lines"] == [f"after {name}", f"alone {name}", f"hit {name}", f"spend {name}"]
    assert set(report["lines"]) <= set(report["found_later"])
    assert report["reopened"] > 0


@pytest.mark.parametrize("fault", FULL, ids=name_of)
def test_every_kind_of_missing_room_refuses_entries_alone_and_by_one_reason(reports, fault):
    report = reports[name_of(fault)]
    name = name_of(fault)
    assert report["told"] == ["STORE_FULL", "ok"]
    assert not report["stored"]
    assert report["writable"]
    assert report["lines"] == [f"after {name}", f"alone {name}", f"hit {name}"]


@pytest.mark.parametrize("fault", LONGER, ids=name_of)
def test_after_a_longer_fault_what_was_noted_is_written_and_what_failed_was_told(reports, fault):
    report = reports[name_of(fault)]
    name = name_of(fault)
    assert report["told"] == ["STORE_FAILED", "STORE_FAILED"]
    assert report["lines"] == [f"after {name}", f"hit {name}"]
    assert report["writable"]


def test_a_disk_that_stays_broken_ends_the_process_which_says_why(run_with_failing_disk, tmp_path):
    done = run_with_failing_disk("server", str(tmp_path / "store"))
    assert done.returncode == 1, done.stderr[-3000:]
    answered, *health = [json.loads(line) for line in done.stdout.splitlines()]
    assert answered == {"text": "Answer to: Who answers now?", "skipped": "spend_not_durable"}
    assert [each["health"] for each in health] == ["SERVING", "NOT_SERVING"]
    events = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    (failed,) = [event for event in events if event["event"] == "server.store_failed"]
    assert "Input/output error" in failed["error"]
    (lost,) = [event for event in events if event["event"] == "store.lines_lost"]
    assert lost["spent_nanousd"] > 0
    assert "Restart" not in done.stderr
