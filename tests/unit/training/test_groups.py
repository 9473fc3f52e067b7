"""Groups are read whole, and a file that holds anything else is refused with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from semcache.errors import InvalidRequestError
from semcache.training.groups import Group, check_labels, read_groups
from tests.support.training_groups import groups, rows, write_groups

GOOD = rows()[0]


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_groups(write_groups(tmp_path / "groups.jsonl")) == groups()


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085"])
def test_only_line_feeds_end_lines(tmp_path: Path, separator: str) -> None:
    texts = [f"how do I mend{separator}my kettle", "repair of a broken kettle"]
    path = tmp_path / "groups.jsonl"
    line = json.dumps({**GOOD, "texts": texts}, ensure_ascii=False)
    path.write_bytes(f"{line}\r\n{line}\n".encode())
    assert [group.texts for group in read_groups(path)] == [tuple(texts)] * 2


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", "is empty"),
        ("{", "isn't JSON"),
        ("[1]", "is no JSON object"),
        (json.dumps({**GOOD, "texts": ["one text"]}), "is a group of one text"),
        (json.dumps({**GOOD, "texts": ["One  text", "one text"]}), "is a group of one text"),
        (json.dumps({**GOOD, "texts": "a text"}), "has no list of texts"),
        (json.dumps({**GOOD, "texts": ["a text", " "]}), "has an empty text"),
        (json.dumps({**GOOD, "texts": ["a text", 7]}), "something else than text"),
        (json.dumps({**GOOD, "traps": "none"}), "has traps that are no list"),
        (json.dumps({**GOOD, "traps": [{"kind": "verb"}]}), "in traps"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, line: str, expected: str) -> None:
    path = tmp_path / "groups.jsonl"
    path.write_text(line, "utf-8")
    with pytest.raises(InvalidRequestError, match=expected) as caught:
        read_groups(path)
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "groups.jsonl"
    with pytest.raises(InvalidRequestError, match="can't be read: No such file"):
        read_groups(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidRequestError, match="isn't UTF-8"):
        read_groups(path)


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (Group("g0", "d", "en", ("x", "y"), ()), "stands twice"),
        (Group("other", "d", "en", ("How do I  mend my kettle", "y"), ()), "also in the group g0"),
        (Group("other", "d", "en", ("x", "y"), ("X",)), "a trap that is also one of its texts"),
    ],
)
def test_groups_that_contradict_each_other_are_refused(second: Group, expected: str) -> None:
    check_labels(groups())
    with pytest.raises(InvalidRequestError, match=expected):
        check_labels((groups()[0], second))
