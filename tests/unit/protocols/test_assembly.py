"""Streams that don't keep to OpenAI's form: content in parts, tool calls without indexes, ends without a reason."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semcache.protocols.wire import read_answer, replay_chunks
from tests.unit.protocols.chunks import OSLO, assembled, chunk, message_of, part

THINKING = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}
THINKING_ON = {"type": "thinking", "thinking": [{"type": "text", "text": ", yes."}]}
THOUGHT = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm, yes."}]}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}


def text(words):
    return {"type": "text", "text": words}


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
    assert read_answer(assembler.whole()).text == answer
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


@pytest.mark.parametrize(
    "delta",
    [
        {"function_call": "f"},
        {"function_call": ["f"]},
        {"tool_calls": [{"id": "1", "function": "f"}]},
        {"tool_calls": [{"id": "1", "custom": "f"}]},
        {"tool_calls": [part("f", "{}", id="1"), {"id": "2", "function": ["g"]}]},
    ],
)
def test_a_call_that_isnt_read_is_a_flaw(delta):
    assert assembled([chunk(**delta), chunk(finish_reason="stop")]).flaw == "not_mergeable"


SOURCE, OTHER = {"url": "u1"}, {"url": "u2"}


@pytest.mark.parametrize("name", ["citations", "search_results"])
@pytest.mark.parametrize(
    ("values", "list_of_all"),
    [
        ([[], ["u1"]], ["u1"]),
        ([["u1"], []], ["u1"]),
        ([["u1"], ["u1", "u2"]], ["u1", "u2"]),
        ([["u1"], ["u1"], ["u1", "u2"], ["u1", "u2"]], ["u1", "u2"]),
        ([["u1"], ["u2"]], ["u1", "u2"]),
        ([["u1", "u2"], ["u2", "u3"]], ["u1", "u2", "u3"]),
        ([[SOURCE], [SOURCE, OTHER]], [SOURCE, OTHER]),
        ([[SOURCE], [OTHER], [SOURCE, OTHER]], [SOURCE, OTHER]),
        ([None, ["u1"], None], ["u1"]),
    ],
)
def test_a_list_that_is_sent_again_is_one_list(name, values, list_of_all):
    in_head = assembled([{**chunk(content="a"), name: value} for value in values])
    assert json.loads(in_head.whole())[name] == list_of_all
    in_delta = assembled([chunk(content="a", **{name: value}) for value in values])
    assert message_of(in_delta)[name] == list_of_all
    in_choice = assembled([{"choices": [{"delta": {}, name: value}]} for value in values])
    assert json.loads(in_choice.whole())["choices"][0][name] == list_of_all
    assert in_head.flaw == in_delta.flaw == in_choice.flaw == ""


def test_equal_pieces_of_thoughts_and_of_logprobs_are_two():
    thought = {"type": "reasoning.text", "text": "Hm. "}
    token = {"token": "a", "logprob": -1.0}
    body = json.loads(
        assembled(
            [{"choices": [{"delta": {"reasoning_details": [thought]}, "logprobs": {"content": [token]}}]}] * 2
        ).whole()
    )
    assert body["choices"][0]["message"]["reasoning_details"] == [thought, thought]
    assert body["choices"][0]["logprobs"]["content"] == [token, token]


@pytest.mark.parametrize("values", [([7], [7, 7]), ([7], [7], [7]), ([], [7, 7], [7])])
def test_equal_numbers_are_several(values):
    assembler = assembled([{"choices": [{"delta": {}, "token_ids": value}]} for value in values])
    assert json.loads(assembler.whole())["choices"][0]["token_ids"] == [7, 7, 7]


def test_a_field_of_a_choice_that_is_null_is_none():
    body = json.loads(assembled([{"choices": [{"delta": {}, "stop_reason": None, "filter": {}}]}]).whole())
    assert "stop_reason" not in body["choices"][0]
    assert body["choices"][0]["filter"] == {}


def test_an_object_of_the_head_grows():
    infos = [{}, {"search": [], "engine": "e"}, {"search": ["u1"], "engine": ""}]
    body = json.loads(assembled([{**chunk(content="a"), "search_info": info} for info in infos]).whole())
    assert body["search_info"] == {"search": ["u1"], "engine": "e"}


def test_the_first_name_of_a_stream_stays():
    body = assembled([{**chunk(content="a"), "id": name, "created": name} for name in ("", "a", "b")]).whole()
    assert (json.loads(body)["id"], json.loads(body)["created"]) == ("a", "a")


@pytest.mark.parametrize(
    ("reasons", "reason"),
    [
        (["length", "stop"], "length"),
        (["content_filter", "stop"], "content_filter"),
        (["stop", "length"], "length"),
        (["length", "content_filter", "stop"], "content_filter"),
        (["content_filter", "length"], "content_filter"),
        (["MAX_TOKENS", "STOP", None], "MAX_TOKENS"),
        (["tool_calls", "stop"], "tool_calls"),
        (["error", "stop"], "error"),
        (["weird", "stop"], "weird"),
        (["stop", "eos"], "eos"),
        (["not_finished", "not_finished", "stop"], "stop"),
        (["stop", "not_finished"], "stop"),
        (["null", "stop", ""], "stop"),
    ],
)
def test_the_worst_reason_of_a_stream_stays(reasons, reason):
    body = assembled([chunk(content="a", finish_reason=said) for said in reasons]).whole()
    assert json.loads(body)["choices"][0]["finish_reason"] == reason
    assert read_answer(body).finish_reason == reason


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
    body = assembler.whole()
    assert read_answer(body).text == said
    again = assembled(replay_chunks(body, include_usage=False)).whole()
    assert read_answer(again).text == said
    kinds = [part["type"] for part in _listed(json.loads(body)) if part["type"] != "text"]
    assert [part["type"] for part in _listed(json.loads(again)) if part["type"] != "text"] == kinds


def _listed(completion):
    content = completion["choices"][0]["message"]["content"]
    return content if isinstance(content, list) else []


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
    assert json.loads(assembler.whole())["choices"][0]["finish_reason"] == reason


@pytest.mark.parametrize("delta", [{}, {"role": "assistant"}, {"content": ""}, {"content": None}, {"content": []}])
def test_a_stream_without_content_isnt_whole_though_it_says_done(delta):
    assembler = assembled([chunk(**delta)])
    assembler.finish()
    assert not assembler.is_complete


def test_done_doesnt_replace_a_reason_that_was_said():
    assembler = assembled([chunk(content="Hi.", finish_reason="eos_token"), chunk()])
    assembler.finish()
    assert json.loads(assembler.whole())["choices"][0]["finish_reason"] == "eos_token"
