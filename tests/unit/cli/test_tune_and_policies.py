"""Errors of `semcache tune`, and of `eval` and `replay` with policies."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import semcache
from tests.unit.cli.test_main import run

PAIRS = [{"a": "one", "b": "two", "same": 1}, {"a": "one", "b": "three", "same": 0}]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(map(json.dumps, PAIRS)), "utf-8")
    return file


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["tune"], "There is nothing to tune from"),
        (["tune", "PAIRS", "--store", "/nowhere"], "Labels come from files or from a store, not from both"),
        (["tune", "--store", "/nowhere"], "there is no store at /nowhere"),
        (["tune", "/nowhere.jsonl"], "/nowhere.jsonl can't be read"),
        (["tune", "PAIRS", "--traffic", "/nowhere.txt"], "/nowhere.txt can't be read"),
        (["tune", "PAIRS", "--max-wrong-hit-ratio", "0"], "--max-wrong-hit-ratio is 0"),
        (["tune", "PAIRS", "--confidence", "1"], "--confidence is 1"),
        (["tune", "PAIRS", "--trap-share", "1.5"], "--trap-share is 1.5"),
        (["tune", "PAIRS", "--guards", "numbers+sense"], "There is no guard 'sense'"),
        (["tune", "PAIRS", "--report", "/nowhere/report.html"], "There is no folder /nowhere for the report"),
        (["eval", "PAIRS", "-t", "1.5"], "The threshold is 1.5, and a threshold is a cosine"),
        (["eval", "PAIRS", "-t", "nan"], "The threshold is nan"),
        (["eval", "PAIRS", "--policy", "guards=sense"], "There is no guard 'sense'"),
        (["eval", "PAIRS", "--policy", "threshold=2"], "is 2, and a threshold is a cosine"),
        (["eval", "PAIRS", "--policy", "threshold=.9", "-t", "0.9"], "Both --threshold and --policy"),
        (["eval", "PAIRS", "--policy", "threshold=.9", "--shared"], "--shared lets all of them meet"),
        (["replay", "PAIRS"], "begins a file of labelled pairs"),
        (["replay", "STREAM", "--policy", "threshold=.9", "--address", "127.0.0.1:1"], "decides by its own policy"),
        (["replay", "STREAM", "--speed", "0"], "--speed is '0'"),
        (["replay", "STREAM", "--speed", "fast"], "--speed is 'fast'"),
        (["replay", "STREAM", "--speed", "60"], "don't say when they came"),
    ],
)
def test_an_error_is_a_sentence_with_a_hint(pairs: Path, arguments: list[str], expected: str) -> None:
    stream = pairs.with_name("stream.txt")
    stream.write_text("one\ntwo\n", "utf-8")
    names = {"PAIRS": str(pairs), "STREAM": str(stream)}
    ran = run(*(names.get(argument, argument) for argument in arguments))
    assert ran.returncode == 1
    assert expected in ran.stderr
    assert len(ran.stderr.splitlines()) == 2
    assert ran.stdout == ""


def test_a_folder_that_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"text" * 5000)
    ran = run("tune", "--store", str(tmp_path))
    assert ran.returncode == 1
    assert str(tmp_path) in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_guard_that_the_configuration_invents_is_told_before_anything_is_read(pairs: Path) -> None:
    ran = run("tune", str(pairs), SEMCACHE_DECISION__GUARDS='["sense"]')
    assert ran.returncode == 2
    assert "there is no guard 'sense'" in ran.stderr


def test_without_matplotlib_a_report_is_one_sentence_and_all_else_works(pairs: Path, tmp_path: Path) -> None:
    code = (
        "import importlib.util as u, sys; find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'matplotlib' else find(name, *rest)\n"
        "sys.modules['matplotlib'] = None\n"
        "from semcache.cli import main; sys.exit(main())\n"
    )
    arguments = ["tune", str(pairs), "--report", str(tmp_path / "report.html")]
    ran = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 1
    assert ran.stderr.splitlines() == [
        "semcache: matplotlib is not installed, and a report's charts are drawn with it.",
        "  Install semcache-server[reports], or leave --report out.",
    ]
    assert (
        semcache.__version__
        in subprocess.run([sys.executable, "-c", code, "--version"], capture_output=True, text=True, timeout=60).stdout
    )
