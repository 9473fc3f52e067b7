"""Completions are read, streams are assembled, answers are replayed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semcache.errors import UpstreamError
from semcache.model import ApiProtocol, Usage
from semcache.protocols import FORMS
from semcache.protocols.assembly import Assembler
from semcache.protocols.wire import is_same_model, read_answer, replay_chunks
from semcache.testing.upstream import completion_body

UNKNOWN = Usage(estimated=True)


def assembled(chunks):
    assembler = Assembler()
    for chunk in chunks:
        assembler.add(chunk if isinstance(chunk, bytes) else json.dumps(chunk).encode())
    return assembler


def delta(index=0, finish_reason=None, **fields):
    return {"choices": [{"index": index, "delta": fields, "finish_reason": finish_reason}]}


def test_a_completion_is_read_and_kept_as_it_is():
    body = completion_body("Hi.", model="m-2", usage=Usage(100, 64, 7))
    answer = read_answer(body, target_model="m")
    assert (answer.body, answer.text, answer.model) == (body, "Hi.", "m-2")
    assert (answer.usage, answer.finish_reason) == (Usage(100, 64, 7), "stop")
    assert answer.target_model == "m"
    assert not answer.tool_calls


def test_what_a_completion_leaves_out():
    answer = read_answer(b'{"choices": [{"message": {"content": null}}], "usage": null}', target_model="m")
    assert (answer.model, answer.text, answer.finish_reason, answer.usage) == ("m", "", "", UNKNOWN)


@pytest.mark.parametrize("call", ["tool_calls", "function_call"])
def test_calls_of_tools_are_flagged(call):
    body = {"choices": [{"message": {"content": None, call: [{"id": "1"}]}, "finish_reason": call}]}
    assert read_answer(json.dumps(body).encode()).tool_calls


@pytest.mark.parametrize(
    "fields",
    [
        {"tool_calls": "call it"},
        {"tool_calls": {"id": "1"}},
        {"tool_calls": [{"id": "1"}, "2"]},
        {"tool_calls": [None]},
        {"tool_calls": 0},
        {"function_call": "f"},
        {"function_call": [{"name": "f"}]},
    ],
)
@pytest.mark.parametrize("position", [0, 1])
def test_calls_that_no_stream_can_bring_are_a_flaw_and_are_replayed_as_they_are(fields, position):
    messages = [{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}]
    messages[position] |= fields
    body = json.dumps({"choices": [{"message": message, "finish_reason": "stop"} for message in messages]}).encode()
    assert read_answer(body).flaw == "malformed_tool_calls"
    deltas = [choice for piece in replay_chunks(body, include_usage=False) for choice in json.loads(piece)["choices"]]
    brought = [choice["delta"] for choice in deltas if choice["index"] == position]
    assert any(part | fields == part for part in brought if part)


@pytest.mark.parametrize(
    "fields",
    [
        {"tool_calls": None, "function_call": None},
        {"tool_calls": []},
        {"tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]},
        {"function_call": {"name": "f", "arguments": "{}"}},
    ],
)
def test_calls_of_the_standard_form_are_no_flaw(fields):
    body = json.dumps({"choices": [{"message": {"content": "a", **fields}}]}).encode()
    assert read_answer(body).flaw == ""


def test_parts_of_a_content_count_as_far_as_they_are_text():
    content = [{"type": "text", "text": "a"}, {"type": "image"}, 3, {"type": "text", "text": "b"}]
    body = json.dumps({"choices": [{"message": {"content": content}}]}).encode()
    assert read_answer(body).text == "ab"


def test_half_a_surrogate_pair_gives_a_text_that_utf8_can_spell():
    body = b'{"model": "\\ud800", "choices": [{"message": {"content": "a\\ud83d"}, "finish_reason": "stop"}]}'
    answer = read_answer(body)
    assert answer.text == "a\ufffd"
    assert answer.model.encode()
    assert answer.body == body
    assert assembled(replay_chunks(body, include_usage=False)).whole()


def test_a_stream_is_put_together():
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 5, "model": "m-1", "system_fingerprint": "fp"}
    chunks = [
        {"id": "", "model": "", "choices": [], "prompt_filter_results": [1]},
        {**head, **delta(role="assistant", content="")},
        {**head, **delta(content="Hello")},
        {**head, **delta(content=" there", role="assistant")},
        {**head, **delta(finish_reason="stop")},
        {**head, "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
    ]
    assembler = assembled(chunks)
    assert assembler.is_complete
    assert json.loads(assembler.whole()) == {
        "prompt_filter_results": [1],
        "id": "c1",
        "created": 5,
        "model": "m-1",
        "system_fingerprint": "fp",
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello there"},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
    }


def test_who_answers_is_told_by_the_first_chunk_that_tells_it():
    chunks = [{"model": "", **delta(content="a")}, {"model": "m-1", "id": "c1", **delta()}]
    chunks.append({"model": "m-2", "id": "c2", **delta(finish_reason="stop")})
    body = assembled(chunks).whole()
    assert read_answer(body).model == "m-1"
    assert json.loads(body)["id"] == "c1"


def test_pieces_of_tool_calls_are_merged_by_index():
    chunks = [
        delta(role="assistant", content=None),
        delta(tool_calls=[{"index": 0, "id": "c0", "type": "function", "function": {"name": "f", "arguments": ""}}]),
        delta(
            tool_calls=[{"index": 1, "id": "c1", "type": "function", "function": {"name": "g", "arguments": '{"b"'}}]
        ),
        delta(tool_calls=[{"index": 0, "function": {"arguments": '{"a":'}}]),
        delta(
            tool_calls=[{"index": 1, "function": {"arguments": ": 2}"}}, {"index": 0, "function": {"arguments": " 1}"}}]
        ),
        delta(finish_reason="tool_calls"),
    ]
    body = assembled(chunks).whole()
    assert json.loads(body)["choices"][0]["message"] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "c0", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
            {"id": "c1", "type": "function", "function": {"name": "g", "arguments": '{"b": 2}'}},
        ],
    }
    assert read_answer(body).tool_calls


def test_refusals_reasoning_and_function_calls_grow_too():
    chunks = [
        delta(refusal="I ", reasoning_content="so "),
        delta(refusal="can't", reasoning_content="far", function_call={"name": "f", "arguments": "{"}),
        delta(function_call={"arguments": "}"}, finish_reason="stop"),
    ]
    message = json.loads(assembled(chunks).whole())["choices"][0]["message"]
    assert message == {
        "role": "assistant",
        "content": None,
        "refusal": "I can't",
        "reasoning_content": "so far",
        "function_call": {"name": "f", "arguments": "{}"},
    }


def test_a_surrogate_pair_that_two_chunks_share_is_joined():
    chunks = [
        b'{"choices":[{"delta":{"content":"\\ud83d"}}]}',
        b'{"choices":[{"delta":{"content":"\\ude00"},"finish_reason":"stop"}]}',
    ]
    assert read_answer(assembled(chunks).whole()).text == "😀"


def test_every_choice_must_end():
    assembler = assembled([delta(0, content="a"), delta(1, content="b"), delta(0, finish_reason="stop")])
    assert not assembler.is_complete
    assembler.add(json.dumps(delta(1, finish_reason="length")).encode())
    assert assembler.is_complete
    choices = json.loads(assembler.whole())["choices"]
    assert [choice["message"]["content"] for choice in choices] == ["a", "b"]


def test_nothing_is_not_whole():
    assert not Assembler().is_complete


def test_what_was_added_by_a_bad_chunk_isnt_guessed():
    with pytest.raises(UpstreamError, match="no JSON"):
        assembled([b"{"])


def test_a_replay_reads_like_a_stream():
    body = completion_body("word " * 40, usage=Usage(9, 4, 40))
    chunks = [json.loads(chunk) for chunk in replay_chunks(body, include_usage=True)]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk["id"] for chunk in chunks} == {"chatcmpl-scripted"}
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    choices = [chunk["choices"][0] for chunk in chunks[:-1]]
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["stop"]
    assert all("role" not in choice["delta"] for choice in choices[1:])
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * len(choices)
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == json.loads(body)["usage"]
    assert len(chunks) > 5

    without = [json.loads(chunk) for chunk in replay_chunks(body, include_usage=False)]
    assert len(without) == len(choices)
    assert not any("usage" in chunk for chunk in without)


def test_a_long_answer_is_replayed_in_a_bounded_number_of_chunks():
    assert len(list(replay_chunks(completion_body("x" * 1_000_000), include_usage=False))) < 80
    assert len(list(replay_chunks(completion_body("longer words here " * 50_000), include_usage=False))) < 80


_texts = st.text(max_size=400) | st.lists(st.sampled_from(["alpha", " ", "\n", "中文", "é", "😀 "]), max_size=200).map(
    "".join
)


@given(
    texts=st.lists(_texts, min_size=1, max_size=3),
    finish_reason=st.sampled_from(["stop", "length", "content_filter"]),
    usage=st.builds(Usage, st.integers(10, 99), st.integers(0, 10), st.integers(0, 99)) | st.none(),
    refusal=st.none() | st.text(min_size=1, max_size=20),
    named=st.booleans(),
)
def test_assembling_a_replay_gives_the_answer_again(texts, finish_reason, usage, refusal, named):
    value = json.loads(completion_body("", finish_reason=finish_reason, usage=usage))
    if not named:
        del value["id"], value["created"]
    value["choices"] = [
        {
            "index": index,
            "message": {"role": "assistant", "content": text, "refusal": refusal},
            "finish_reason": finish_reason,
        }
        for index, text in enumerate(texts)
    ]
    body = json.dumps(value).encode()
    assembler = assembled(replay_chunks(body, include_usage=True))
    assert assembler.is_complete
    again = json.loads(assembler.whole())
    assert [(c["message"]["content"], c["finish_reason"], c["message"].get("refusal")) for c in again["choices"]] == [
        (text, finish_reason, refusal) for text in texts
    ]
    first, second = read_answer(body), read_answer(assembler.whole())
    assert (first.text, first.finish_reason, first.usage) == (second.text, second.finish_reason, second.usage)


def test_a_replay_keeps_tool_calls():
    calls = [{"id": "c0", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    body = completion_body("", tool_calls=calls, finish_reason="tool_calls")
    message = json.loads(assembled(replay_chunks(body, include_usage=False)).whole())["choices"][0]["message"]
    assert message["content"] is None
    assert message["tool_calls"] == calls


@pytest.mark.parametrize(
    ("asked", "answered", "same"),
    [
        ("gpt-4o", "gpt-4o", True),
        ("gpt-4o", "gpt-4o-2024-08-06", True),
        ("gpt-4", "gpt-4-0613", True),
        ("gemini-1.5-pro-latest", "gemini-1.5-pro-002", True),
        ("claude-3-haiku@20240307", "claude-3-haiku-20240307", True),
        ("openai/GPT-4o", "gpt-4o", True),
        ("gpt-4o", "gpt-4o-mini", False),
        ("gpt-4o", "gpt-4o-mini-2024-07-18", False),
        ("gpt-5", "gpt-4", False),
        ("my-deployment", "gpt-4o", False),
    ],
)
def test_names_that_may_mean_one_model(asked, answered, same):
    assert is_same_model(asked, answered) is same
    assert is_same_model(answered, asked) is same


WHOLE = b'{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}],"extra":%b}'


@pytest.mark.parametrize("number", [b"1e400", b"-1e400", b"[1e999]", b'{"a":[1e400]}', b'["\\ud800",1e400]'])
def test_a_number_beyond_all_floats_is_replayed_as_json(number):
    def no_json(name):
        raise ValueError(name)

    body = WHOLE % number
    assert read_answer(body).text == "hi"
    for chunk in replay_chunks(body, include_usage=True):
        assert "extra" in json.loads(chunk, parse_constant=no_json)


@pytest.mark.parametrize("levels", [150, 199])
def test_a_nested_answer_is_replayed(levels):
    body = WHOLE % (b"[" * (levels - 1) + b"]" * (levels - 1))
    assert read_answer(body).text == "hi"
    assert len(list(replay_chunks(body, include_usage=False))) == 3


@pytest.mark.parametrize("pair", [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")])
@pytest.mark.parametrize("levels", [201, 600, 100_000])
def test_an_answer_that_is_too_deep_to_be_replayed_is_refused(pair, levels):
    with pytest.raises(UpstreamError):
        read_answer(WHOLE % (pair[0] * levels + b"1" + pair[1] * levels))


@pytest.mark.parametrize("indices", [(0, 0), (None, None), (-1, -1), (3, 3), (0, None), (1, -1)])
def test_choices_that_share_an_index_are_replayed_as_two(indices):
    choices = [{"index": index, "message": {"content": text}} for index, text in zip(indices, "ab", strict=True)]
    texts = {}
    for chunk in replay_chunks(json.dumps({"choices": choices}).encode(), include_usage=False):
        for choice in json.loads(chunk)["choices"]:
            texts[choice["index"]] = texts.get(choice["index"], "") + (choice["delta"].get("content") or "")
    assert texts == {0: "a", 1: "b"}


def test_indices_that_tell_choices_apart_are_kept():
    choices = [{"index": index, "message": {"content": "a"}} for index in (4, 2)]
    chunks = replay_chunks(json.dumps({"choices": choices}).encode(), include_usage=False)
    assert {choice["index"] for chunk in chunks for choice in json.loads(chunk)["choices"]} == {2, 4}


@pytest.mark.parametrize(
    ("protocol", "body"),
    [
        (
            ApiProtocol.MESSAGES,
            {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "thinking"}, {"type": []}]},
        ),
        (ApiProtocol.MESSAGES, {"type": "message", "role": "assistant", "content": [{"type": {}, "text": "thinking"}]}),
        (ApiProtocol.RESPONSES, {"object": "response", "status": {}, "output": []}),
        (ApiProtocol.RESPONSES, {"object": "response", "status": [], "output": []}),
        (
            ApiProtocol.RESPONSES,
            {
                "object": "response",
                "status": "completed",
                "output": [{"type": "web_search_call", "action": {"type": []}}],
            },
        ),
    ],
)
def test_an_answer_with_odd_types_is_refused_or_told_whole(protocol, body):
    form = FORMS[protocol]
    raw = json.dumps(body).encode()
    try:
        form.read(raw)
    except UpstreamError:
        return
    form.shared(raw)
    form.generated(raw)
    assert list(form.replay(raw).chunks(include_usage=True))
