"""The glossary has one meaning for each word, and no class has a name that was struck."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "semcache"
GENERATED = SOURCES / "v1"
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text("utf-8")


def classes() -> set[str]:
    """The names of all classes that stand at the top of a module."""
    paths = (path for path in SOURCES.rglob("*.py") if GENERATED not in path.parents)
    nodes = (node for path in paths for node in ast.parse(path.read_text("utf-8")).body)
    return {node.name for node in nodes if isinstance(node, ast.ClassDef)}


def struck_classes() -> list[str]:
    """The left column of the glossary's table of struck class names."""
    section = GLOSSARY.partition("## Struck words")[2].partition("| word in prose |")[0]
    return re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)


def terms() -> list[str]:
    """The left column of all tables of words."""
    tables = GLOSSARY.partition("## Struck words")[0]
    return [line.split("|")[1].strip() for line in tables.splitlines() if re.match(r"\| (?!word |--)", line)]


def test_no_struck_name_is_a_class():
    struck = struck_classes()
    assert len(struck) >= 5
    assert sorted(classes() & set(struck)) == []
    assert "SemanticCache" in classes()


def test_no_word_has_two_meanings():
    words = terms()
    assert len(words) > 100
    assert sorted({word for word in words if words.count(word) > 1}) == []


def test_a_meaning_is_one_line():
    for line in GLOSSARY.splitlines():
        if line.startswith("|"):
            assert line.count("|") == 3, line
            assert line.split("|")[2].strip(), line
