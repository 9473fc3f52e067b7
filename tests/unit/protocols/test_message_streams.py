"""Anthropic's streams: what their events make, and how whole messages are replayed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semcache.errors import UpstreamError, UpstreamRefusedError
from semcache.protocols.messages.replaying import replay_events
from semcache.protocols.sse import EventParser
from tests.unit.protocols.messages import (
    CALL,
    CITED,
    HIDDEN,
    SEARCHED,
    STOP,
    TEXT,
    THOUGHT,
    USAGE,
    assembled,
    begin,
    body,
    delta,
    end,
    message,
    start,
    whole,
)

PING = {"type": "ping"}
WORDS = st.text(max_size=200)
PLAIN_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
BLOCKS = st.one_of(
    st.builds(lambda words: {"type": "text", "text": words}, WORDS),
    st.builds(
        lambda words, notes: {"type": "text", "text": words, "citations": [{"cited_text": note} for note in notes]},
        WORDS,
        st.lists(WORDS, max_size=3),
    ),
    st.builds(lambda words, sign: {"type": "thinking", "thinking": words, "signature": sign}, WORDS, WORDS),
    st.builds(
        lambda kind, given: {"type": kind, "id": "t", "name": "f", "input": given},
        st.sampled_from(["tool_use", "server_tool_use", "mcp_tool_use"]),
        st.dictionaries(WORDS, PLAIN_JSON, max_size=3),
    ),
    st.sampled_from([HIDDEN, SEARCHED, {"type": "of_the_future", "text": "a", "thinking": 3}]),
)
MESSAGES = st.builds(
    lambda blocks, reason, beside: message(*blocks, stop_reason=reason, **beside),
    st.lists(BLOCKS, max_size=4),
    st.sampled_from(["end_turn", "max_tokens", "tool_use", "refusal"]),
    st.sampled_from([{}, {"container": {"id": "c"}}, {"context_management": {"applied_edits": []}}, {"usage": {}}]),
)


def sent(events):
    """The bytes of a stream as a provider sends it."""
    return b"".join(b"event: %b\ndata: %b\n\n" % (json.loads(event)["type"].encode(), event) for event in events)


@given(MESSAGES)
def test_a_replayed_message_makes_itself_again(value):
    value["usage"] = value["usage"] or {"input_tokens": 0, "output_tokens": 0}
    raw = json.dumps(value).encode()
    made = assembled(replay_events(raw))
    assert json.loads(made.whole()) == value
    assert made.is_complete
    assert made.flaw == ""


@given(MESSAGES, st.lists(st.integers(min_value=0, max_value=4_000), max_size=8))
def test_a_stream_makes_the_same_however_it_is_cut(value, cuts):
    events = list(replay_events(json.dumps(value).encode()))
    stream = sent(events)
    parser, read, before = EventParser(), [], 0
    for position in [*sorted(min(cut, len(stream)) for cut in cuts), len(stream)]:
        read += parser.feed(stream[before:position])
        before = position
    assert [event.data for event in read] == events
    assert assembled([event.data for event in read]).whole() == assembled(events).whole()


def test_a_replay_has_the_form_that_clients_know():
    events = [json.loads(event) for event in replay_events(body(THOUGHT, TEXT, CALL))]
    first, *_, last, stop = events
    assert first["message"]["content"] == []
    assert first["message"]["stop_reason"] is None
    assert first["message"]["usage"] == {**USAGE, "output_tokens": 0}
    assert last["type"] == "message_delta"
    assert last["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert last["usage"] == USAGE
    assert stop == STOP
    kinds = [(event["type"], event["delta"]["type"]) for event in events if "index" in event and "delta" in event]
    assert {kind for _, kind in kinds} == {"thinking_delta", "signature_delta", "text_delta", "input_json_delta"}
    begun = [event["content_block"] for event in events if event["type"] == "content_block_start"]
    assert begun == [
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "text", "text": ""},
        {**CALL, "input": {}},
    ]
    assert [event["index"] for event in events if event["type"] == "content_block_stop"] == [0, 1, 2]


def test_a_message_without_a_usage_or_a_reason_is_replayed_with_what_clients_expect():
    value = {name: part for name, part in message(CALL).items() if name not in {"usage", "stop_reason", "id"}}
    first, *_, last, _ = map(json.loads, replay_events(json.dumps(value).encode()))
    assert first["message"]["id"].startswith("msg_")
    assert first["message"]["usage"] == {"input_tokens": 0, "output_tokens": 0}
    assert last["delta"]["stop_reason"] == "tool_use"
    assert last["usage"]["output_tokens"] == 0


def test_a_stream_is_assembled_as_a_plain_answer_has_it():
    events = [
        start(),
        PING,
        begin(0, type="thinking", thinking="", signature=""),
        delta(0, "thinking_delta", thinking="The user asks "),
        delta(0, "thinking_delta", thinking="for a capital."),
        delta(0, "signature_delta", signature="c2lnbmVk"),
        {"type": "content_block_stop", "index": 0},
        begin(1, type="text", text="", citations=[]),
        delta(1, "citations_delta", citation={"type": "char_location", "cited_text": "so"}),
        delta(1, text="So it "),
        delta(1, text="says."),
        begin(2, type="tool_use", id="toolu_1", name="look_up", input={}),
        delta(2, "input_json_delta", partial_json=""),
        delta(2, "input_json_delta", partial_json='{"word": "cac'),
        delta(2, "input_json_delta", partial_json='he", "deep": [1, {"a": null}]}'),
        {"type": "of_the_future", "message": "passed over"},
        end(stop_reason="tool_use"),
        STOP,
    ]
    made = assembled(events)
    expected = message(THOUGHT, CITED, CALL, stop_reason="tool_use")
    assert json.loads(made.whole()) == expected
    assert list(json.loads(made.whole())) == list(expected)
    assert (made.is_complete, made.is_over, made.flaw) == (True, True, "")


def test_without_its_last_event_a_message_isnt_whole():
    made = assembled([start(), begin(), delta(text="Par"), end()])
    assert not made.is_complete
    made.finish()
    assert not made.is_complete


def test_what_the_end_tells_stands_in_the_message():
    made = whole(
        [
            start(container=None),
            {**end(stop_sequence="END", stop_reason="stop_sequence", container={"id": "c"}), "context_management": {}},
            STOP,
        ]
    )
    assert (made["stop_reason"], made["stop_sequence"], made["container"]) == ("stop_sequence", "END", {"id": "c"})
    assert made["context_management"] == {}
    assert made["usage"] == USAGE


def test_halves_of_a_pair_in_two_deltas_are_one_character():
    made = whole([start(), begin(), delta(text="\ud83d"), delta(text="\ude00"), end(), STOP])
    assert made["content"][0]["text"] == "\U0001f600"


def test_a_compaction_keeps_its_summary():
    events = [start(), begin(type="compaction", content=None), delta(kind="compaction_delta", content="So far."), STOP]
    assert whole(events)["content"] == [{"type": "compaction", "content": "So far."}]


@pytest.mark.parametrize(
    "part",
    [
        delta(kind="of_the_future", text="a"),
        delta(kind=None),
        delta(text=3),
        delta(kind="input_json_delta", partial_json='{"a": '),
        delta(kind="input_json_delta", partial_json='{"a": NaN}'),
        delta(kind="input_json_delta", partial_json="[" * 300 + "]" * 300),
    ],
    ids=["unknown", "without a type", "no text", "cut JSON", "NaN", "deep"],
)
def test_what_cant_be_put_together_is_flagged(part):
    made = assembled([start(), begin(type="tool_use", id="t", name="f", input={}), part, end(), STOP])
    assert made.flaw == "not_mergeable"
    json.loads(made.whole())


@pytest.mark.parametrize(
    "events",
    [
        [begin()],
        [STOP],
        [end()],
        [start(), start()],
        [{"type": "message_start", "message": None}],
        [start(), delta(text="a")],
        [start(), begin(), begin()],
        [start(), {**begin(), "index": -1}],
        [start(), {**begin(), "index": True}],
        [start(), begin(), {**delta(), "delta": None}],
        [b"[]"],
        [b"no JSON"],
    ],
    ids=lambda events: str(events)[:50],
)
def test_events_that_make_no_message_are_refused(events):
    with pytest.raises(UpstreamError) as caught:
        assembled(events)
    assert caught.value.http_status == 200


@pytest.mark.parametrize(
    ("kind", "status", "error_type"),
    [
        ("overloaded_error", 529, UpstreamError),
        ("api_error", 500, UpstreamError),
        ("timeout_error", 504, UpstreamError),
        ("rate_limit_error", 429, UpstreamRefusedError),
        ("invalid_request_error", 400, UpstreamRefusedError),
        ("of_the_future", 200, UpstreamError),
        (None, 200, UpstreamError),
    ],
)
def test_an_error_has_the_status_of_its_kind(kind, status, error_type):
    event = {"type": "error", "error": {"type": kind, "message": "No."}}
    with pytest.raises(error_type) as caught:
        assembled([start(), event])
    assert caught.value.http_status == status
    assert type(caught.value) is error_type
    assert json.loads(caught.value.body) == event
