"""`semcache eval` and `semcache replay` as a person runs them, with the real model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.model

PAIRS = [
    ("How do I reset my password?", "how do i reset my password", 1, "near repeat"),
    ("What is the capital of France?", "Which city is the capital of France?", 1, "reworded"),
    ("Convert 10 miles to kilometres", "Convert 12 miles to kilometres", 0, "number"),
    ("Cancel my subscription", "Don't cancel my subscription", 0, "negation"),
    ("How do I bake sourdough bread?", "Who wrote the Odyssey?", 0, "unrelated"),
]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "semcache", *arguments], capture_output=True, text=True, timeout=100)


def test_eval_prints_hits_and_traps(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    rows = [{"id": str(n), "a": a, "b": b, "same": same, "kind": kind} for n, (a, b, same, kind) in enumerate(PAIRS)]
    file.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    ran = run("eval", str(file), "-t", "0.8", "-t", "0.999", "--json")
    assert ran.returncode == 0, ran.stderr
    lax, strict = json.loads(ran.stdout.splitlines()[-1])["files"][0]["scores"]
    assert (lax["threshold"], strict["threshold"]) == (0.8, 0.999)
    assert (lax["hits"]["count"], lax["hits"]["of"]) == (2, 2)
    assert (lax["traps"]["count"], lax["traps"]["of"]) == (0, 3)
    assert strict["hits"]["count"] <= 1
    table = run("eval", str(file), "-t", "0.8")
    assert "hits: one answer" in table.stdout


def test_replay_prints_hits_by_tier(tmp_path: Path) -> None:
    file = tmp_path / "stream.txt"
    file.write_text("How do I reset my password?\nhow do I reset my password?\n" * 3, "utf-8")
    ran = run("replay", str(file), "--callers", "1", "--latency-scale", "0", "--json")
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout.splitlines()[-1])
    assert told["requests"] == 6
    # A semantic hit is never promoted to an exact key: each rewording is found by meaning again, or stored once.
    assert told["statuses"]["exact_hit"]["requests"] >= 2
    assert told["statuses"]["miss"]["requests"] <= 2
    assert 0 < told["savings_percent"] < 100


def test_eval_leaves_the_store_and_the_threshold_of_the_environment_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEMCACHE_STORE__PATH", str(tmp_path / "real"))
    monkeypatch.setenv("SEMCACHE_DECISION__THRESHOLD", "0.9999")
    file = tmp_path / "pairs.jsonl"
    a, b = "What is the capital of France?", "What's the capital of France?"
    file.write_text(json.dumps({"a": a, "b": b, "same": 1}), "utf-8")
    ran = run("eval", str(file), "-t", "0.8", "--json")
    assert ran.returncode == 0, ran.stderr
    (score,) = json.loads(ran.stdout.splitlines()[-1])["files"][0]["scores"]
    assert (score["threshold"], score["hits"]["count"]) == (0.8, 1)
    assert not (tmp_path / "real").exists()
