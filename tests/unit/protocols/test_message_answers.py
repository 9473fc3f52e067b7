"""Anthropic's whole messages: how they are read, shared, and counted when they are lost."""

import json

import pytest

from semcache.errors import UpstreamError
from semcache.model import Usage
from semcache.protocols.lost import ReceivedBody
from semcache.protocols.messages import FORM
from semcache.protocols.messages.reading import generated_text, read_message, without_thoughts
from tests.unit.protocols.messages import (
    CALL,
    HIDDEN,
    SEARCHED,
    STOP,
    TEXT,
    THOUGHT,
    begin,
    body,
    delta,
    end,
    message,
    start,
)


def lost(received):
    return FORM.lost(received, "asked")


def raw(*events):
    return [json.dumps(event).encode() for event in events]


def test_an_answer_is_read():
    answer = read_message(body(THOUGHT, TEXT, {"type": "text", "text": " Yes."}), target_model="asked")
    assert answer.text == "Paris, as far as anyone knows. Yes."
    assert (answer.model, answer.target_model, answer.finish_reason) == ("claude-sonnet-4-5", "asked", "end_turn")
    # Cached input stands beside the input.
    assert answer.usage == Usage(input_tokens=25, cached_input_tokens=5, output_tokens=10)
    assert not answer.tool_calls


def test_the_prompt_caches_parts_are_read():
    usage = {
        "input_tokens": 2_000,
        "cache_read_input_tokens": 300,
        "cache_creation_input_tokens": 100,
        "cache_creation": {"ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 40},
        "output_tokens": 7,
        "output_tokens_details": {"thinking_tokens": 3},
        "service_tier": "priority",
        "server_tool_use": {"web_search_requests": 2},
    }
    read = read_message(body(TEXT, usage=usage)).usage
    assert (read.input_tokens, read.cached_input_tokens, read.cache_write_tokens) == (2_400, 300, 100)
    assert (read.output_tokens, read.estimated, read.service_tier) == (7, False, "priority")
    assert dict(read.parts) == {"cache_write_1h": 40, "web_searches": 2}


@pytest.mark.parametrize(
    ("block", "calls"),
    [(CALL, True), ({**CALL, "type": "server_tool_use"}, False), ({**CALL, "type": "mcp_tool_use"}, False)],
)
def test_only_the_callers_own_tools_count_as_called(block, calls):
    assert read_message(body(TEXT, block)).tool_calls is calls


@pytest.mark.parametrize("value", [{"content": None}, {"content": "text"}, {"content": ["text"]}, {}])
def test_what_has_no_content_is_no_answer(value):
    with pytest.raises(UpstreamError, match="without content"):
        read_message(json.dumps(value).encode())


def test_an_error_with_a_status_of_success_has_its_own():
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "r"}
    with pytest.raises(UpstreamError, match="Overloaded") as caught:
        read_message(json.dumps(error).encode())
    assert caught.value.http_status == 529


def test_an_error_that_is_a_text_is_one_too():
    with pytest.raises(UpstreamError, match="no key"):
        read_message(b'{"error": "no key"}')


def test_all_that_was_generated_is_counted():
    text = generated_text(body(THOUGHT, HIDDEN, TEXT, CALL, SEARCHED))
    assert THOUGHT["thinking"] in text
    assert TEXT["text"] in text
    assert '"word": "cache"' in text
    assert HIDDEN["data"] not in text


def test_another_request_gets_no_thoughts():
    shared = json.loads(without_thoughts(body(THOUGHT, HIDDEN, TEXT)))
    assert shared == message(TEXT)


@pytest.mark.parametrize("content", [[TEXT], [{"type": "text", "text": "I am thinking."}]])
def test_an_answer_without_thoughts_keeps_its_bytes(content):
    unchanged = body(*content)
    assert without_thoughts(unchanged) is unchanged


def test_a_stream_that_broke_off_counts_its_start_and_the_text_that_came():
    chunks = raw(start(), begin(), delta(text="Paris, "), delta(kind="input_json_delta", partial_json="{"))
    read = lost(ReceivedBody(begun=True, chunks=chunks))
    assert (read.model, read.text, read.target_model) == ("claude-sonnet-4-5", "Paris, {", "asked")
    # The start's count of the output is of what was there then, so it doesn't count.
    assert read.usage == Usage(input_tokens=25, cached_input_tokens=5, estimated=True)


def test_a_stream_that_broke_off_behind_its_usage_costs_what_that_says():
    read = lost(ReceivedBody(begun=True, chunks=raw(start(), begin(), delta(text="Paris"), end())))
    assert read.usage == Usage(input_tokens=25, cached_input_tokens=5, output_tokens=10)


def test_events_that_were_never_passed_on_count_too():
    stream = b"".join(b"data: %b\n\n" % event for event in raw(start(), STOP))
    assert lost(ReceivedBody(begun=True, pieces=[stream])).usage.input_tokens == 25


@pytest.mark.parametrize(
    "received",
    [
        ReceivedBody(),
        ReceivedBody(begun=True, ended=True),
        ReceivedBody(begun=True, ended=True, pieces=[b"<html>"]),
        ReceivedBody(begun=True, pieces=[b'{"type":"error","error":{"type":"api_error","message":"No."}}']),
        ReceivedBody(begun=True, pieces=[b'{"type":"error","error":{"type":"api_err']),
        ReceivedBody(begun=True, ended=True, pieces=[b'event: error\ndata: {"type":"error","error":{}}\n\n']),
    ],
    ids=["no head", "nothing", "HTML", "an error", "a cut error", "an error event"],
)
def test_what_is_no_answer_costs_nothing(received):
    assert lost(received) is None


def test_a_plain_answer_that_is_cut_counts_its_text():
    whole = body(THOUGHT, TEXT)
    cut = whole[: whole.index(b" anyone")]
    read = lost(ReceivedBody(begun=True, pieces=[cut], declared_bytes=len(whole)))
    assert THOUGHT["thinking"] in read.text
    assert "Paris, as far as" in read.text
    assert read.text_chars > len(read.text)
    assert read.usage.estimated


def test_a_whole_answer_that_cant_be_used_costs_its_usage():
    assert lost(ReceivedBody(begun=True, ended=True, pieces=[body(TEXT)])).usage.output_tokens == 10
