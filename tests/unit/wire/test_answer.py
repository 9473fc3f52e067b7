"""The answer of a Store: kept byte for byte, or built around a text."""

from __future__ import annotations

import json
import math

import pytest
from google.protobuf.duration_pb2 import Duration

from semcache.errors import InvalidRequestError
from semcache.model import (
    Answer,
    Usage,
)
from semcache.settings import LimitSettings
from semcache.v1 import semcache_pb2 as pb
from semcache.wire.answer import UNKNOWN_USAGE, stored_answer


def stored(max_bytes: int = 10_000, **fields_: object) -> Answer:
    message, limits = pb.StoreRequest(**fields_), LimitSettings(answer_bytes=max_bytes)
    return stored_answer(message, alias="alias", answer_id="chatcmpl-1", now_s=12.9, limits=limits)


def completion(**changes: object) -> bytes:
    message = {"role": "assistant", "content": "Paris."}
    whole = {
        "model": "gpt-x",
        "choices": [{"message": message, "finish_reason": "length"}],
        "usage": {
            "prompt_tokens": 10,
            "completion_tokens": 3,
            "prompt_tokens_details": {"cached_tokens": 4},
        },
    }
    return json.dumps({**whole, **changes}).encode()


def test_a_callers_completion_is_kept_byte_for_byte_and_read():
    body = completion()
    answer = stored(openai_json=body, upstream_latency=Duration(seconds=1, nanos=250_000_000))
    assert answer == Answer(
        body=body, model="gpt-x", finish_reason="length", usage=Usage(10, 4, 3), text="Paris.", latency_s=1.25
    )


def test_what_the_message_says_beats_what_the_json_says():
    answer = stored(
        openai_json=completion(),
        served_model="mini",
        finish_reason="stop",
        degraded=True,
        usage=pb.Usage(input_tokens=7, cached_input_tokens=7, output_tokens=1, estimated=True),
    )
    assert (answer.model, answer.finish_reason, answer.degraded) == ("mini", "stop", True)
    assert answer.usage == Usage(7, 7, 1, estimated=True)


def test_a_text_becomes_a_completion_of_one_choice():
    answer = stored(text="Äpfel", usage=pb.Usage(input_tokens=2, output_tokens=1))
    assert json.loads(answer.body) == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 12,
        "model": "alias",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Äpfel"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3},
    }
    assert (answer.text, answer.model, answer.finish_reason) == ("Äpfel", "alias", "stop")


def test_usage_that_nobody_sent_is_marked_as_unknown_and_not_written():
    answer = stored(text="x")
    assert answer.usage is UNKNOWN_USAGE
    assert "usage" not in json.loads(answer.body)


@pytest.mark.parametrize("usage", [None, "many", {}, {"prompt_tokens": -1, "completion_tokens": None}])
def test_nonsense_usage_of_an_upstream_counts_as_unknown(usage: object):
    assert stored(openai_json=completion(usage=usage)).usage == UNKNOWN_USAGE


@pytest.mark.parametrize(
    ("usage", "kept"),
    [
        ({"prompt_tokens": -1, "completion_tokens": 2}, Usage(0, 0, 2, estimated=True)),
        ({"prompt_tokens": 1, "completion_tokens": None}, Usage(1, 0, 0, estimated=True)),
        ({"prompt_tokens": True, "completion_tokens": 2}, Usage(0, 0, 2, estimated=True)),
        ({"prompt_tokens": 1.5, "completion_tokens": 2}, Usage(2, 0, 2, estimated=True)),
        ({"prompt_tokens": 10**13, "completion_tokens": 2}, Usage(0, 0, 2, estimated=True)),
        (
            {"prompt_tokens": 3, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 9}},
            Usage(3, 0, 1, estimated=True),
        ),
    ],
    ids=["negative", "missing", "a bool", "a fraction", "too large", "more cached than read"],
)
def test_one_odd_count_leaves_the_others(usage: object, kept: Usage):
    assert stored(openai_json=completion(usage=usage)).usage == kept


def test_tokens_written_to_the_providers_cache_are_read():
    usage = {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 2}}
    written = {**usage, "cache_creation_input_tokens": 5}
    assert stored(openai_json=completion(usage=written)).usage == Usage(9, 2, 1, cache_write_tokens=5)


@pytest.mark.parametrize("fields", [{"tool_calls": [{"id": "c"}]}, {"function_call": {"name": "f"}}])
def test_tool_calls_are_noticed(fields: dict[str, object]):
    message = {"role": "assistant", "content": None, **fields}
    answer = stored(openai_json=completion(choices=[{"message": message, "finish_reason": "tool_calls"}]))
    assert (answer.tool_calls, answer.text, answer.finish_reason) == (True, "", "tool_calls")


@pytest.mark.parametrize(
    "fields_",
    [
        {},
        {"openai_json": b""},
        {"openai_json": b"{"},
        {"openai_json": b"\xff"},
        {"openai_json": b"[]"},
        {"openai_json": b"{}"},
        {"openai_json": b'{"choices":[]}'},
        {"openai_json": b'{"choices":{"0":1}}'},
        {"openai_json": b'{"choices":["x"]}'},
        {"openai_json": b'{"choices":[{"message":{"content":"a"}},{}]}'},
        {"openai_json": b'{"choices":[{"message":{"content":"a","tool_calls":"f"}}]}'},
        {"openai_json": b'{"choices":[{"message":{"content":"a","function_call":["f"]}}]}'},
        {"openai_json": '{"choices":[{"message":{"content":"a"}}]}'.encode("utf-16")},
        {"openai_json": b'{"choices":[{"message":"x"}]}'},
        {"openai_json": completion(x=math.nan)},
        {"openai_json": b"[" * 100_000},
        {"openai_json": completion(pad="x" * 10_000)},
        {"text": "x" * 10_000},
        {"text": "x", "upstream_latency": Duration(seconds=-1)},
        {"text": "x", "usage": pb.Usage(input_tokens=-1)},
        {"text": "x", "usage": pb.Usage(output_tokens=10**13)},
        {"text": "x", "usage": pb.Usage(input_tokens=1, cached_input_tokens=2)},
    ],
)
def test_answers_that_are_none_are_refused(fields_: dict[str, object]):
    with pytest.raises(InvalidRequestError):
        stored(**fields_)


HALF = "\ud800"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"model": HALF}, "model"),
        ({"model": "gpt" + HALF}, "model"),
        ({"choices": [{"message": {"content": "a"}, "finish_reason": HALF}]}, "finish_reason"),
        ({"service_tier": HALF}, "service_tier"),
    ],
    ids=["model", "end of model", "finish reason", "tier"],
)
def test_a_name_that_can_not_be_told_is_refused(changes: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        stored(openai_json=completion(**changes))
    assert (refused.value.reason, refused.value.metadata["field"]) == ("INVALID_TEXT", field)


def test_a_whole_surrogate_pair_in_escapes_is_a_character() -> None:
    answer = stored(openai_json=completion(model="\U0001f642"))
    assert answer.model == "\U0001f642"
