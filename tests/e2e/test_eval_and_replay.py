"""Runs `semcache eval`, `tune` and `replay` as a user does, with the real model."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tomllib
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
    ran = run("eval", str(file), "-t", "0.7", "-t", "0.999", "--json")
    assert ran.returncode == 0, ran.stderr
    lax, strict = json.loads(ran.stdout.splitlines()[-1])["files"][0]["scores"]
    assert (lax["threshold"], strict["threshold"]) == (0.7, 0.999)
    assert (lax["hits"]["count"], lax["hits"]["of"]) == (2, 2)
    assert (lax["traps"]["count"], lax["traps"]["of"]) == (0, 3)
    assert strict["hits"]["count"] <= 1
    table = run("eval", str(file), "-t", "0.7")
    assert "hits: one answer" in table.stdout


def test_replay_prints_hits_by_tier(tmp_path: Path) -> None:
    file = tmp_path / "stream.txt"
    file.write_text("How do I reset my password?\nhow do I reset my password?\n" * 3, "utf-8")
    ran = run("replay", str(file), "--callers", "1", "--latency-scale", "0", "--json")
    assert ran.returncode == 0, ran.stderr
    document = json.loads(ran.stdout.splitlines()[-1])
    assert document["requests"] == 6
    # A semantic hit is never promoted to an exact key: each rewording is a semantic hit again, or is stored once.
    assert document["statuses"]["exact_hit"]["requests"] >= 2
    assert document["statuses"]["miss"]["requests"] <= 2
    assert 0 < document["savings_percent"] < 100


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


def test_eval_compares_policies_and_reads_tables(tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["a", "b", "same", "kind"])
        writer.writerows(PAIRS)
    ran = run("eval", str(file), "--policy", "guarded:threshold=0.7", "--policy", "threshold=0.7,guards=none", "--json")
    assert ran.returncode == 0, ran.stderr
    (document,) = json.loads(ran.stdout.splitlines()[-1])["files"]
    guarded, bare = document["scores"]
    assert (guarded["policy"], bare["policy"]) == ("guarded", "threshold=0.7,guards=none")
    assert (guarded["hits"]["count"], bare["hits"]["count"]) == (2, 2)
    assert (guarded["traps"]["count"], bare["traps"]["count"]) == (0, 2)
    (difference,) = document["differences"]
    assert (difference["policy"], difference["from"]) == (bare["policy"], "guarded")
    assert difference["traps"]["difference"] == pytest.approx(2 / 3)
    table = run("eval", str(file), "--policy", "guarded:threshold=0.7", "--policy", "guards=none")
    assert "Points more or fewer than guarded" in table.stdout


def test_tune_proves_a_threshold_and_writes_its_page(tmp_path: Path) -> None:
    file, report = tmp_path / "pairs.jsonl", tmp_path / "report.html"
    question = "How do I reset the password of account {}"
    rows = [{"a": question.format(f"{n}?"), "b": question.format(n).lower(), "same": 1} for n in range(500)]
    rows += [{"a": f"Who is number {n}?", "b": "How do I bake bread?", "same": 0} for n in range(40)]
    file.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    ran = run(
        "tune", str(file), "--cost-of-wrong", "0.5", "--max-wrong-hit-ratio", "0.02", "--report", str(report), "--json"
    )
    assert ran.returncode == 0, ran.stderr
    document = json.loads(ran.stdout.splitlines()[-1])
    threshold = document["recommendation"]["proven"]["threshold"]
    assert 0.5 < threshold <= 1
    decision = tomllib.loads(document["toml"])["decision"]
    assert decision["threshold"] == threshold
    assert decision["tuned_for"] == document["tuned_for"]
    assert f"At {threshold:g} with guards" in report.read_text("utf-8")
    config = tmp_path / "semcache.toml"
    config.write_text(document["toml"], "utf-8")
    table = run("tune", str(file), "--config", str(config), "--max-wrong-hit-ratio", "0.001")
    assert table.returncode == 0, table.stderr
    told = " ".join(table.stdout.split())
    assert told.startswith(
        "No threshold is proven to keep within 0.1 % wrong answers per hit served. They do prove 2 %"
    )
    assert "more independent groups of connected texts are needed for 0.1 %" in told


def test_replay_compares_policies_over_one_stream(tmp_path: Path) -> None:
    file = tmp_path / "stream.jsonl"
    lines = [
        {"prompt": "Cancel my subscription", "cluster": "cancel", "at": 0},
        {"prompt": "Don't cancel my subscription", "cluster": "keep", "at": 1},
        {"prompt": "Cancel my subscription", "cluster": "cancel", "at": 2},
    ]
    file.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    policies = ("--policy", "guarded:threshold=0.8", "--policy", "bare:threshold=0.8,guards=none")
    ran = run("replay", str(file), *policies, "--callers", "1", "--latency-scale", "0", "--speed", "1000", "--json")
    assert ran.returncode == 0, ran.stderr
    guarded, bare = json.loads(ran.stdout.splitlines()[-1])["policies"]
    assert (guarded["wrong_hits"], guarded["judged_hits"], guarded["statuses"]["miss"]["requests"]) == (0, 1, 2)
    assert (bare["wrong_hits"], bare["judged_hits"], bare["wrong_hits_by_status"]) == (1, 2, {"semantic_hit": 1})
    table = run("replay", str(file), *policies, "--callers", "1", "--latency-scale", "0")
    assert "guarded" in table.stdout
    assert "judged by `cluster`" in table.stdout
