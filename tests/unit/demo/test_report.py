"""Hits are judged by the request that their answer was made for, and the counts of a report add up."""

import io

import pytest
from rich.console import Console

from semcache.demo.correctness import HITS, Correctness, PlayedRequest, trace_hits
from semcache.demo.prompts import DemoRequest
from semcache.demo.report import Server, nearest_rank, report
from semcache.demo.table import keep_notice, print_report

SERVER = Server(
    address="127.0.0.1:50051",
    metrics_url="http://127.0.0.1:9464/metrics",
    requests=0,
    spent_nanousd=0,
    saved_nanousd=0,
    entries=0,
    embedder="a model (torch, cpu, fp32)",
    threshold=0.97,
)


def request(request_id, kind="first", of="", *, same=None, asked="", differs_in=""):
    messages = ({"role": "user", "content": asked or request_id},)
    return DemoRequest(request_id, "topic", kind, "gpt-4o", messages, of, same, differs_in)


def made(asked, entry_id, **fields):
    return PlayedRequest(asked, "miss", 0.4, entry_id=entry_id, stored=True, spent_nanousd=100, **fields)


def served(asked, entry_id, status="semantic_hit", **fields):
    return PlayedRequest(asked, status, 0.01, entry_id=entry_id, saved_nanousd=100, **fields)


def reported(played):
    return report(played, wall_s=1.0, callers=2, latency_scale=0.5, server=SERVER)


FIRST = request("c-to-f", asked="Celsius to Fahrenheit?")
TRAP = request("f-to-c", "trap", "c-to-f", same=False, asked="Fahrenheit to Celsius?", differs_in="direction")
REWORDED = request("c-to-f-2", "reworded", "c-to-f", same=True, asked="From Celsius to Fahrenheit?")
TRAP_AGAIN = request("f-to-c-2", "repeat", "f-to-c", same=True, asked="Fahrenheit to Celsius?")
OWN = request("line-1", "unlabelled", asked="Mine?")
OWN_AGAIN = request("line-2", "unlabelled", asked="Mine?")
OWN_OTHER = request("line-3", "unlabelled", asked="Mine too?")


def correctness(*played):
    return trace_hits(played)[-1].correctness


def test_an_answer_made_for_the_same_question_is_right():
    assert correctness(made(FIRST, "e1"), served(REWORDED, "e1")) is Correctness.RIGHT


def test_an_answer_made_for_what_a_trap_resembles_is_wrong():
    assert correctness(made(FIRST, "e1"), served(TRAP, "e1")) is Correctness.WRONG


def test_the_repeat_of_a_trap_belongs_to_the_trap():
    played = (made(FIRST, "e1"), made(TRAP, "e2"), served(TRAP_AGAIN, "e2", "exact_hit"))
    assert correctness(*played) is Correctness.RIGHT
    assert correctness(made(FIRST, "e1"), served(TRAP, "e1"), served(TRAP_AGAIN, "e1")) is Correctness.WRONG


def test_a_rewording_may_be_served_what_another_rewording_made():
    other = request("c-to-f-3", "reworded", "c-to-f", same=True)
    assert correctness(made(FIRST, "e1"), made(REWORDED, "e2"), served(other, "e2")) is Correctness.RIGHT


def test_unlabelled_prompts_are_right_only_word_for_word():
    assert correctness(made(OWN, "e1"), served(OWN_AGAIN, "e1", "coalesced")) is Correctness.RIGHT
    assert correctness(made(OWN, "e1"), served(OWN_OTHER, "e1")) is Correctness.UNJUDGED


def test_an_entry_that_this_run_did_not_make_is_unjudged():
    assert correctness(made(FIRST, "e1"), served(REWORDED, "older")) is Correctness.UNJUDGED


def test_what_was_not_stored_makes_no_entry():
    unstored = PlayedRequest(FIRST, "miss", 0.1, entry_id="e1", stored=False)
    assert correctness(unstored, served(REWORDED, "e1")) is Correctness.UNJUDGED


