"""What stands beside a prompt and decides its answer: a request's settings and its instructions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from semcache.errors import InvalidRequestError
from semcache.evaluation.replay.workload import load_workload

CHAT = [{"role": "user", "content": "Where is my order?"}]
SYSTEM = {"role": "system", "content": "Be brief."}
TOOL = {"type": "function", "function": {"name": "w", "parameters": {}}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}
SETTINGS: dict[str, Any] = {
    "temperature": 1.9,
    "response_format": {"type": "json_object"},
    "tools": [TOOL],
    "user": "bob",
    "max_tokens": 5,
    "top_k": 3,
}
PARTS = [{"type": "text", "text": "Be"}, {"type": "text", "text": "brief.", "cache_control": {"type": "ephemeral"}}]


def body_of(folder: Path, record: Any) -> dict[str, Any]:
    path = folder / "f.jsonl"
    path.write_text(json.dumps(record), "utf-8")
    (request,) = load_workload(path, model="m")
    body: dict[str, Any] = json.loads(request.body)
    return body


def rest_of(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in {"model", "messages"}}


@pytest.mark.parametrize(
    "record",
    [
        pytest.param({"messages": CHAT, **SETTINGS}, id="direct"),
        pytest.param({"messages": CHAT, **SETTINGS, "stream": True, "stream_options": {}}, id="streamed"),
        pytest.param({"messages": CHAT, **SETTINGS, "id": "7", "latency": 2, "response": {}}, id="a log's own fields"),
        pytest.param({"messages": CHAT, **SETTINGS, "seed": None, "stop": "", "top_p": float("nan")}, id="unset"),
        pytest.param(
            {"messages": CHAT, **{name: json.dumps(value) for name, value in SETTINGS.items()}, "user": "bob"},
            id="JSON in cells",
        ),
        pytest.param({"request_body": {"messages": CHAT, **SETTINGS}}, id="request_body"),
        pytest.param({"request_body": json.dumps({"messages": CHAT, **SETTINGS})}, id="request_body as text"),
        pytest.param({"request": {"messages": CHAT, **SETTINGS, "id": "7"}}, id="request"),
        pytest.param({"request": {"url": "/v1", "body": {"messages": CHAT, **SETTINGS}}}, id="body in a request"),
        pytest.param({"body": {"messages": CHAT, **SETTINGS, "stream": True}}, id="body"),
        pytest.param({"body": {"messages": CHAT}, **SETTINGS}, id="beside a body"),
        pytest.param({"input": {"messages": CHAT, **SETTINGS}}, id="input"),
        pytest.param({"input": CHAT, "modelParameters": SETTINGS}, id="Langfuse's parameters"),
        pytest.param({"prompt": CHAT[0]["content"], **SETTINGS}, id="prompt"),
        pytest.param({"custom_id": "1", "body": {"messages": CHAT, **SETTINGS}}, id="batch"),
        pytest.param({"custom_id": "1", "params": {"messages": CHAT, **SETTINGS}}, id="Anthropic's batch"),
        pytest.param(
            {"request_id": "r", "spend": 1, "startTime": 1, "messages": CHAT, "proxy_server_request": SETTINGS},
            id="LiteLLM",
        ),
    ],
)
def test_settings_are_kept(tmp_path: Path, record: dict[str, Any]) -> None:
    body = body_of(tmp_path, record)
    assert body["messages"] == CHAT
    assert rest_of(body) == SETTINGS


@pytest.mark.parametrize(
    "record",
    [
        pytest.param({"prompt": "x", "n": 7}, id="the number of a row"),
        pytest.param({"prompt": "x", "audio": "path.wav", "thinking": "Let me see."}, id="texts of a data set"),
        pytest.param({"messages": CHAT, "tools": "none", "temperature": "high", "seed": True}, id="other types"),
        pytest.param({"messages": CHAT, "top_p": "Infinity", "max_tokens": ""}, id="no numbers"),
        pytest.param(
            {"messages": CHAT, "metadata": {"run": 1}, "store": True, "service_tier": "flex"}, id="bookkeeping"
        ),
    ],
)
def test_what_is_no_setting_is_left(tmp_path: Path, record: dict[str, Any]) -> None:
    body = body_of(tmp_path, record)
    assert rest_of(body) == {}
    assert len(body["messages"]) == 1


@pytest.mark.parametrize("wrap", [lambda body: body, lambda body: {"request": body}], ids=["direct", "request"])
def test_a_responses_request_has_the_chat_apis_names(tmp_path: Path, wrap: Any) -> None:
    request = {
        "model": "m",
        "input": CHAT[0]["content"],
        "max_output_tokens": 9,
        "reasoning": {"effort": "low"},
        "text": {"format": {"type": "json_schema", "name": "a", "schema": {}}, "verbosity": "low"},
        "tools": [{"type": "function", "name": "w", "parameters": {}}],
    }
    body = body_of(tmp_path, wrap(request))
    assert body["messages"] == CHAT
    assert rest_of(body) == {
        "max_completion_tokens": 9,
        "reasoning_effort": "low",
        "verbosity": "low",
        "response_format": FORMAT,
        "tools": [TOOL],
    }


@pytest.mark.parametrize(
    "record",
    [
        pytest.param({"model": "m", "input": CHAT[0]["content"], "instructions": "Be brief."}, id="Responses"),
        pytest.param({"request": {"input": CHAT, "instructions": "Be brief."}}, id="Responses in a request"),
        pytest.param({"prompt": CHAT[0]["content"], "instructions": "Be brief."}, id="instructions and prompt"),
        pytest.param({"prompt": CHAT[0]["content"], "system": "Be brief."}, id="system and prompt"),
        pytest.param({"text": CHAT[0]["content"], "system_message": "Be brief."}, id="system and text"),
        pytest.param({"instruction": CHAT[0]["content"], "system": "Be brief."}, id="Alpaca"),
        pytest.param({"question": CHAT[0]["content"], "System Prompt": "Be brief."}, id="question"),
        pytest.param({"input": {"messages": CHAT}, "system": "Be brief."}, id="beside an object"),
        pytest.param({"messages": CHAT, "instructions": "Be brief."}, id="instructions and messages"),
        pytest.param({"messages": [SYSTEM, *CHAT], "instructions": "Be brief."}, id="the same twice"),
    ],
)
def test_instructions_come_first(tmp_path: Path, record: dict[str, Any]) -> None:
    assert body_of(tmp_path, record)["messages"] == [SYSTEM, *CHAT]


@pytest.mark.parametrize(
    "system",
    [PARTS, ["Be", "brief."], {"parts": PARTS}, {"role": "system", "content": PARTS}, json.dumps(PARTS)],
    ids=["Anthropic", "texts", "Gemini", "message", "JSON in a cell"],
)
@pytest.mark.parametrize("prompt", [{"messages": CHAT}, {"prompt": CHAT}, {"request": {"messages": CHAT}}])
def test_instructions_in_parts(tmp_path: Path, prompt: dict[str, Any], system: Any) -> None:
    expected = [{"role": "system", "content": "Be\nbrief."}, *CHAT]
    assert body_of(tmp_path, {**prompt, "system": system})["messages"] == expected


def test_instructions_hold_beside_a_developers_message(tmp_path: Path) -> None:
    asked = [{"role": "developer", "content": "In French."}, *CHAT]
    assert body_of(tmp_path, {"input": asked, "instructions": "Be brief."})["messages"] == [SYSTEM, *asked]


@pytest.mark.parametrize("name", ["system", "instructions"])
@pytest.mark.parametrize("value", [[{"type": "image", "source": {}}], {"a": 1}, [1]], ids=str)
def test_instructions_without_text_are_refused(tmp_path: Path, name: str, value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=f":1 has a {name} that is neither a text nor parts with text"):
        body_of(tmp_path, {"prompt": "x", name: value})
