"""Truncated, empty, foreign and damaged data files: no signal, nothing wrong served, and a repair keeps what it can."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from semcache.disk import inspecting, pages
from tests.fault.reading import ENTRIES, fill

ROOT = Path(__file__).resolve().parents[2]
PAGE = 4096
FLIPS = 24


@pytest.fixture
async def whole(tmp_path) -> bytes:
    """A data file without the room that is allocated behind its last page."""
    await fill(tmp_path / "whole")
    with (tmp_path / "whole" / "data.mdb").open("rb") as file:
        used_bytes = (pages.meta_pages(file)[0].last_page + 1) * PAGE
        file.seek(0)
        return file.read(used_bytes)


def reports(folder: Path, files: list[bytes]) -> list[dict]:
    """Let one process read a store of each data file; return what it says of each."""
    paths = []
    for number, content in enumerate(files):
        path = folder / f"damaged{number}"
        path.mkdir()
        (path / "data.mdb").write_bytes(content)
        paths.append(str(path))
    done = subprocess.run(
        [sys.executable, "-m", "tests.fault.reading", *paths], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def flipped(content: bytes, position: int, bit: int) -> bytes:
    return content[:position] + bytes([content[position] ^ bit]) + content[position + 1 :]


async def test_a_truncated_file_is_refused_and_what_is_left_of_it_is_rebuilt(tmp_path, whole):
    count = len(whole) // PAGE
    files = [whole[: pages_left * PAGE] for pages_left in (count // 2, count * 3 // 4, count - 4)]
    files += [whole[: len(whole) // 2 + 1000]]
    for report in reports(tmp_path, files):
        assert report["open"] == "refused: STORE_DAMAGED"
        assert report["check"] == "refused: STORE_DAMAGED" or report["check"] > 0
        assert report["repair"].startswith("refused") or report["kept"]
        assert report["clean"] in {None, True}
        if report["after"]:
            assert report["after"]["wrong"] == 0


async def test_a_file_that_lacks_its_last_pages_keeps_most_of_its_entries(tmp_path, whole):
    (report,) = reports(tmp_path, [whole[: -2 * PAGE]])
    assert report["kept"]
    assert report["clean"]
    assert report["after"]["wrong"] == 0
    assert report["after"]["right"] >= ENTRIES // 2


@pytest.mark.parametrize("size", [0, 1, 100, PAGE - 1])
async def test_a_file_without_a_whole_page_is_refused_and_left_as_it_is(tmp_path, whole, size):
    (report,) = reports(tmp_path, [whole[:size]])
    for what in ("check", "open", "repair"):
        assert report[what] == "refused: STORE_DAMAGED"
    assert report["unchanged"]


@pytest.mark.parametrize("content", [b"not a database at all" * 1000, bytes(8 * PAGE), b"\xff" * 8 * PAGE])
async def test_a_foreign_file_is_refused_and_left_as_it_is(tmp_path, content):
    (report,) = reports(tmp_path, [content])
    for what in ("check", "open", "repair"):
        assert report[what] == "refused: STORE_DAMAGED"
    assert report["unchanged"]


@pytest.mark.parametrize("number", [0, 1], ids=["first meta page", "second meta page"])
@pytest.mark.parametrize(
    "field",
    [16, 20, 40, 136, 143, 144],
    ids=["magic", "version", "page size", "last page", "its high byte", "transaction"],
)
async def test_a_damaged_meta_page_is_refused_or_harmless_and_the_other_one_is_rebuilt_from(
    tmp_path, whole, number, field
):
    (report,) = reports(tmp_path, [flipped(whole, number * PAGE + field, 1 << 2 if field == 136 else 1)])
    assert report["clean"], report
    assert report["after"]["wrong"] == 0


@pytest.mark.parametrize("where", ["a header of a page", "anywhere"])
async def test_flipped_bits_serve_nothing_wrong_and_are_mended(tmp_path, whole, where):
    chance = random.Random(16)
    files = []
    for _ in range(FLIPS):
        position = chance.randrange(2 * PAGE, len(whole))
        if where == "a header of a page":
            position = position // PAGE * PAGE + chance.randrange(16)
        files.append(flipped(whole, position, 1 << chance.randrange(8)))
    for report in reports(tmp_path, files):
        if str(report["repair"]).startswith("refused"):
            assert report["unchanged"], report
            continue
        assert report["clean"], report
        assert report["after"]["wrong"] == 0, report
        assert report["after"]["right"] >= ENTRIES // 4, report  # A branch page leads to many rows.
        if isinstance(report["open"], dict):
            assert report["open"]["wrong"] == 0, report


async def test_a_whole_file_has_no_problem(tmp_path, whole):
    assert inspecting.problems(tmp_path / "whole" / "data.mdb") == []
    (report,) = reports(tmp_path, [whole])
    assert (report["check"], report["repair"], report["clean"]) == (0, "", True)
    assert report["open"] == {"right": ENTRIES, "wrong": 0, "lines": 2 * ENTRIES}
