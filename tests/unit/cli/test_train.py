"""Errors of `semcache train adapter`: a sentence and a way out, before any work is done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.training_groups import rows, write_groups
from tests.unit.cli.test_main import run

TESTED = "Which wine goes well with grilled salmon?"


def files(folder: Path) -> dict[str, str]:
    """Writes the files that the cases name, and returns their paths by name."""
    tested = [{**rows()[0], "texts": [TESTED, "which bottle for salmon"]}]
    contradicting = [{"a": "one", "b": "two", "same": 1}, {"a": "two", "b": "one", "same": 0}]
    trap = [{"a": "one", "b": "two", "same": 0}]
    (folder / "there.safetensors").write_bytes(b"")
    (folder / "page.md").write_text("# page\n\nNotes of my own.\n", "utf-8")
    (folder / "empty.jsonl").write_text("", "utf-8")
    (folder / "contradicting.jsonl").write_text("\n".join(map(json.dumps, contradicting)), "utf-8")
    (folder / "trap.jsonl").write_text("\n".join(map(json.dumps, trap)), "utf-8")
    return {
        "GROUPS": str(write_groups(folder / "groups.jsonl")),
        "TESTED": str(write_groups(folder / "tested.jsonl", tested)),
        "EMPTY": str(folder / "empty.jsonl"),
        "CONTRADICTING": str(folder / "contradicting.jsonl"),
        "TRAP": str(folder / "trap.jsonl"),
        "OUT": str(folder / "out.safetensors"),
        "PAGE": str(folder / "page.safetensors"),
        "THERE": str(folder / "there.safetensors"),
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--out", "OUT"], "There is nothing to train on"),
        (["--groups", "GROUPS", "--out", "/nowhere/a.safetensors"], "There is no folder /nowhere for the adapter"),
        (["--groups", "GROUPS", "--out", "adapter.bin"], "an adapter's file ends with .safetensors"),
        (["--groups", "GROUPS", "--out", "THERE"], "is there already"),
        (["--groups", "GROUPS", "--out", "PAGE"], "page.md is there already and is no adapter's card"),
        (["--groups", "GROUPS", "--out", "/proc/a.safetensors"], "The folder /proc can't be written"),
        (["--groups", "/nowhere.jsonl", "--out", "OUT"], "/nowhere.jsonl can't be read"),
        (["--groups", "EMPTY", "--out", "OUT"], "empty.jsonl is empty"),
        (["--groups", "GROUPS", "--groups", "GROUPS", "--out", "OUT"], "stands twice"),
        (["--groups", "TESTED", "--out", "OUT"], "that semcache's own quality is measured on"),
        (["--groups", "TESTED", "--leave-out-tested", "--out", "OUT"], "no two texts with one answer"),
        (["--pairs", "CONTRADICTING", "--out", "OUT"], "contradict each other"),
        (["--pairs", "TRAP", "--out", "OUT"], "no two texts with one answer"),
        (["--pairs", "/nowhere.jsonl", "--out", "OUT"], "/nowhere.jsonl can't be read"),
        (["--groups", "GROUPS", "--model", "/nowhere", "--out", "OUT"], "no place has the embedding model '/nowhere'"),
    ],
)
def test_an_error_is_a_sentence_with_a_hint(tmp_path: Path, arguments: list[str], expected: str) -> None:
    names = files(tmp_path)
    ran = run("train", "adapter", *(names.get(argument, argument) for argument in arguments), HF_HUB_OFFLINE="1")
    assert ran.returncode == 1, ran.stderr
    assert expected in ran.stderr
    assert len(ran.stderr.splitlines()) == 2
    assert ran.stdout == ""
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("arguments", [["--steps", "0"], ["--seeds", "0"], ["--held-back", "0.9"], ["--threads", "0"]])
def test_a_number_out_of_range_is_a_wrong_option(tmp_path: Path, arguments: list[str]) -> None:
    names = files(tmp_path)
    ran = run("train", "adapter", "--groups", names["GROUPS"], "--out", names["OUT"], *arguments)
    assert ran.returncode == 2
    assert "Invalid value" in ran.stderr
