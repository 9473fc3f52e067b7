"""The text of an answer that is cut: without escapes, and each thought once."""

import json

import pytest

from semcache.protocols.lost import ReceivedBody, read_lost

TEXT = 'Füße, „größer“: 日本 \U0001f600 a\\b "c"\n'
BODY = json.dumps({"model": "m", "choices": [{"message": {"content": TEXT}}]}).encode()
START = BODY.index(b"content") + len(b'content": "')
END = BODY.rindex(b'"}}]}')


def lost_text(body):
    lost = read_lost(ReceivedBody(begun=True, pieces=[body]), "m")
    return "" if lost is None else lost.text


@pytest.mark.parametrize("at", range(START, END + 1))
def test_a_cut_within_an_escape_drops_that_alone(at):
    text = lost_text(BODY[:at])
    assert len(text) <= len(TEXT)
    assert TEXT.startswith(text.rstrip("\ufffd"))  # Half of a pair has nothing to stand for.
    assert len(TEXT) - len(text) <= END - at


@pytest.mark.parametrize(
    ("written", "text"),
    [(r"a\\u00", "a\\u00"), (r"a\\\u00", "a\\"), (r"\x41\u00e4", "x41ä"), ("a\nb\\u00e4", "a\nbä"), (r"\u12zz", "zz")],
    ids=["no escape", "behind a backslash", "unknown", "a line break", "wrong digits"],
)
def test_odd_escapes_leave_the_others_readable(written, text):
    assert lost_text(b'{"choices":[{"message":{"content":"' + written.encode()) == text


@pytest.mark.parametrize(
    "message",
    [
        {"reasoning": "abc", "reasoning_content": "abc", "x": 1},
        {"reasoning": "abc", "reasoning_details": [{"type": "reasoning.text", "text": "abc"}], "x": 1},
        {"reasoning_content": "abc", "thinking_blocks": [{"type": "thinking", "thinking": "abc"}], "x": 1},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "abc"}]}], "x": 1},
        {"tool_calls": [{"type": "custom", "custom": {"input": "abc"}}], "x": 1},
        {"audio": {"transcript": "abc", "data": "AAAA"}, "x": 1},
    ],
    ids=["two names", "details", "blocks", "parts", "a custom tool", "audio"],
)
def test_each_text_of_a_cut_answer_counts_once(message):
    body = json.dumps({"choices": [{"message": message}]}).encode()
    assert lost_text(body[: body.rindex(b'"x"')]) == "abc"
