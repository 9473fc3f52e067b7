"""All that an upstream generated counts once, whatever it is called and however often it is sent."""

import json

import pytest

from semcache.protocols.generated import GeneratedText, generated_text


def chunk(delta=None, message=None, **fields):
    choice = {"index": 0, **fields}
    if delta is not None:
        choice["delta"] = delta
    if message is not None:
        choice["message"] = message
    return {"choices": [choice]}


def of_stream(chunks):
    generated = GeneratedText()
    for each in chunks:
        generated.add(each)
    return generated.text()


def thinking(text):
    return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}


MESSAGES = {
    "a text": {"content": "abc"},
    "parts": {"content": [{"type": "text", "text": "a"}, {"type": "output_text", "text": "bc"}]},
    "a refusal": {"content": None, "refusal": "abc"},
    "a refusal among the parts": {"content": [{"type": "refusal", "refusal": "abc"}]},
    "Mistral's thinking": {"content": [thinking("a"), {"type": "text", "text": "bc"}]},
    "thinking as a text": {"content": [{"type": "thinking", "thinking": "abc"}]},
    "reasoning among the parts": {"content": [{"type": "reasoning", "summary": [{"text": "abc"}]}]},
    "OpenRouter's details": {"reasoning_details": [{"type": "reasoning.text", "text": "abc"}]},
    "OpenRouter's summary": {"reasoning_details": [{"type": "reasoning.summary", "summary": "abc"}]},
    "LiteLLM's blocks": {"thinking_blocks": [{"type": "thinking", "thinking": "abc", "signature": "xyz"}]},
    "two names for one thought": {"reasoning": "abc", "reasoning_content": "abc"},
    "two names, another end": {"reasoning": "abc", "reasoning_content": "abc\n"},
    "a field and its details": {"reasoning": "abc", "reasoning_details": [{"type": "reasoning.text", "text": "abc"}]},
    "a field and its blocks": {
        "reasoning_content": "abc",
        "thinking_blocks": [{"type": "thinking", "thinking": "abc"}],
    },
    "a field and parts": {"reasoning_content": "abc", "content": [thinking("abc")]},
    "a tool": {"tool_calls": [{"function": {"name": "a", "arguments": "bc"}}]},
    "two tools": {"tool_calls": [{"function": {"name": "a"}}, {"function": {"name": "bc"}}]},
    "a custom tool": {"tool_calls": [{"type": "custom", "custom": {"name": "a", "input": "bc"}}]},
    "a function": {"function_call": {"name": "a", "arguments": "bc"}},
    "the words of an audio": {"content": None, "audio": {"id": "i", "data": "AAAA", "transcript": "abc"}},
}


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_each_text_counts_once(message):
    assert generated_text(chunk(message=message)).strip() == "abc"
    assert generated_text(chunk(delta=message)).strip() == "abc"


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_each_text_of_a_stream_counts_once_for_each_chunk(message):
    text = of_stream([chunk(delta=message)] * 30)
    assert sorted(text.replace("\n", "")) == sorted("abc" * 30)


def test_arguments_that_are_an_object_count_as_their_json():
    arguments = {"city": "Zürich", "days": [1, 2]}
    message = {"tool_calls": [{"function": {"name": "f", "arguments": arguments}}]}
    assert json.loads(generated_text(chunk(message=message)).removeprefix("f")) == arguments


def test_thoughts_that_differ_all_count_and_so_does_an_answer_that_a_thought_has():
    text = generated_text(chunk(message={"content": "42", "reasoning": "It is 42.", "reasoning_content": "Well."}))
    assert sorted(text) == sorted("42" + "It is 42." + "Well.")


WORDS = [f"word{number} " for number in range(400)]
SO_FAR = ["".join(WORDS[: number + 1]) for number in range(400)]
STREAMS = {
    "a piece and all so far": [
        chunk({"content": word}, {"role": "assistant", "content": whole})
        for word, whole in zip(WORDS, SO_FAR, strict=True)
    ],
    "an empty piece and all so far": [chunk({"content": ""}, {"content": whole}) for whole in SO_FAR],
    "all so far alone": [chunk(message={"content": whole}) for whole in SO_FAR],
    "pieces, and the whole at the end": [
        *(chunk({"content": word}) for word in WORDS),
        chunk({}, {"content": SO_FAR[-1]}),
    ],
    "pieces that are called messages": [chunk(message={"content": word}) for word in WORDS],
    "two fields in turn": [
        chunk({name: word}) for word in WORDS for name in ("reasoning", "reasoning_content", "reasoning_details")
    ],
}


@pytest.mark.parametrize("chunks", STREAMS.values(), ids=STREAMS)
def test_a_stream_that_sends_its_text_more_than_once_generated_it_once(chunks):
    assert of_stream(chunks) == SO_FAR[-1]


def test_the_choices_of_a_stream_are_apart():
    chunks = [chunk({"content": word}, index=index) for word in WORDS for index in (0, 1)]
    assert of_stream(chunks) == SO_FAR[-1] * 2


@pytest.mark.parametrize(
    "completion",
    [{}, {"choices": None}, {"choices": [None, 3]}, chunk("text", [1]), chunk({"content": 3, "tool_calls": [1]})],
    ids=["nothing", "null", "no choice", "no message", "numbers"],
)
def test_what_is_no_text_is_none(completion):
    assert generated_text(completion) == ""


def test_parts_within_parts_end_somewhere():
    part = {"type": "text", "text": "deep"}
    for _ in range(5_000):
        part = [part]
    assert generated_text(chunk(message={"content": part})) == ""