def a_run():
    live = request("now", "live")
    return (
        made(FIRST, "e1", reason="empty_partition"),
        served(request("again", "repeat", "c-to-f", same=True), "e1", "exact_hit", similarity=1.0),
        served(request("again-2", "repeat", "c-to-f", same=True), "e1", "coalesced"),
        served(TRAP, "e1", similarity=0.995),
        made(REWORDED, "e2", similarity=0.9, reason="below_threshold"),
        made(
            request("number", "trap", "c-to-f", same=False),
            "e3",
            similarity=0.98,
            reason="vetoed",
            vetoes=("numbers",),
            priced=False,
        ),
        PlayedRequest(live, "bypass", 0.2, reason="time_sensitive", spent_nanousd=50),
        PlayedRequest(request("broken"), "error", 0.1, reason="UPSTREAM_FAILED"),
    )


def test_the_figures_add_up():
    result = reported(a_run())
    assert result.requests == sum(result.by_status.values()) == sum(k.asked for k in result.by_kind.values()) == 8
    assert sum(result.by_status[status] for status in HITS) == 3
    assert result.hit_ratio == pytest.approx(3 / 6)
    assert (result.spent_nanousd, result.saved_nanousd, result.saved_by_wrong_nanousd) == (350, 300, 100)
    assert result.savings_percent == pytest.approx(100 * 300 / 650)
    assert result.unpriced == 1
    assert result.errors == {"UPSTREAM_FAILED": 1}
    assert result.traps_refused == {"vetoed by numbers": 1}
    for counts in result.by_kind.values():
        assert counts.asked == counts.right + counts.wrong + counts.unjudged + counts.forwarded + counts.failed
    assert {status: latency.count for status, latency in result.latency_ms.items()} == {
        status: count for status, count in result.by_status.items() if count
    }


def test_every_wrong_answer_and_every_missed_rewording_is_told():
    result = reported(a_run())
    (wrong,) = result.wrong_hits
    assert (wrong.asked, wrong.served, wrong.similarity) == (TRAP.asked, FIRST.asked, 0.995)
    (missed,) = result.rewordings_missed
    assert (missed.asked, missed.answered_by, missed.nearest_similarity) == (REWORDED.asked, FIRST.asked, 0.9)
    assert missed.reason == "below threshold"


def test_nothing_asked_of_the_cache_has_no_ratio():
    result = reported((PlayedRequest(request("now", "live"), "bypass", 0.2),))
    assert result.hit_ratio is None
    assert result.savings_percent is None


@pytest.mark.parametrize(("percent", "value"), [(50, 50), (99, 99), (100, 100), (1, 1)])
def test_percentiles_are_nearest_ranks(percent, value):
    assert nearest_rank([float(n) for n in range(100, 0, -1)], percent) == value


def test_percentiles_of_one_value_are_that_value():
    assert nearest_rank([7.0], 50) == nearest_rank([7.0], 99) == 7.0


def printed(result):
    console = Console(file=io.StringIO(), width=160)
    print_report(result, console)
    return console.file.getvalue()


def test_the_table_shows_all_wrong_and_missed_cases():
    text = printed(reported(a_run()))
    assert TRAP.asked in text
    assert REWORDED.asked in text
    assert "trap (direction)" in text
    assert "3 of 6" in text
    assert "50.0 %" in text
    assert "1 UPSTREAM_FAILED" in text
    assert "1 vetoed by numbers" in text
    assert "of that by wrong answers" in text


def test_prompts_are_no_markup():
    odd = request("odd", "reworded", "c-to-f", same=True, asked="What does [/bold] or [red] mean?")
    text = printed(reported((made(FIRST, "e1"), made(odd, "e2", similarity=0.2, reason="below_threshold"))))
    assert "What does [/bold] or [red] mean?" in text


def test_unlabelled_prompts_are_shown_unjudged_and_claim_nothing():
    text = printed(reported((made(OWN, "e1"), served(OWN_OTHER, "e1", similarity=0.98))))
    assert "unjudged" in text
    assert OWN_OTHER.asked in text
    assert "Wrong answers served" not in text
    assert "Rewordings missed" not in text


def test_the_notice_names_the_server_and_its_metrics():
    console = Console(file=io.StringIO(), width=200)
    console.print(keep_notice(SERVER.address, SERVER.metrics_url))
    text = console.file.getvalue()
    assert "semcache stats --address 127.0.0.1:50051" in text
    assert "curl http://127.0.0.1:9464/metrics" in text
    assert '{"prompt": {"text": {"model": "gpt-4o-mini"' in text
