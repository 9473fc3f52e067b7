"""How chunks become events, and how a hit's usage becomes zero."""

import json

import pytest

from semcache.server.http.protocols import data_event, without_usage


@pytest.mark.parametrize(
    ("data", "sent"),
    [
        (b'{"a":1}', b'data: {"a":1}\n\n'),
        (b'{"a":\n1}', b'data: {"a":\ndata: 1}\n\n'),
        (b'{"a":\r\n1}', b'data: {"a":\ndata: 1}\n\n'),
        (b'{"a":\r1}', b'data: {"a":\ndata: 1}\n\n'),
    ],
)
def test_a_line_break_stays_within_its_event(data: bytes, sent: bytes) -> None:
    assert data_event(data) == sent


def test_every_count_becomes_zero_and_nothing_else() -> None:
    usage = {"total_tokens": 30, "details": {"cached": 2, "flag": True, "tier": "flex", "cost": 0.5}, "parts": [1]}
    body = json.dumps({"choices": [{"index": 3}], "usage": usage}).encode()
    zeroed = json.loads(without_usage(body))
    assert zeroed["choices"] == [{"index": 3}]
    assert zeroed["usage"] == {
        "total_tokens": 0,
        "details": {"cached": 0, "flag": True, "tier": "flex", "cost": 0},
        "parts": [0],
    }


@pytest.mark.parametrize("body", [b'{"choices":[]}', b'{"choices":[],"usage":null}'])
def test_an_answer_without_usage_stays(body: bytes) -> None:
    assert json.loads(without_usage(body)) == json.loads(body)
