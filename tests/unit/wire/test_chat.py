"""Typed requests: the bytes that they stand for, and what is refused by name."""

from __future__ import annotations

import json
import math

import pytest

from semcache.errors import InvalidRequestError
from semcache.settings import LimitSettings
from semcache.v1 import semcache_pb2 as pb
from semcache.wire.chat import chat_body, text_body

LIMITS = LimitSettings()
USER = pb.ChatMessage(role="user", text="hi")


def chat(**fields_: object) -> pb.ChatRequest:
    return pb.ChatRequest(**{"model": "m", "messages": [USER], **fields_})


def test_every_field_of_a_typed_request_stands_in_the_body_once_in_a_fixed_order():
    message = chat(
        messages=[
            pb.ChatMessage(role="system", text="Be brief.", name="ops"),
            pb.ChatMessage(
                role="user",
                parts=pb.ContentParts(
                    parts=[
                        pb.ContentPart(text="Was ist „das“?"),
                        pb.ContentPart(image_url=pb.ImageUrl(url="https://x/y.png", detail="low")),
                        pb.ContentPart(image_url=pb.ImageUrl(url="https://x/z.png")),
                        pb.ContentPart(raw_json=b'{ "type":"file" , "n":1.0}'),
                    ]
                ),
            ),
            pb.ChatMessage(role="assistant", tool_calls=[pb.ToolCall(id="c1", name="f", arguments='{"a": 1}')]),
            pb.ChatMessage(role="tool", text="42", tool_call_id="c1", extra_json=b' {"x": 3.0} '),
        ],
        temperature=0.0,
        top_p=0.95,
        max_tokens=5,
        max_completion_tokens=6,
        seed=2**62,
        presence_penalty=-1.0,
        frequency_penalty=1e-7,
        n=1,
        stop=["a", "b"],
        user="u",
        logprobs=False,
        top_logprobs=0,
        parallel_tool_calls=True,
        reasoning_effort="low",
        tools_json=b'[{"type" :"function"}]',
        tool_choice_json=b'"auto"',
        response_format_json=b'{"type":"text"}',
        extra_json=b'{"logit_bias": {"50256": -1e2}, "z":12345678901234567890}',
    )
    assert chat_body(message, LIMITS).decode() == (
        '{"model":"m","messages":['
        '{"role":"system","content":"Be brief.","name":"ops"},'
        '{"role":"user","content":[{"type":"text","text":"Was ist „das“?"},'
        '{"type":"image_url","image_url":{"url":"https://x/y.png","detail":"low"}},'
        '{"type":"image_url","image_url":{"url":"https://x/z.png"}},'
        '{ "type":"file" , "n":1.0}]},'
        '{"role":"assistant","tool_calls":[{"id":"c1","type":"function",'
        '"function":{"name":"f","arguments":"{\\"a\\": 1}"}}]},'
        '{"role":"tool","content":"42","tool_call_id":"c1","x": 3.0}],'
        '"temperature":0,"top_p":0.95,"max_tokens":5,"max_completion_tokens":6,"seed":4611686018427387904,'
        '"presence_penalty":-1,"frequency_penalty":1e-07,"n":1,"user":"u","logprobs":false,"top_logprobs":0,'
        '"parallel_tool_calls":true,"reasoning_effort":"low","stop":["a","b"],"tools":[{"type" :"function"}],'
        '"tool_choice":"auto","response_format":{"type":"text"},'
        '"logit_bias": {"50256": -1e2}, "z":12345678901234567890}'
    )


def test_no_field_of_the_message_types_is_forgotten():
    # A field that is added to the contract and not to the writer would be dropped silently; this list makes it loud.
    assert {field.name for field in pb.ChatRequest.DESCRIPTOR.fields} == {
        *("model", "messages", "temperature", "top_p", "max_tokens", "max_completion_tokens", "seed"),
        *("presence_penalty", "frequency_penalty", "n", "stop", "user", "logprobs", "top_logprobs"),
        *("parallel_tool_calls", "reasoning_effort"),
        *("tools_json", "tool_choice_json", "response_format_json", "extra_json"),
    }
    assert {field.name for field in pb.ChatMessage.DESCRIPTOR.fields} == {
        *("role", "text", "parts", "name", "tool_calls", "tool_call_id", "extra_json"),
    }


def test_unset_fields_are_not_written_and_empty_text_is():
    message = pb.ChatRequest(model="m", messages=[pb.ChatMessage(role="user", text="")], extra_json=b" { } ")
    assert chat_body(message, LIMITS) == b'{"model":"m","messages":[{"role":"user","content":""}]}'


def test_a_prompt_alone_is_the_same_request_as_one_user_message():
    text = 'line\n"quoted" – ünïcödé 🙂'
    typed = chat(messages=[pb.ChatMessage(role="user", text=text)])
    assert text_body(pb.TextPrompt(model="m", text=text)) == chat_body(typed, LIMITS)
    assert json.loads(chat_body(typed, LIMITS))["messages"][0]["content"] == text


@pytest.mark.parametrize(
    ("message", "named"),
    [
        (chat(tools_json=b"[1,"), "chat.tools_json is not JSON"),
        (chat(tools_json=b"{}"), "chat.tools_json is not a JSON array"),
        (chat(tools_json=b"\xff"), "chat.tools_json is not JSON"),
        (chat(tools_json=b"[NaN]"), "NaN is no JSON number"),
        (chat(tools_json=b"[" * 10_000 + b"]" * 10_000), "chat.tools_json is nested too deeply"),
        (chat(tools_json=b"[" + b"9" * 5_000 + b"]"), "chat.tools_json is not JSON"),
        (chat(tool_choice_json=b"3"), "chat.tool_choice_json is not a JSON string or object"),
        (chat(response_format_json=b'"text"'), "chat.response_format_json is not a JSON object"),
        (chat(extra_json=b"[]"), "chat.extra_json is not a JSON object"),
        (chat(extra_json=b'{"a":1}, "b":2'), "chat.extra_json is not JSON"),
        (chat(extra_json=b'{"a":1,"a":2}'), "chat.extra_json gives 'a' a second time"),
        (chat(extra_json=b'{"messages":[]}'), "chat.extra_json gives 'messages' a second time"),
        (chat(n=1, extra_json=rb'{"\u006e":2}'), "chat.extra_json gives 'n' a second time"),
        (chat(temperature=math.nan), "chat.temperature is nan"),
        (chat(top_p=math.inf), "chat.top_p is inf"),
        (
            chat(messages=[USER, pb.ChatMessage(role="user", text="", extra_json=b'{"content":1}')]),
            r"chat.messages\[1\].extra_json gives 'content' a second time",
        ),
        (
            chat(messages=[pb.ChatMessage(role="user", parts=pb.ContentParts(parts=[pb.ContentPart()]))]),
            r"chat.messages\[0\].parts.parts\[0\] is empty",
        ),
        (
            chat(
                messages=[
                    pb.ChatMessage(role="user", parts=pb.ContentParts(parts=[pb.ContentPart(raw_json=b'"text"')]))
                ]
            ),
            r"raw_json is not a JSON object",
        ),
    ],
)
def test_what_would_not_be_one_clear_json_object_is_refused_by_field(message: pb.ChatRequest, named: str):
    with pytest.raises(InvalidRequestError, match=named):
        chat_body(message, LIMITS)
