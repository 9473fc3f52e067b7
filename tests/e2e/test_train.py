"""The installed command trains an adapter of the real model, writes its card, and leaves nothing half done."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from semcache.embedding.adapter import read_adapter
from tests.support.adapters import BASE_SHA256
from tests.support.training_groups import write_groups
from tests.unit.cli.test_main import run

pytestmark = pytest.mark.model
LINEAR_LAYERS = 36
MAX_BYTES = 400_000


def test_a_training_writes_an_adapter_and_its_card(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    groups = write_groups(tmp_path / "groups.jsonl")
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(json.dumps({"a": "open the tap", "b": "close the tap", "same": 0}), "utf-8")
    out = tmp_path / "own.safetensors"
    arguments = ["--groups", str(groups), "--pairs", str(pairs), "--steps", "2", "--seeds", "1", "--held-back", "0.25"]
    command = ["train", "adapter", *arguments, "--licence", "our own", "--out", str(out)]
    ran = run(*command, OMP_NUM_THREADS="1")
    assert ran.returncode == 0, ran.stderr
    adapter = read_adapter(out)
    assert (adapter.name, adapter.base_sha256, len(adapter.layers)) == ("own", BASE_SHA256, LINEAR_LAYERS)
    assert out.stat().st_size < MAX_BYTES
    card = out.with_suffix(".md").read_text("utf-8")
    facts = ("groups.jsonl", "pairs.jsonl", "our own", "--steps 2", "single groups")
    for fact in (adapter.sha256, BASE_SHA256, *facts):
        assert fact in card
    assert {path.name for path in tmp_path.iterdir()} == {groups.name, pairs.name, out.name, "own.md"}
    again = run(*command)
    assert (again.returncode, "is there already" in again.stderr) == (1, True)


def test_an_interrupted_training_leaves_only_its_state(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    groups = write_groups(tmp_path / "groups.jsonl")
    out, state = tmp_path / "own.safetensors", tmp_path / "own.safetensors.partial"
    command = ["train", "adapter", "--groups", str(groups), "--seeds", "1", "--held-back", "0", "--out", str(out)]
    started = subprocess.Popen(
        [sys.executable, "-m", "semcache", *command, "--steps", "100000"],
        env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline_s = time.monotonic() + 100
        while not state.exists() and started.poll() is None and time.monotonic() < deadline_s:
            time.sleep(0.1)
        assert state.exists()
        started.send_signal(signal.SIGINT)
        started.communicate(timeout=60)
    finally:
        started.kill()
    assert started.returncode == 130
    assert not out.exists()
    other = run(*command, "--steps", "1")
    assert other.returncode == 1
    assert "is the state of a training with other data or settings" in other.stderr
    state.unlink()
    assert run(*command, "--steps", "1").returncode == 0
    assert "Nothing was held back" in out.with_suffix(".md").read_text("utf-8")
