"""Errors at a terminal: a sentence, a hint and an exit code, and never a traceback."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

import semcache
from semcache.cli import main
from semcache.testing.embedder import HashingEmbedder
from semcache.testing.serving import serving
from tests.integration.calls import complete


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "semcache", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "100", **environment},
    )


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["nonsense"], 2, "No such command"),
        (["stats", "--nonsense"], 2, "No such option"),
        (["serve", "--config", "/nowhere.toml"], 2, "/nowhere.toml can't be read: No such file"),
        (["stats", "--address", "127.0.0.1:1"], 1, "No semcache server answers at 127.0.0.1:1"),
        (["explain", "--address", "127.0.0.1:1"], 1, "nothing to explain"),
        (["explain", "--file", "/nowhere.json"], 1, "/nowhere.json can't be read"),
        (["stats", "--address", ""], 1, "The address is empty"),
        (["stats", "--api-key", "key\n"], 1, "The API key has characters that can't be sent"),
        (["demo", "--prompts", "/nowhere.jsonl"], 1, "/nowhere.jsonl"),
    ],
)
def test_an_error_is_a_sentence_and_a_code(arguments: list[str], code: int, expected: str) -> None:
    ran = run(*arguments)
    assert ran.returncode == code
    assert expected in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""


def test_all_problems_of_a_configuration_are_told(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("[server]\nport = 99999\ncolour = 1\n", "utf-8")
    ran = run("serve", "-c", str(path))
    assert ran.returncode == 2
    assert ran.stderr.count("semcache: server.") == 2


def test_a_replay_to_nobody_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "stream.txt"
    file.write_text("one\ntwo\n", "utf-8")
    ran = run("replay", str(file), "--address", "127.0.0.1:1")
    assert ran.returncode == 1
    assert ran.stderr.startswith("semcache: No semcache server answers at 127.0.0.1:1")
    assert len(ran.stderr.splitlines()) == 2


def test_no_command_is_the_help_alone() -> None:
    ran = run()
    assert ran.returncode == 2
    assert "eval" in ran.stdout
    assert ran.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_behind_the_output_is_one_sentence() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "semcache", "--version"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert (ran.returncode, ran.stderr) == (1, "semcache: No space left on device.\n")


def test_a_defect_is_a_line_that_can_be_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def broken(*_arguments: object, **_options: object) -> None:
        raise KeyError("lost")

    monkeypatch.setattr("typer.main.get_command", broken)
    assert main() == 1
    stderr = capsys.readouterr().err
    assert "KeyError: 'lost'" in stderr
    assert "test_main.py:" in stderr
    assert "Traceback" not in stderr


def test_the_version() -> None:
    assert run("--version").stdout == f"semcache {semcache.__version__}\n"


def test_check_of_a_store_that_is_not_there(tmp_path: Path) -> None:
    ran = run("check", SEMCACHE_STORE__PATH=str(tmp_path / "none"))
    assert ran.returncode == 1
    assert "none" in ran.stderr
    assert "Traceback" not in ran.stderr


async def test_check_of_a_clean_store(tmp_path: Path) -> None:
    async with serving(path=tmp_path) as served:
        await complete(served, "one")
    ran = run("check", "--json", SEMCACHE_STORE__PATH=str(tmp_path))
    assert ran.returncode == 0
    document = json.loads(ran.stdout.splitlines()[-1])
    assert document["clean"]
    assert document["rows"]["entries"] == 1


async def test_stats_and_explain_of_a_running_server() -> None:
    sections = {
        "tasks": {
            "rules": [{"task_type": "support", "pattern": "password"}],
            "complexity": [{"complexity": "low"}],
        },
        "costs": {"budgets": [{"name": "a-day", "limit_usd": 2.5, "period": "day", "tenant": "*"}]},
    }
    async with serving(sections, embedder=HashingEmbedder(adapter="tuned")) as served:
        await complete(served, "How do I reset my 2 passwords?")
        stats = await asyncio.to_thread(run, "stats", "--json", SEMCACHE_ADDRESS=served.address)
        document = json.loads(stats.stdout.splitlines()[-1])["stats"]
        assert document["requests"]["miss"] == "1"
        assert document["embedder"]["adapter"] == "tuned"
        table = await asyncio.to_thread(run, "stats", SEMCACHE_ADDRESS=served.address)
        assert "hashing-384-tuned with tuned" in table.stdout
        assert "hit ratio" in table.stdout
        assert "This tenant's budgets" in table.stdout
        assert "$2.500000" in table.stdout
        asked = ("explain", "-m", "gpt-4o-mini", "How do I reset my 2 passwords?")
        ran = await asyncio.to_thread(run, *asked, SEMCACHE_ADDRESS=served.address)
        assert ran.stdout.startswith("EXACT_HIT: exact_match")
        for line in ("task type support, by entry", "would be asked: gpt-4o-mini"):
            assert line in ran.stdout
