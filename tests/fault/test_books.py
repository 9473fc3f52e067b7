"""Servers killed and stopped under load: callers, log, rollup, counters and budgets agree to the nanodollar."""

from pathlib import Path

import pytest

from benchmarks.books import Books, Told, compare, play
from semcache.model import Cost, Status
from tests.support.stored import record


def test_money_never_drifts_though_servers_are_killed(tmp_path: Path) -> None:
    books, figures = play(tmp_path, requests=2_000, lives=4, callers=16, seed=7)
    assert books.problems == []
    assert figures["told"] > 1_500
    assert figures["spent_nanousd"] > 0 < figures["saved_nanousd"]


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
