"""Tool calls of streams: without indexes, under one index, in pieces, repeated, or with an empty object first."""

import json

import pytest

from semcache.errors import UpstreamError
from semcache.protocols.wire import read_answer, replay_chunks
from tests.unit.protocols.chunks import OSLO, ROME, assembled, chunk, message_of, part


def call(call_id, name, arguments):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


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


def bare(name, arguments):
    return {"function": {"name": name, "arguments": arguments}}


def custom(text=None, name=None, **fields):
    said = {key: value for key, value in (("name", name), ("input", text)) if value is not None}
    return {**fields, "type": "custom", "custom": said}


CALLS |= {
    "an empty object first": (
        [[part("w", "{}", index=0, id="a", **F)], [part(None, OSLO, index=0)]],
        [call("a", "w", OSLO)],
    ),
    "an empty object first, then pieces": (
        [
            [part("w", "{}", index=0, id="a", **F)],
            [part(None, '{"city": ', index=0)],
            [part(None, '"Oslo"}', index=0)],
        ],
        [call("a", "w", OSLO)],
    ),
    "an empty object first, and the name and id again": (
        [[part("w", {}, index=0, id="a", **F)], [part("w", OSLO, index=0, id="a", **F)]],
        [call("a", "w", OSLO)],
    ),
    "an empty object first, without an id": (
        [[part("w", "{ }", index=0)], [part("w", OSLO, index=0)]],
        [bare("w", OSLO)],
    ),
    "all arguments so far with each piece": (
        [
            [part("w", "{", index=0, id="a", **F)],
            [part(None, '{"city": "O', index=0)],
            [part("w", OSLO, index=0, id="a")],
            [part("w", OSLO, index=0, id="a")],
        ],
        [call("a", "w", OSLO)],
    ),
    "all arguments so far, closed each time": (
        [[part("w", '{"city": ""}', index=0, id="a", **F)], [part(None, OSLO, index=0)]],
        [call("a", "w", OSLO)],
    ),
    "all of the name so far": (
        [[part("get_", "", index=0, id="a", **F)], [part("get_weather", index=0)], [part(None, OSLO, index=0)]],
        [call("a", "get_weather", OSLO)],
    ),
    "names without arguments, ids and indexes": (
        [[part("now")], [part("where")]],
        [{"function": {"name": "now", "arguments": ""}}, {"function": {"name": "where", "arguments": ""}}],
    ),
    "a custom tool's input in pieces": (
        [
            [custom("", "run", index=0, id="a")],
            [custom("{", index=0)],
            [custom("{ls", index=0)],
            [custom("}", index=0)],
        ],
        [{"id": "a", "type": "custom", "custom": {"name": "run", "input": "{{ls}"}}],
    ),
    "a custom tool beside a function": (
        [
            [custom("l", "run", index=0, id="a"), part("w", '{"city": ', index=1, id="b", **F)],
            [custom("s", index=0), part(None, '"Oslo"}', index=1)],
        ],
        [{"id": "a", "type": "custom", "custom": {"name": "run", "input": "ls"}}, call("b", "w", OSLO)],
    ),
}


@pytest.mark.parametrize("arguments", ["", "{}", OSLO, '{"city": "{"}'])
def test_arguments_of_json_are_sound(arguments):
    chunks = [chunk(tool_calls=[part("w", arguments[:3], id="a")]), chunk(tool_calls=[part(None, arguments[3:])])]
    older = [chunk(function_call={"name": "w", "arguments": arguments})]
    assert assembled(chunks).flaw == assembled(older).flaw == ""


@pytest.mark.parametrize("pieces", [[OSLO, ","], ['"a"', OSLO], ['{"a": 1'], [OSLO, "Oslo"]])
def test_arguments_that_are_no_json_are_a_flaw(pieces):
    assert assembled([chunk(tool_calls=[part(None, piece, index=0, id="a")]) for piece in pieces]).flaw
    assert assembled([chunk(function_call={"name": "w", "arguments": piece}) for piece in pieces]).flaw


@pytest.mark.parametrize("name", CALLS)
def test_each_tool_call_is_put_together_by_itself(name):
    deltas, calls = CALLS[name]
    chunks = [chunk(tool_calls=delta) for delta in deltas]
    body = assembled([*chunks, chunk(finish_reason="tool_calls")]).whole()
    assert json.loads(body)["choices"][0]["message"]["tool_calls"] == calls
    assert read_answer(body).tool_calls


def test_a_replay_numbers_the_calls_of_a_plain_answer_anew():
    calls = [{"index": 0, **call("a", "w", OSLO)}, {"index": 0, **call("b", "w", ROME)}]
    body = json.dumps(
        {"choices": [{"message": {"content": None, "tool_calls": calls}, "finish_reason": "tool_calls"}]}
    ).encode()
    again = assembled(replay_chunks(body, include_usage=False))
    assert message_of(again)["tool_calls"] == [call("a", "w", OSLO), call("b", "w", ROME)]


@pytest.mark.parametrize("index", [4096, "4096", 1e9, "9" * 5000])
def test_an_index_that_is_too_large_is_refused(index):
    with pytest.raises(UpstreamError, match="impossible index"):
        assembled([chunk(tool_calls=[part("w", OSLO, index=index, id="a")])])
    with pytest.raises(UpstreamError, match="impossible index"):
        assembled([chunk(index=index, content="a")])


@pytest.mark.parametrize("index", [-1, True, 0.5, "one", "-1", "", [], {}])
def test_what_is_no_index_counts_as_a_missing_one(index):
    parts = [part("w", '{"city": ', index=index, id="a"), part(None, '"Oslo"}', index=index)]
    other = part("w", ROME, index=index, id="b")
    assembler = assembled([*(chunk(index=index, tool_calls=[piece]) for piece in (*parts, other))])
    named = [(made["id"], made["function"]["arguments"]) for made in message_of(assembler)["tool_calls"]]
    assert named == [("a", OSLO), ("b", ROME)]


@pytest.mark.parametrize(("first", "second"), [("0", "1"), (0.0, 1.0), ("00", "01")])
def test_an_index_in_another_form_is_an_index(first, second):
    parts = [
        part("w", '{"city": ', index=first),
        part("v", '{"city": ', index=second),
        part(None, '"Oslo"}', index=first),
        part(None, '"Rome"}', index=second),
    ]
    assembler = assembled([chunk(tool_calls=[piece]) for piece in parts])
    assert [made["function"]["arguments"] for made in message_of(assembler)["tool_calls"]] == [OSLO, ROME]
    assert json.loads(assembled([chunk(index=second, content="a")]).whole())["choices"][0]["index"] == 1


def test_more_calls_than_any_provider_sends_are_refused():
    calls = [part("w", "{}", id=f"c{number}") for number in range(4097)]
    with pytest.raises(UpstreamError, match="too many"):
        assembled([chunk(tool_calls=calls)])
