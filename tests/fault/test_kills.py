"""A few rounds of the nightly kills, and that their checker sees each kind of broken promise."""

import json
import time
from pathlib import Path

import pytest

from tests.nightly import history as histories
from tests.nightly.history import History
from tests.nightly.kills import KINDS, play

ROUNDS = 6
ASKED, OTHER = "how does a ba differ from a do", "please tell me how does a ba differ from a do"


def answer(text: str, version: int) -> str:
    return json.dumps([text, version])


def test_killed_servers_lose_resurrect_and_forget_nothing(tmp_path: Path) -> None:
    kills = play(tmp_path, rounds=ROUNDS, seed=16, on_progress=lambda _: None)
    assert kills.problems == {}
    assert kills.rounds.total() + (kills.skipped != {}) == ROUNDS
    assert set(kills.rounds) | set(kills.skipped) == set(KINDS)
    assert kills.figures["killed"] >= ROUNDS - 2  # A drain may end before its kill.
    assert kills.figures["held"] > 100
    assert kills.figures["found_by_exact_hit"] > 50


@pytest.fixture
def told() -> History:
    """Callers stored a second answer for one request, after the first."""
    history = History()
    history.stored(ASKED, answer(ASKED, 1), entry_id="1")
    history.stored(ASKED, answer(ASKED, 2), entry_id="2")
    return history


def saw(history: History, asked: str, answered: str | None, status: str, sent_s: float = 0.0) -> None:
    history.saw(asked, answered, status, sent_s=sent_s)


def kinds_of(history: History) -> list[str]:
    return [kind for kind, _ in history.problems]


def test_what_was_told_is_right(told: History) -> None:
    saw(told, ASKED, answer(ASKED, 2), "exact_hit")
    saw(told, OTHER, answer(ASKED, 2), "semantic_hit")
    saw(told, OTHER, None, "miss")
    assert kinds_of(told) == []
    assert told.found.total() == 2


def test_an_entry_that_is_missing_is_lost_unless_it_may_be_evicted(told: History) -> None:
    saw(told, ASKED, None, "miss")
    assert kinds_of(told) == ["lost"]
    evicting = History(evicts=True)
    evicting.stored(ASKED, answer(ASKED, 1), entry_id="1")
    saw(evicting, ASKED, None, "miss")
    assert (kinds_of(evicting), evicting.evicted) == ([], 1)
    saw(evicting, ASKED, answer(ASKED, 1), "exact_hit")
    assert kinds_of(evicting) == ["resurrected"]


def test_an_entry_that_only_another_request_answers_for_is_lost(told: History) -> None:
    told.stored(OTHER, answer(OTHER, 1), entry_id="3")
    saw(told, OTHER, answer(ASKED, 2), "semantic_hit")
    assert kinds_of(told) == ["lost"]


@pytest.mark.parametrize("status", ["exact_hit", "semantic_hit"])
def test_a_replaced_or_removed_answer_is_resurrected(told: History, status: str) -> None:
    asked = ASKED if status == "exact_hit" else OTHER
    saw(told, asked, answer(ASKED, 1), status)
    told.removed(ASKED)
    saw(told, asked, answer(ASKED, 2), status)
    assert kinds_of(told) == ["resurrected", "resurrected"]


def test_a_verdict_that_is_forgotten_is_seen_over_stores_and_removals(told: History) -> None:
    told.judged_wrong(OTHER, ASKED)
    told.removed(ASKED)
    told.stored(ASKED, answer(ASKED, 3), entry_id="3")
    saw(told, OTHER, answer(ASKED, 3), "semantic_hit")
    assert kinds_of(told) == ["forgotten_verdict"]
    saw(told, ASKED, answer(ASKED, 3), "exact_hit")
    assert len(told.problems) == 1


def test_a_verdict_on_a_requests_own_entry_removes_it(told: History) -> None:
    told.judged_wrong(ASKED, ASKED)
    saw(told, ASKED, answer(ASKED, 2), "exact_hit")
    assert kinds_of(told) == ["resurrected"]


def test_another_requests_answer_is_wrong(told: History) -> None:
    saw(told, OTHER, answer(ASKED, 2), "exact_hit")
    saw(told, ASKED, answer(ASKED, 9), "exact_hit")
    assert kinds_of(told) == ["wrong", "wrong"]


def test_what_a_kill_interrupted_may_have_happened_and_is_known_once_it_is_seen(told: History) -> None:
    told.maybe_stored(ASKED)
    saw(told, ASKED, answer(ASKED, 3), "exact_hit")
    assert kinds_of(told) == []
    saw(told, ASKED, answer(ASKED, 2), "exact_hit")
    assert kinds_of(told) == ["resurrected"]
    told.maybe_removed(ASKED)
    saw(told, ASKED, None, "miss")
    saw(told, ASKED, answer(ASKED, 3), "exact_hit")
    assert kinds_of(told) == ["resurrected", "resurrected"]


def test_an_answer_that_has_expired_is_missing_and_not_served(monkeypatch: pytest.MonkeyPatch) -> None:
    history = History()
    history.stored(ASKED, answer(ASKED, 1), entry_id="1", expires_s=time.time() + 60)
    now_s = time.time() + 120
    monkeypatch.setattr(histories.time, "time", lambda: now_s)
    saw(history, ASKED, answer(ASKED, 1), "exact_hit", sent_s=now_s - 61)
    assert kinds_of(history) == []
    saw(history, ASKED, answer(ASKED, 1), "exact_hit", sent_s=now_s)
    saw(history, ASKED, None, "miss")
    assert kinds_of(history) == ["resurrected"]
