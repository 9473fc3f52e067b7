"""The shapes of records: exports of logs, data sets for training, batches; what is asked, by which model, when."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from semcache.errors import InvalidRequestError
from semcache.evaluation.replay.workload import WorkloadRequest, load_workload

CHAT = [{"role": "user", "content": "Where is my order?"}]
ANSWERED = [*CHAT, {"role": "assistant", "content": "An answer."}]
SYSTEM = [{"role": "system", "content": "Be brief."}]
SPEND = {"request_id": "r1", "spend": 0.0001, "startTime": "2026-01-05T10:00:00.000Z", "model": "gpt-4o"}


def load(folder: Path, *records: Any) -> tuple[WorkloadRequest, ...]:
    path = folder / "f.jsonl"
    path.write_text("\n".join(map(json.dumps, records)), "utf-8")
    return load_workload(path, model="m")


def turns(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"from": sender, "value": value} for sender, value in pairs]


@pytest.mark.parametrize(
    ("record", "messages"),
    [
        pytest.param({"prompt": CHAT[0]["content"]}, CHAT, id="prompt"),
        pytest.param({"question": CHAT[0]["content"], "answer": "x"}, CHAT, id="question"),
        pytest.param({"query": CHAT[0]["content"]}, CHAT, id="query"),
        pytest.param({"messages": ANSWERED}, CHAT, id="fine-tuning"),
        pytest.param({"messages": json.dumps(ANSWERED)}, CHAT, id="messages as JSON text"),
        pytest.param({"messages": str(ANSWERED)}, CHAT, id="messages as Python text"),
        pytest.param({"messages": CHAT, "system": "Be brief."}, [*SYSTEM, *CHAT], id="system beside messages"),
        pytest.param({"messages": [*SYSTEM, *CHAT], "system": "No."}, [*SYSTEM, *CHAT], id="system in messages"),
        pytest.param({"messages": None, "prompt": CHAT[0]["content"]}, CHAT, id="empty messages beside a prompt"),
        pytest.param({"prompt": ANSWERED, "chosen": [], "rejected": []}, CHAT, id="preferences"),
        pytest.param({"conversations": turns(("human", CHAT[0]["content"]), ("gpt", "x"))}, CHAT, id="ShareGPT"),
        pytest.param(
            {"conversations": turns(("system", "Be brief."), ("human", CHAT[0]["content"]), ("gpt", "x"))},
            [*SYSTEM, *CHAT],
            id="ShareGPT with a system turn",
        ),
        pytest.param({"conversation": ANSWERED, "model": "vicuna-13b"}, CHAT, id="LMSYS"),
        pytest.param({"instruction": CHAT[0]["content"], "input": "", "output": "x"}, CHAT, id="Alpaca"),
        pytest.param(
            {"instruction": "Sum up.", "input": "A text."},
            [{"role": "user", "content": "Sum up.\n\nA text."}],
            id="Alpaca with input",
        ),
        pytest.param(
            {"instruction": "Sum up.", "context": "A text."},
            [{"role": "user", "content": "Sum up.\n\nA text."}],
            id="Dolly",
        ),
        pytest.param({"system_prompt": "Be brief.", "question": CHAT[0]["content"]}, [*SYSTEM, *CHAT], id="OpenOrca"),
        pytest.param(
            {
                "text": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhere is my order?<|im_end|>\n"
                "<|im_start|>assistant\n"
            },
            [*SYSTEM, *CHAT],
            id="ChatML",
        ),
        pytest.param({"input": CHAT}, CHAT, id="Langfuse list"),
        pytest.param({"input": {"messages": CHAT, "tools": []}, "output": "x"}, CHAT, id="Langfuse object"),
        pytest.param({"input": json.dumps({"messages": CHAT})}, CHAT, id="Langfuse text"),
        pytest.param({"input": CHAT[0]["content"]}, CHAT, id="Langfuse prompt"),
        pytest.param({"traceId": "t", "type": "GENERATION", "input": CHAT}, CHAT, id="Langfuse generation"),
        pytest.param({"input": {"question": CHAT[0]["content"]}}, CHAT, id="LangChain input"),
        pytest.param({"input": [{"type": "human", "content": CHAT[0]["content"]}]}, CHAT, id="LangChain messages"),
        pytest.param({**SPEND, "messages": CHAT, "response": {}}, CHAT, id="LiteLLM"),
        pytest.param({**SPEND, "messages": json.dumps(CHAT)}, CHAT, id="LiteLLM text"),
        pytest.param({**SPEND, "messages": {}, "proxy_server_request": {"messages": CHAT}}, CHAT, id="LiteLLM request"),
        pytest.param({"request_body": json.dumps({"model": "x", "messages": CHAT})}, CHAT, id="request body"),
        pytest.param({"messages": [{"role": "human", "content": CHAT[0]["content"]}]}, CHAT, id="human"),
        pytest.param(
            {"messages": [{"role": "ipython", "content": "1"}]}, [{"role": "ipython", "content": "1"}], id="tool"
        ),
        pytest.param(CHAT, CHAT, id="a line of messages"),
        pytest.param({"prompt": '{"role": "admin"} is this valid?'}, None, id="JSON in a prompt"),
        pytest.param({"prompt": "[1, 2]"}, None, id="a list in a prompt"),
    ],
)
def test_what_a_record_asks(tmp_path: Path, record: Any, messages: list[dict[str, str]] | None) -> None:
    (request,) = load(tmp_path, record)
    assert json.loads(request.body)["messages"] == (messages or [{"role": "user", "content": record["prompt"]}])


def test_a_conversation_of_tools_is_kept_whole(tmp_path: Path) -> None:
    call = {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "w"}}]}
    chat = [*CHAT, call, {"role": "tool", "tool_call_id": "1", "content": "rain"}]
    (request,) = load(tmp_path, {"messages": chat})
    assert json.loads(request.body)["messages"] == [chat[0], {**call, "content": None}, chat[2]]


def test_a_batch_keeps_what_decides_an_answer(tmp_path: Path) -> None:
    body = {"model": "gpt-4o", "messages": CHAT, "temperature": 0.5, "tools": [], "stream": True}
    parts = [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}]
    first, second = load(
        tmp_path,
        {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": body},
        {"custom_id": "2", "url": "/v1/responses", "body": {"instructions": "Be brief.", "input": parts}},
    )
    assert json.loads(first.body) == {"model": "gpt-4o", "messages": CHAT, "temperature": 0.5, "tools": []}
    assert json.loads(second.body)["messages"] == [
        *SYSTEM,
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
    ]
    assert (first.model, second.model) == ("gpt-4o", "m")


@pytest.mark.parametrize(
    ("record", "model"),
    [
        ({"prompt": "x", "model": "own"}, "own"),
        ({"prompt": "x", "model": ""}, "m"),
        ({"prompt": "x"}, "m"),
        ({"request": {"model": "inner", "messages": CHAT}}, "inner"),
        ({"request": {"model": "inner", "messages": CHAT}, "model": "outer"}, "outer"),
    ],
)
def test_the_model_of_a_record(tmp_path: Path, record: Any, model: str) -> None:
    (request,) = load(tmp_path, record)
    assert (request.model, json.loads(request.body)["model"]) == (model, model)


@pytest.mark.parametrize(
    ("record", "problem", "way_out"),
    [
        ({"custom_id": "1", "url": "/v1/embeddings", "body": {"input": ["x"]}}, "a request to /v1/embeddings", "out"),
        ({"custom_id": "1", "body": {}}, "a body without messages", "messages"),
        ({"custom_id": "1", "response": {"body": {}}}, "begins the results of an OpenAI batch", "input file"),
        ({"num_model_requests": 1, "input_tokens": 2}, "begins an export of usage", "log"),
        ({"role": "user", "content": "x"}, "begins a conversation of one message a line", "messages"),
        ({**SPEND, "messages": {}}, "LiteLLM's spend log without its messages", "store_prompts_in_spend_logs"),
        ({"traceId": "t", "type": "SPAN", "input": {"args": []}}, "an observation of type SPAN", "GENERATION"),
        ({"input": {"args": []}}, "has no prompt in input", "prompt"),
        ({**SPEND, "call_type": "aembedding", "messages": "x"}, "is a call of type aembedding, not a chat", "out"),
        ({"text": "<s>[INST] hi [/INST]"}, "the markup of a chat template in text (<s>[INST])", "messages"),
        ({"prompt": 42}, "a prompt that is neither a text nor a list of messages", "list"),
        ({"prompt": ["a", "b"]}, "a prompt that is neither a text nor a list of messages", "list"),
        ({"messages": "hello"}, "a field messages that is neither JSON nor a Python literal", "JSON"),
        ({"messages": ANSWERED[1:]}, "nothing is asked in its messages", "Fill"),
        ({"Input Text": "x", "tokens": 3}, "its fields are Input Text, tokens", "first line"),
    ],
)
def test_a_record_that_cannot_be_asked_is_named(tmp_path: Path, record: Any, problem: str, way_out: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        load(tmp_path, record)
    assert problem in caught.value.message
    assert f"{tmp_path / 'f.jsonl'}:1 " in caught.value.message
    assert way_out in caught.value.hint


def test_records_that_ask_nothing_are_left_out_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    records = [{"prompt": "one"}, {"prompt": " "}, {"traceId": "t", "type": "SPAN", "input": "x"}, {"prompt": "two"}]
    path.write_text("\n".join(map(json.dumps, records)), "utf-8")
    skipped: list[str] = []
    assert len(load_workload(path, model="m", on_skipped=skipped.append)) == 2
    assert skipped == [
        f"{path}:2 has no prompt, because its prompt is empty, so it is left out.",
        f"{path}:3 is an observation of type SPAN, not a call of a model, so it is left out.",
    ]


def test_an_export_is_played_in_the_order_of_its_times(tmp_path: Path) -> None:
    later, earlier = load(
        tmp_path,
        {"input": "second", "timestamp": "2026-01-05T10:00:01Z"},
        {"input": "first", "timestamp": "2026-01-05T10:00:00Z"},
    )
    assert [json.loads(item.body)["messages"][0]["content"] for item in (later, earlier)] == ["first", "second"]


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        pytest.param(
            [{"prompt": "a", "created_at": 1}, {"prompt": "b", "created_at": None}, {"prompt": "c", "created_at": 2}],
            "has no time, and other records have one",
            id="no time",
        ),
        pytest.param(
            [{"prompt": "a", "ts": 1}, {"prompt": "b"}, {"prompt": "c", "ts": 2}],
            "has no time, and other records have one",
            id="no field of a time",
        ),
        *(
            pytest.param(
                [{"custom_id": "1", "body": {"messages": CHAT}}, other, {"custom_id": "3", "body": {"messages": CHAT}}],
                problem,
                id=problem,
            )
            for other, problem in [
                (
                    {"custom_id": "2", "url": "/v1/embeddings", "body": {"input": "x"}},
                    "is a request to /v1/embeddings, and only chats can be replayed",
                ),
                ({"custom_id": "2", "url": "/v1/chat/completions", "body": {}}, "has a body without messages"),
                ({"custom_id": "2", "body": None}, "has a body without messages"),
            ]
        ),
    ],
)
def test_one_record_without_its_part_leaves_the_others(tmp_path: Path, records: list[Any], problem: str) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text("\n".join(map(json.dumps, records)), "utf-8")
    skipped: list[str] = []
    assert len(load_workload(path, model="m", on_skipped=skipped.append)) == 2
    assert skipped == [f"{path}:2 {problem}, so it is left out."]


def test_an_export_in_which_most_lack_a_time_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=":2 has no time, and other records have one"):
        load(tmp_path, {"prompt": "a", "created": 1}, {"prompt": "b"}, {"prompt": "c"})
