"""The training groups keep their form, no text of them stands twice, and none is a text of a test set."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from semcache.training.tested import find_tested_texts

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "training/groups").glob("*.jsonl"))
KINDS = {
    *("accent", "antonym", "aspect", "comparison", "condition", "date", "direction", "entity", "format", "generality"),
    *("intent", "language", "modal", "negation", "number", "person", "presupposition", "qualifier", "quantifier"),
    *("role", "scope", "substitution", "tense", "tool", "unit", "verb"),
}
TEST_SETS = ("fow_cache/pairs.jsonl", "clusters/banking77_dev.jsonl", "pairs/paws_wiki_dev.jsonl")


def groups_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def texts_of(group: dict[str, Any]) -> Iterator[str]:
    yield from group["texts"]
    yield from (trap["text"] for trap in group["traps"])


def test_there_are_as_many_groups_as_the_page_says() -> None:
    page = (ROOT / "training/README.md").read_text("utf-8")
    assert f"has {sum(len(groups_of(path)) for path in FILES):,} groups" in page
    assert all(f"`{path.stem}`" in page for path in FILES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_line_is_a_group(path: Path) -> None:
    for group in groups_of(path):
        assert group.keys() == {"id", "domain", "lang", "texts", "traps"}, group["id"]
        assert 2 <= len(group["texts"]) <= 4, group["id"]
        assert 2 <= len(group["traps"]) <= 4, group["id"]
        assert all(trap.keys() == {"text", "kind"} and trap["kind"] in KINDS for trap in group["traps"]), group["id"]
        assert all(text == text.strip() and text for text in texts_of(group)), group["id"]


def test_no_text_and_no_id_stands_twice() -> None:
    groups = [group for path in FILES for group in groups_of(path)]
    ids = Counter(group["id"] for group in groups)
    texts = Counter(text for group in groups for text in texts_of(group))
    assert [name for name, count in (ids + texts).items() if count > 1] == []


def test_no_text_is_one_that_results_are_reported_on(shared_data: Path) -> None:
    reported = set()
    for name in TEST_SETS:
        for row in groups_of(shared_data / name):
            reported |= {row[field].casefold() for field in ("a", "b", "text") if field in row}
    ours = {text.casefold() for path in FILES for group in groups_of(path) for text in texts_of(group)}
    assert len(reported) > 10_000
    assert sorted(ours & reported) == []


def test_no_text_is_one_that_training_refuses() -> None:
    ours = [text for path in FILES for group in groups_of(path) for text in texts_of(group)]
    assert list(find_tested_texts(ours)) == []


def test_the_digests_of_tested_texts_are_those_of_the_shared_data(shared_data: Path) -> None:
    checked = subprocess.run(
        [sys.executable, "scripts/gen_tested_texts.py", "--check"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SEMCACHE_SHARED_DATA": str(shared_data)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
