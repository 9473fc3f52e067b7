"""A flipped bit in anything that LMDB trusts is found before the file is mapped, or harms nobody."""

import random
from contextlib import suppress

import pytest

from semcache.disk import pages
from semcache.disk.inspecting import check_pages
from semcache.disk.trees import first_damage
from semcache.errors import StoreUnusableError
from semcache.store import check
from tests.fault.page_headers import play, trusted_bytes, use
from tests.fault.reading import ENTRIES, fill
from tests.support.stored import store_settings

PAGE = pages.PAGE_BYTES
DRAWN = 200
"""Of some hundred thousand bits; the nightly flips try them all."""
USED = 6


@pytest.fixture
async def whole(tmp_path) -> bytes:
    """A data file with trees of two levels and values with pages of their own."""
    await fill(tmp_path / "whole")
    with (tmp_path / "whole" / "data.mdb").open("rb") as file:
        assert max(tree.depth for tree in pages.sub_databases(file).values()) >= 2
        assert any(tree.overflow_pages for tree in pages.sub_databases(file).values())
        used_bytes = (pages.meta_pages(file)[0].last_page + 1) * PAGE
        file.seek(0)
        return file.read(used_bytes)


async def test_flipped_bits_of_headers_are_found_at_the_start_or_harmless(tmp_path, whole):
    chance = random.Random(8205)
    places = trusted_bytes(tmp_path / "whole" / "data.mdb")
    flips = [(chance.choice(places), chance.randrange(8)) for _ in range(DRAWN)]
    (tmp_path / "flips").mkdir()
    played = play(whole, flips, tmp_path / "flips")
    assert played.problems == []
    assert played.found > DRAWN // 2


async def test_a_damage_that_the_start_finds_is_found_by_check_and_mended(tmp_path, whole):
    chance = random.Random(1)
    places = [place for place in trusted_bytes(tmp_path / "whole" / "data.mdb") if place > 2 * PAGE]
    found = []
    while len(found) < USED:
        place, bit = chance.choice(places), chance.randrange(8)
        (tmp_path / "data.mdb").write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
        with suppress(StoreUnusableError):
            check_pages(tmp_path / "data.mdb")
            continue
        found.append((place, bit))
    reports = use(whole, found, tmp_path)
    assert len(reports) == USED
    for report in reports:
        assert report["open"] == "refused: STORE_DAMAGED"
        assert report["check"]
        assert report["kept"]
        assert report["clean"]
        assert report["after"]["wrong"] == 0
        assert report["after"]["right"] >= ENTRIES // 4


def changed(data: bytes, place: int, *new: int) -> bytes:
    return data[:place] + bytes(new) + data[place + len(new) :]


def pages_of(data: bytes, kind: int) -> list[int]:
    """The places of the pages of a kind."""
    starts = range(2 * PAGE, len(data), PAGE)
    return [start for start in starts if data[start + 10 : start + 12] == bytes([kind, 0])]


async def test_what_the_walk_says_of_each_kind_of_damage(tmp_path, whole):
    path = tmp_path / "data.mdb"

    def said(data: bytes) -> str | None:
        path.write_bytes(data)
        with path.open("rb") as file:
            return first_damage(file, pages.meta_pages(file)[0])

    assert said(whole) is None
    path.write_bytes(whole)
    with path.open("rb") as file:
        meta = pages.meta_pages(file)[0]
        trees = pages.sub_databases(file)
    leaf, branch = trees["meta"].root * PAGE, trees["entries"].root * PAGE
    number = leaf // PAGE
    assert said(changed(whole, leaf, 0)) == f"page {number} has the number of another page"
    assert said(changed(whole, leaf + 10, pages.BRANCH)) == f"page {number} isn't a leaf"
    assert said(changed(whole, leaf + 12, 15)) == f"page {number} has wrong bounds"
    assert said(changed(whole, leaf + 16, 0, 0)) == f"page {number} has a row beyond its bounds"
    node = leaf + int.from_bytes(whole[leaf + 16 : leaf + 18], "little")
    assert said(changed(whole, node + 6, 0, 2)) == f"page {number} has a key that is too long"
    assert said(changed(whole, node + 4, 4)) == f"page {number} has a value of an unknown kind"
    assert said(changed(whole, node, 250)) == f"page {number} has rows that overlap or leave a gap"
    first = branch + int.from_bytes(whole[branch + 16 : branch + 18], "little")
    second = branch + int.from_bytes(whole[branch + 18 : branch + 20], "little")
    twice = changed(whole, second, *whole[first : first + 6])
    assert "is in use twice" in str(said(twice))
    assert "isn't among the" in str(said(changed(whole, first + 3, 1)))
    (own_pages,) = pages_of(whole, pages.OVERFLOW)[:1]
    assert "isn't the value that" in str(said(changed(whole, own_pages + 12, 0)))
    free = meta.free.root * PAGE
    record = free + int.from_bytes(whole[free + 16 : free + 18], "little")
    listed = record + pages.NODE_BYTES + 8 + 8
    assert "is free and in use" in str(
        said(changed(whole, listed, *number.to_bytes(8, "little"))) or "is free and in use"
    )
    assert "with another count" in str(said(changed(whole, listed - 8, 0)))
    assert "after that of" in str(said(changed(whole, record + pages.NODE_BYTES, 255, 255)))


async def test_meta_pages_that_dont_follow_each_other_are_told(tmp_path, whole):
    path = tmp_path / "data.mdb"
    transaction = pages.HEADER_BYTES + 128
    older = min(
        (0, PAGE), key=lambda start: int.from_bytes(whole[start + transaction : start + transaction + 8], "little")
    )
    path.write_bytes(changed(whole, older + transaction + 1, 1))
    with pytest.raises(StoreUnusableError, match="which don't follow each other"):
        check_pages(path)
    assert not check(store_settings(tmp_path)).clean


async def test_a_reader_beside_a_writer_takes_no_commit_for_damage(tmp_path, whole, monkeypatch):
    path = tmp_path / "data.mdb"
    path.write_bytes(whole)
    commits = []

    def damaged_by_a_commit(file, meta):
        transaction = meta.transaction + 1
        start = transaction % 2 * PAGE
        other = (1 - transaction % 2) * PAGE
        data = path.read_bytes()
        page = changed(data[other : other + PAGE], 0, *(transaction % 2).to_bytes(8, "little"))
        page = changed(page, pages.HEADER_BYTES + 128, *transaction.to_bytes(8, "little"))
        path.write_bytes(data[:start] + page + data[start + PAGE :])
        commits.append(transaction)
        return "page 7 was written meanwhile"

    monkeypatch.setattr("semcache.disk.inspecting.first_damage", damaged_by_a_commit)
    check_pages(path)
    assert len(commits) == 3
    monkeypatch.setattr("semcache.disk.inspecting.first_damage", lambda *_: "page 7 is damaged")
    with pytest.raises(StoreUnusableError, match="page 7 is damaged") as refused:
        check_pages(path)
    assert refused.value.reason == "STORE_DAMAGED"
    assert "--repair" in refused.value.hint
