"""Records that were left out: the first are named on standard error, the rest are counted."""

from __future__ import annotations

import pytest

from semcache.cli.skipped import SkippedRecords


@pytest.mark.parametrize(
    ("records", "more"), [(0, []), (5, []), (1_234, ["semcache: 1,229 more records were left out."])]
)
def test_five_are_named_and_the_rest_counted(records: int, more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    skipped = SkippedRecords()
    for number in range(records):
        skipped.add(f"f:{number} has no prompt, so it is left out.")
    skipped.finish()
    named = [f"semcache: f:{number} has no prompt, so it is left out." for number in range(min(5, records))]
    output = capsys.readouterr()
    assert (skipped.count, output.out, output.err.splitlines()) == (records, "", [*named, *more])
