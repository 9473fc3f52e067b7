"""The documents' links lead somewhere, and the files that they name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "SECURITY.md")),
    *(ROOT / "docs").glob("*.md"),
    *(ROOT / "benchmarks").glob("*.md"),
    *(ROOT / "examples").rglob("README.md"),
    *(ROOT / "integrations").glob("*/README.md"),
]
# Where a document may look for a name such as `story/cache.py`, `calls.py` or `tests/contract/`.
ROOMS = [ROOT, *(path.parent for path in (ROOT / "semcache").rglob("__init__.py"))]


def without_code(page: str) -> str:
    return re.sub(r"```.*?```", "", page, flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", without_code(page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text("utf-8"))):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked), target


@pytest.mark.parametrize("name", ["architecture.md", "costs.md", "http.md", "routing.md", "quality.md", "security.md"])
def test_files_that_are_named_exist(name: str) -> None:
    page = without_code((ROOT / "docs" / name).read_text("utf-8"))
    named = {
        text
        for text in re.findall(r"`([\w./-]+)`", page)
        if re.search(r"(?:\.(?:py|toml|md|jsonl)|/)$", text) and "NAME" not in text
    }
    assert sorted(text for text in named if not any((room / text).exists() for room in ROOMS)) == []
