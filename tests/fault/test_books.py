"""Servers killed and stopped under load: callers, log, rollup, export, counters and budgets agree to the nanodollar."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.books import Books, Told, compare, compare_export, play
from semcache.model import Cost, Status
from semcache.store.rollup import rolled_up
from tests.support.ledgers import mixed_days, trim_log, write_ledger
from tests.support.stored import record


def test_money_never_drifts_though_servers_are_killed(tmp_path: Path) -> None:
    books, figures = play(tmp_path, requests=2_000, lives=3, callers=16, seed=7)
    assert books.problems == []
    assert figures["told"] > 1_500
    assert figures["exported"] == figures["lines"]
    assert figures["spent_nanousd"] > 0 < figures["saved_nanousd"]


def test_an_export_that_lacks_a_line_or_says_another_amount_is_seen(tmp_path: Path) -> None:
    lines = mixed_days()
    write_ledger(tmp_path / "store", lines)
    hours = rolled_up(lines).values()
    books = Books()
    assert compare_export(books, tmp_path / "store", hours) == len(lines)
    assert books.problems == []
    trim_log(tmp_path / "store", 1)
    compare_export(books, tmp_path / "store", hours)
    compare_export(books, tmp_path / "store", [replace(hour, saved_nanousd=hour.saved_nanousd + 1) for hour in hours])
    groups = {(hour.tenant, hour.model, hour.status) for hour in hours}
    assert len(books.problems) == 2 * (1 + len(groups))


SPENT = Cost(output_nanousd=10, priced=True)


def told(request_id: str, *, spent: int = 0, saved: int = 0, began: int, ended: int) -> Told:
    return Told(request_id, "miss" if spent else "exact_hit", spent, saved, began, ended, 0)


@pytest.mark.parametrize(
    ("one", "word"),
    [
        (told("gone", spent=10, began=8, ended=9), "missing"),
        (told("gone", saved=10, began=1, ended=2), "missing"),
        (told("spend", spent=11, began=8, ended=9), "another"),
    ],
)
def test_the_comparison_sees_what_is_wrong(one: Told, word: str) -> None:
    books = Books(told=[told("spend", spent=10, began=5, ended=6), one])
    compare(books, [record("spend", status=Status.MISS, spent=SPENT)], 1, {0})
    assert [word in problem for problem in books.problems] == [True]


def test_the_last_savings_before_a_kill_may_be_lost_and_are_counted() -> None:
    books = Books(told=[told("spend", spent=10, began=5, ended=6), told("gone", saved=10, began=5, ended=7)])
    figures = compare(books, [record("spend", status=Status.MISS, spent=SPENT)], 1, {0})
    assert (books.problems, figures["lost_to_kills"]) == ([], 1)
    compare(books, [record("spend", status=Status.MISS, spent=SPENT)], 1, set())
    assert len(books.problems) == 1
