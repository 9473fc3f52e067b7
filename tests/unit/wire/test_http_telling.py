"""What the headers of an answer say of the cache."""

import json

import pytest

from semcache.model import NO_COST, ZERO_COST, Answer, Cost, Response, Status, Usage
from semcache.wire.http_telling import told_comment, told_headers

ANSWER = Answer(b"{}", "m", "stop", Usage())


def told(status: Status, reason: str = "below_threshold", **fields) -> dict[str, str]:
    headers = told_headers(Response(status, reason, "m", request_id="r", **fields))
    assert len(dict(headers)) == len(headers)
    return {name.decode(): value.decode() for name, value in headers}


@pytest.mark.parametrize(
    ("status", "reason", "cache_status", "rfc", "match"),
    [
        (Status.EXACT_HIT, "exact_match", "HIT", "semcache; hit; detail=exact_match", "exact"),
        (Status.SEMANTIC_HIT, "above_threshold", "HIT", "semcache; hit; detail=above_threshold", "semantic"),
        (Status.COALESCED, "in_flight", "HIT", "semcache; fwd=miss; collapsed; detail=in_flight", "exact"),
        (
            Status.COALESCED,
            "above_threshold",
            "HIT",
            "semcache; fwd=miss; collapsed; detail=above_threshold",
            "semantic",
        ),
        (Status.MISS, "vetoed", "MISS", "semcache; fwd=miss; detail=vetoed", None),
        (Status.BYPASS, "requested", "BYPASS", "semcache; fwd=bypass; detail=requested", None),
        (Status.REFRESH, "requested", "BYPASS", "semcache; fwd=request; detail=requested", None),
        (Status.MISS, "no token: 1", "MISS", "semcache; fwd=miss", None),
    ],
)
def test_each_end_has_its_words(status: Status, reason: str, cache_status: str, rfc: str, match: str | None) -> None:
    headers = told(status, reason)
    assert (headers["x-cache-status"], headers["cache-status"]) == (cache_status, rfc)
    assert headers.get("x-cache-match") == match


@pytest.mark.parametrize(
    ("nanousd", "said"),
    [(0, "0"), (1, "0.000000001"), (9_000, "0.000009"), (2_500_000_000, "2.5"), (3_000_000_000, "3")],
)
def test_amounts_are_exact(nanousd: int, said: str) -> None:
    cost = Cost(output_nanousd=nanousd, priced=True)
    headers = told(Status.MISS, answer=ANSWER, cost=cost, saved=ZERO_COST)
    assert (headers["x-semcache-cost-usd"], headers["x-semcache-saved-usd"]) == (said, "0")


def test_an_unknown_price_is_no_amount() -> None:
    headers = told(Status.MISS, answer=ANSWER, cost=NO_COST, saved=NO_COST)
    assert not {"x-semcache-cost-usd", "x-semcache-saved-usd"} & headers.keys()


def test_before_an_answer_nothing_is_said_of_its_cost() -> None:
    headers = told(Status.MISS, cost=Cost(output_nanousd=1, priced=True), similarity=0.123456)
    assert "x-semcache-cost-usd" not in headers
    assert headers["x-cache-similarity"] == "0.1235"


def test_a_degraded_answer_is_marked() -> None:
    assert told(Status.MISS, answer=Answer(b"{}", "m", "stop", Usage(), degraded=True))["x-semcache-degraded"] == "true"


def test_the_comment_says_the_headers_on_one_line() -> None:
    response = Response(Status.SEMANTIC_HIT, "above_threshold", "m", answer=ANSWER, entry_id=7, age_s=3.9, hit_id="h")
    comment = told_comment(response)
    assert comment.startswith(b": semcache {")
    assert comment.endswith(b"}\n\n")
    assert comment.count(b"\n") == 2
    said = json.loads(comment.removeprefix(b": semcache "))
    assert (said["x-semcache-entry-id"], said["age"], said["x-semcache-hit-id"]) == ("e7", "3", "h")
