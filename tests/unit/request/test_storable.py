"""Which answers are stored, and the reason of each that isn't."""

import pytest

from semcache.model import Answer, Usage
from semcache.request import skip_reason
from tests.unit.request.keys import BASE, key


def answer(finish_reason="stop", text="Paris.", **fields):
    return Answer(body=b"{}", model="m", finish_reason=finish_reason, usage=Usage(1, 0, 1), text=text, **fields)


@pytest.mark.parametrize(
    "reason",
    ["stop", "eos", "eos_token", "end_turn", "STOP", "end", "stop_sequence", "COMPLETE", "", "null"],
)
def test_what_ended_by_itself_is_stored_in_whatever_words(reason):
    assert skip_reason(key(BASE), answer(reason)) == ""
    assert skip_reason(key(BASE), answer(reason, text=" ")) == "empty"


@pytest.mark.parametrize("reason", ["length", "max_tokens", "MAX_TOKENS"])
def test_what_was_cut_is_stored_at_the_callers_own_limit_alone(reason):
    assert skip_reason(key(BASE), answer(reason)) == "incomplete"
    assert skip_reason(key({**BASE, "max_tokens": 5}), answer(reason)) == ""
    assert skip_reason(key({**BASE, "max_tokens": -1}), answer(reason)) == "incomplete"


@pytest.mark.parametrize(
    ("finish_reason", "fields", "reason"),
    [
        ("tool_use", {}, "tool_calls"),
        ("stop", {"tool_calls": True}, "tool_calls"),
        ("SAFETY", {}, "filtered"),
        ("content_filter", {}, "filtered"),
        ("error", {}, "incomplete"),
        ("model_length", {}, "incomplete"),
        ("weird", {}, "unknown_finish_reason:weird"),
        ("stop", {"flaw": "not_mergeable"}, "not_mergeable"),
    ],
)
def test_what_isnt_a_whole_answer_has_its_reason(finish_reason, fields, reason):
    for body in (BASE, {**BASE, "max_tokens": 5}):
        assert skip_reason(key(body), answer(finish_reason, **fields)) == reason


def test_a_tool_call_is_stored_where_the_setting_says_so():
    calling = answer("tool_calls", text="", tool_calls=True)
    assert skip_reason(key(BASE), calling) == "tool_calls"
    assert skip_reason(key(BASE), calling, store_tool_calls=True) == ""
    assert skip_reason(key(BASE), answer(text=""), store_tool_calls=True) == "empty"
