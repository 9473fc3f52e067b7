"""Streams that don't keep to OpenAI's form: content in parts, tool calls without indexes, ends without a reason."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semcache.errors import UpstreamError
from semcache.upstream.assembly import Assembler
from semcache.upstream.wire import read_answer, replay_chunks

THINKING = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}
THINKING_ON = {"type": "thinking", "thinking": [{"type": "text", "text": ", yes."}]}
THOUGHT = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm, yes."}]}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}


def text(words):
    return {"type": "text", "text": words}


def chunk(index=0, finish_reason=None, **delta):
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish_reason}]}


def assembled(chunks):
    assembler = Assembler()
    for value in chunks:
        assembler.add(value if isinstance(value, bytes) else json.dumps(value).encode())
    return assembler


def message_of(assembler):
    return json.loads(assembler.completion())["choices"][0]["message"]


def contents(*pieces):
    return assembled([*(chunk(content=piece) for piece in pieces), chunk(finish_reason="stop")])


@pytest.mark.parametrize(
    ("pieces", "content", "answer"),
    [
        (["Hel", "lo"], "Hello", "Hello"),
        ([""], "", ""),
        ([[text("Hel")], [text("lo")]], [text("Hello")], "Hello"),
        ([[text("Hel"), text("lo")]], [text("Hello")], "Hello"),
        ([[text("Hel")], "lo"], [text("Hello")], "Hello"),
        (["Hel", [text("lo")]], [text("Hello")], "Hello"),
        (["Hel", [text("lo")], " there"], [text("Hello there")], "Hello there"),
        (["Hel", text("lo")], [text("Hello")], "Hello"),
        ([["Hel"], "lo"], "Hello", "Hello"),
        ([["Hel", None, "lo"]], "Hello", "Hello"),
        ([[THINKING], [text("")], [THINKING_ON], "a"], [THOUGHT, text("a")], "a"),
        ([[THINKING], [THINKING_ON], "Hel", "lo"], [THOUGHT, text("Hello")], "Hello"),
        (["Hel", [IMAGE], "lo"], [text("Hel"), IMAGE, text("lo")], "Hello"),
        ([[IMAGE], [IMAGE], "x"], [IMAGE, IMAGE, text("x")], "x"),
        ([[text("a")], [{**text("b"), "annotations": [1]}]], [text("a"), {**text("b"), "annotations": [1]}], "ab"),
        ([[THINKING], "Hel", "", [], "lo"], [THINKING, text("Hello")], "Hello"),
    ],
)
def test_texts_and_parts_keep_their_order(pieces, content, answer):
    assembler = contents(*pieces)
    assert message_of(assembler)["content"] == content
    assert read_answer(assembler.completion()).text == answer
    assert assembler.flaw == ""


@pytest.mark.parametrize(
    "pieces",
    [["a", 5], [5, "a"], ["a", [5]], ["a", True], [[["a"]]]],
)
def test_a_content_that_nobody_can_read_is_a_flaw_and_loses_nothing(pieces):
    assembler = contents(*pieces)
    assert assembler.flaw == "not_mergeable"
    shown = json.dumps(message_of(assembler)["content"])
    assert all(json.dumps(piece).strip("[]") in shown for piece in pieces)


@pytest.mark.parametrize(
    "values",
    [("so", ["far"]), (["far"], "so"), ("so", {"far": 1}), ({"far": 1}, "so"), ("so", 3)],
)
def test_a_field_that_changes_its_form_is_a_flaw(values):
    chunks = [chunk(content="a", reasoning=value) for value in values]
    assert assembled([*chunks, chunk(finish_reason="stop")]).flaw == "not_mergeable"


def test_lists_of_another_field_stay_lists():
    assembler = assembled([chunk(content="a", citations=["x"]), chunk(citations=["y"]), chunk(finish_reason="stop")])
    assert message_of(assembler)["citations"] == ["x", "y"]
    assert assembler.flaw == ""


_parts = st.one_of(
    st.text(max_size=6),
    st.lists(st.one_of(st.text(max_size=6).map(text), st.just(IMAGE), st.just(THINKING)), max_size=3),
)


@given(st.lists(_parts, min_size=1, max_size=6))
def test_no_text_is_lost_and_a_replay_gives_the_same_again(pieces):
    assembler = contents(*pieces)
    said = "".join(
        item if isinstance(item, str) else item.get("text", "")
        for piece in pieces
        for item in (piece if isinstance(piece, list) else [piece])
    )
    body = assembler.completion()
    assert read_answer(body).text == said
    again = assembled(replay_chunks(body, include_usage=False)).completion()
    assert read_answer(again).text == said
    kinds = [part["type"] for part in _listed(json.loads(body)) if part["type"] != "text"]
    assert [part["type"] for part in _listed(json.loads(again)) if part["type"] != "text"] == kinds


def _listed(completion):
    content = completion["choices"][0]["message"]["content"]
    return content if isinstance(content, list) else []


def part(name=None, arguments=None, **fields):
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {**fields, "function": function} if function else fields


def call(call_id, name, arguments):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


OSLO, ROME = '{"city": "Oslo"}', '{"city": "Rome"}'
F = {"type": "function"}
CALLS = {
    "one index and other ids": (
        [[part("w", OSLO, index=0, id="a", **F)], [part("w", ROME, index=0, id="b", **F)]],
        [call("a", "w", OSLO), call("b", "w", ROME)],
    ),
    "one index and other ids, each in pieces": (
        [
            [part("w", "", index=0, id="a", **F)],
            [part(None, '{"city": ', index=0)],
            [part(None, '"Oslo"}', index=0)],
            [part("w", "", index=0, id="b", **F)],
            [part(None, '{"city": ', index=0, id="")],
            [part(None, '"Rome"}', index=0)],
        ],
        [call("a", "w", OSLO), call("b", "w", ROME)],
    ),
    "one index and other ids in one delta": (
        [[part("w", OSLO, index=0, id="a", **F), part("w", ROME, index=0, id="b", **F)]],
        [call("a", "w", OSLO), call("b", "w", ROME)],
    ),
    "one index, and back to the first id": (
        [
            [part("w", '{"city": ', index=0, id="a", **F)],
            [part("v", ROME, index=0, id="b", **F)],
            [part(None, '"Oslo"}', index=0, id="a")],
        ],
        [call("a", "w", OSLO), call("b", "v", ROME)],
    ),
    "no index and new ids": (
        [[part("w", OSLO, id="a", **F)], [part("w", ROME, id="b", **F)]],
        [call("a", "w", OSLO), call("b", "w", ROME)],
    ),
    "no index, new ids, and pieces without an id": (
        [
            [part("w", "", id="a", **F)],
            [part(None, '{"city": ')],
            [part(None, '"Oslo"}')],
            [part("w", "", id="b", **F)],
            [part(None, ROME)],
        ],
        [call("a", "w", OSLO), call("b", "w", ROME)],
    ),
    "several in one delta without indexes and ids": (
        [[part("w", OSLO, **F), part("w", ROME, **F)]],
        [{**F, "function": {"name": "w", "arguments": OSLO}}, {**F, "function": {"name": "w", "arguments": ROME}}],
    ),
    "several in each delta without indexes and ids": (
        [
            [part("w", '{"city": ', **F), part("v", '{"city": ', **F)],
            [part(None, '"Oslo"}'), part(None, '"Rome"}')],
        ],
        [{**F, "function": {"name": "w", "arguments": OSLO}}, {**F, "function": {"name": "v", "arguments": ROME}}],
    ),
    "whole calls one after the other under one index with empty ids": (
        [[part("w", OSLO, index=0, id="", **F)], [part("w", ROME, index=0, id="", **F)]],
        [{**F, "function": {"name": "w", "arguments": OSLO}}, {**F, "function": {"name": "w", "arguments": ROME}}],
    ),
    "whole calls one after the other without anything": (
        [[part("w", OSLO)], [part("v", ROME)]],
        [{"function": {"name": "w", "arguments": OSLO}}, {"function": {"name": "v", "arguments": ROME}}],
    ),
    "ids and names repeated with each piece": (
        [
            [part("w", "", index=0, id="a", **F)],
            [part("w", '{"city": ', index=0, id="a", **F)],
            [part("w", '"Oslo"}', index=0, id="a", **F)],
        ],
        [call("a", "w", OSLO)],
    ),
    "ids repeated without an index": (
        [[part("w", '{"city": ', id="a", **F)], [part(None, '"Oslo"}', id="a", **F)]],
        [call("a", "w", OSLO)],
    ),
    "a new id with each piece": (
        [
            [part("w", "", index=0, id="a", **F)],
            [part(None, '{"city": ', index=0, id="x")],
            [part(None, '"Oslo"}', index=0, id="y")],
        ],
        [call("a", "w", OSLO)],
    ),
    "one id for calls under two indexes": (
        [[part("w", OSLO, index=0, id="w", **F)], [part("w", ROME, index=1, id="w", **F)]],
        [call("w", "w", OSLO), call("w", "w", ROME)],
    ),
    "an id that comes late": (
        [[part("w", '{"city": ', index=0, id="", **F)], [part(None, '"Oslo"}', index=0, id="a")]],
        [{"type": "function", "id": "a", "function": {"name": "w", "arguments": OSLO}}],
    ),
    "a name in pieces": (
        [[part("get_", "", index=0, id="a", **F)], [part("weather", index=0)], [part(None, OSLO, index=0)]],
        [call("a", "get_weather", OSLO)],
    ),
    "arguments as an object": (
        [[part("w", {"city": "Oslo"}, id="a", **F)]],
        [call("a", "w", OSLO)],
    ),
    "indexes in another order": (
        [[part("w", ROME, index=1, id="b", **F)], [part("w", OSLO, index=0, id="a", **F)]],
        [call("a", "w", OSLO), call("b", "w", ROME)],
    ),
    "null as index": (
        [[part("w", OSLO, index=None, id="a", **F)], [part("w", ROME, index=None, id="b", **F)]],
        [call("a", "w", OSLO), call("b", "w", ROME)],
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_each_tool_call_is_put_together_by_itself(name):
    deltas, calls = CALLS[name]
    chunks = [chunk(tool_calls=delta) for delta in deltas]
    body = assembled([*chunks, chunk(finish_reason="tool_calls")]).completion()
    assert json.loads(body)["choices"][0]["message"]["tool_calls"] == calls
    assert read_answer(body).tool_calls


def test_a_replay_numbers_the_calls_of_a_plain_answer_anew():
    calls = [{"index": 0, **call("a", "w", OSLO)}, {"index": 0, **call("b", "w", ROME)}]
    body = json.dumps(
        {"choices": [{"message": {"content": None, "tool_calls": calls}, "finish_reason": "tool_calls"}]}
    ).encode()
    again = assembled(replay_chunks(body, include_usage=False))
    assert message_of(again)["tool_calls"] == [call("a", "w", OSLO), call("b", "w", ROME)]


@pytest.mark.parametrize("index", [-1, 4096, "0", True, 1.0])
def test_an_impossible_index_of_a_tool_call_is_refused(index):
    with pytest.raises(UpstreamError, match="impossible index"):
        assembled([chunk(tool_calls=[part("w", OSLO, index=index, id="a")])])


def test_more_calls_than_any_provider_sends_are_refused():
    calls = [part("w", "{}", id=f"c{number}") for number in range(4097)]
    with pytest.raises(UpstreamError, match="too many"):
        assembled([chunk(tool_calls=calls)])


@pytest.mark.parametrize("silent", [None, "", "null", "NONE"])
@pytest.mark.parametrize(
    ("delta", "reason"),
    [
        ({"content": "Hi."}, "stop"),
        ({"content": [text("Hi.")]}, "stop"),
        ({"tool_calls": [part("w", OSLO, id="a")]}, "tool_calls"),
        ({"function_call": {"name": "w", "arguments": "{}"}}, "tool_calls"),
    ],
)
def test_a_stream_that_says_done_has_ended_by_itself(silent, delta, reason):
    assembler = assembled([chunk(finish_reason=silent, **delta)])
    assert not assembler.is_complete
    assembler.finish()
    assert assembler.is_complete
    assert json.loads(assembler.completion())["choices"][0]["finish_reason"] == reason


@pytest.mark.parametrize("delta", [{}, {"role": "assistant"}, {"content": ""}, {"content": None}, {"content": []}])
def test_a_stream_without_content_isnt_whole_though_it_says_done(delta):
    assembler = assembled([chunk(**delta)])
    assembler.finish()
    assert not assembler.is_complete


def test_done_doesnt_replace_a_reason_that_was_said():
    assembler = assembled([chunk(content="Hi.", finish_reason="eos_token"), chunk()])
    assembler.finish()
    assert json.loads(assembler.completion())["choices"][0]["finish_reason"] == "eos_token"
