"""The summary of a replay, compared with counts made by hand."""

from __future__ import annotations

from semcache.evaluation.replay.playing_workload import AnsweredRequest, due_times
from semcache.evaluation.replay.summary import summarize_replay, wrong_hits
from semcache.evaluation.replay.workload import WorkloadRequest
from semcache.evaluation.statistics.scoring import Proportion
from semcache.model import Status


def request(label: str | None = None, at_s: float | None = None) -> WorkloadRequest:
    return WorkloadRequest(b"{}", "m", "", label=label, at_s=at_s)


def answered(status: Status, label: str | None = None, entry_id: str = "", *, stored: bool = False) -> AnsweredRequest:
    spent, saved = (1_000_000_000, 0) if status is Status.MISS else (0, 3_000_000_000)
    return AnsweredRequest(
        request(label), status, 0.01, entry_id=entry_id, stored=stored, spent_nanousd=spent, saved_nanousd=saved
    )


def test_a_hit_is_wrong_when_its_answer_was_made_for_another_label() -> None:
    results = [
        answered(Status.MISS, "a", "e1", stored=True),
        answered(Status.SEMANTIC_HIT, "a", "e1"),
        answered(Status.SEMANTIC_HIT, "b", "e1"),
        answered(Status.EXACT_HIT, "a", "e1"),
        answered(Status.SEMANTIC_HIT, "b", "made by others"),
        answered(Status.SEMANTIC_HIT, None, "e1"),
        answered(Status.MISS, None, "e2", stored=True),
        answered(Status.SEMANTIC_HIT, "a", "e2"),
        answered(Status.MISS, "c", "", stored=False),
    ]
    assert [wrong for _, wrong in wrong_hits(results)] == [False, True, False]
    summary = summarize_replay(results, 1.0)
    assert summary.wrong == Proportion(1, 3)
    assert summary.wrong_by_status == {Status.SEMANTIC_HIT: 1}
    assert summary.hits == Proportion(6, 9)
    assert (summary.spent_usd, summary.saved_usd) == (3.0, 18.0)
    assert summary.savings_percent == 100 * 18 / 21


def test_errors_and_bypasses_are_outside_the_hit_ratio() -> None:
    results = [
        answered(Status.BYPASS),
        AnsweredRequest(request(), Status.ERROR, 0.01, error="OVERLOADED"),
        AnsweredRequest(request(), Status.ERROR, 0.01, error="OVERLOADED"),
    ]
    summary = summarize_replay(results, 1.0)
    assert summary.errors == {"OVERLOADED": 2}
    assert summary.hits == Proportion(0, 0)
    assert summary.wrong == Proportion(0, 0)


def test_requests_are_due_as_they_came_so_many_times_as_fast() -> None:
    workload = [request(at_s=100.0), request(at_s=100.0), request(at_s=160.0)]
    assert due_times(workload, 1.0) == (0.0, 0.0, 60.0)
    assert due_times(workload, 60.0) == (0.0, 0.0, 1.0)
    assert due_times(workload, None) == (0.0, 0.0, 0.0)
    assert due_times([request(), request()], 1.0) == (0.0, 0.0)
    assert due_times([], 1.0) == ()
