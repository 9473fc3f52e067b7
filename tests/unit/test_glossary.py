"""The glossary's rules hold for the code: no class name twice, and none of those that were struck."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "semcache"
GENERATED = SOURCES / "v1"
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text("utf-8")


def places_by_class() -> dict[str, list[str]]:
    """Every class that stands at the top of a module, with the modules that have it."""
    places: dict[str, list[str]] = defaultdict(list)
    for path in sorted(SOURCES.rglob("*.py")):
        if GENERATED in path.parents:
            continue
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(path.relative_to(ROOT)))
    return places


def struck_classes() -> list[str]:
    """The left column of the glossary's table of struck class names."""
    section = GLOSSARY.partition("## Struck words")[2].partition("| word in prose |")[0]
    return re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)


def terms() -> list[str]:
    """The left column of all tables of words."""
    tables = GLOSSARY.partition("## Struck words")[0]
    return [line.split("|")[1].strip() for line in tables.splitlines() if re.match(r"\| (?!word |--)", line)]


def test_no_class_name_stands_twice():
    assert {name: places for name, places in places_by_class().items() if len(places) > 1} == {}


def test_no_struck_name_is_a_class():
    struck = struck_classes()
    assert len(struck) >= 5
    assert sorted(places_by_class().keys() & set(struck)) == []


def test_no_word_has_two_meanings():
    words = terms()
    assert len(words) > 100
    assert sorted({word for word in words if words.count(word) > 1}) == []


def test_a_meaning_is_one_line():
    for line in GLOSSARY.splitlines():
        if line.startswith("|"):
            assert line.count("|") == 3, line
            assert line.split("|")[2].strip(), line
