"""The examples: each configuration starts, speaks to its router as that documents it, and each stage is cheaper."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest

from benchmarks.stages import BRIEF_USD, stages
from semcache import Client
from semcache.client.failures import ClientError
from semcache.server.app import Application
from semcache.settings import load_settings
from semcache.testing.embedder import HashingEmbedder
from semcache.testing.upstream_server import Received, Reply, ScriptedServer, events, plain

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
KEY = "sk-secret"
KEYS = ("OPENAI_API_KEY", "LITELLM_API_KEY", "BIFROST_VIRTUAL_KEY", "MARTIAN_API_KEY", "VLLM_API_KEY")


@pytest.fixture(autouse=True)
def _from_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for name in KEYS:
        monkeypatch.setenv(name, KEY)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("r*s/*.toml")) + sorted(EXAMPLES.glob("stages/*.toml")), ids=str)
def test_every_example_is_a_configuration(path: Path) -> None:
    assert load_settings(path).upstream.targets


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("routers/*.toml")), ids=str)
def test_a_key_that_is_not_there_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.delenv(name)
    with pytest.raises(Exception, match="is not set"):
        load_settings(path)


async def test_each_stage_costs_what_the_brief_says_and_less_than_the_one_before() -> None:
    played = await stages()
    costs = [stage.cost_usd for stage in played]
    assert costs == sorted(costs, reverse=True)
    assert len(set(costs)) == 4
    for stage in played:
        low, high = BRIEF_USD[stage.name]
        assert low <= stage.cost_usd <= high


# What each router answers with, as it documents it: the shape around the answer, the last chunks, and an error.


def completion(model: str, **around: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": 21, "completion_tokens": 4, "total_tokens": 25}
    choice = {"index": 0, "message": {"role": "assistant", "content": "It is."}, "finish_reason": "stop"}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_780_000_000,
        "model": model,
        "choices": [choice],
        "usage": usage,
        **around,
    }


def chunks(model: str, **around: Any) -> list[bytes]:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_780_000_000, "model": model}
    deltas: list[tuple[dict[str, Any], str | None]] = [
        ({"role": "assistant", "content": ""}, None),
        ({"content": "It "}, None),
        ({"content": "is."}, None),
        ({}, "stop"),
    ]
    told = [
        {**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": why}], **around}
        for delta, why in deltas
    ]
    usage = {"prompt_tokens": 21, "completion_tokens": 4, "total_tokens": 25}
    return [json.dumps(chunk).encode() for chunk in [*told, {**head, "choices": [], "usage": usage, **around}]]


OPENAI = {"service_tier": "default", "system_fingerprint": "fp_1"}
BIFROST = {"extra_fields": {"request_type": "chat_completion", "provider": "openai", "latency": 312, "chunk_index": 0}}
VLLM = {"prompt_logprobs": None, "kv_transfer_params": None}
ROUTERS: Mapping[str, tuple[str, str, str, dict[str, Any], dict[str, Any]]] = {
    # name: path, the alias that is asked for, the model that the router gets, what stands around, an error
    "openai": (
        "/v1/chat/completions",
        "gpt-4o-mini",
        "gpt-4o-mini",
        OPENAI,
        {"error": {"message": "slow down", "type": "requests", "param": None, "code": "rate_limit_exceeded"}},
    ),
    "litellm": (
        "/v1/chat/completions",
        "gpt-4o-mini",
        "gpt-4o-mini",
        {"system_fingerprint": None, "service_tier": None},
        {"error": {"message": "litellm.RateLimitError: slow down", "type": None, "param": None, "code": "429"}},
    ),
    "bifrost": (
        "/openai/v1/chat/completions",
        "small",
        "openai/gpt-4o-mini",
        BIFROST,
        {"is_bifrost_error": False, "status_code": 429, "error": {"type": "rate_limit", "message": "slow down"}},
    ),
    "martian": (
        "/v1/chat/completions",
        "small",
        "openai/gpt-4.1-nano",
        {},
        {"error": {"message": "slow down", "type": "rate_limit_error"}},
    ),
    "vllm": (
        "/v1/chat/completions",
        "house",
        "house-model",
        VLLM,
        {"object": "error", "message": "slow down", "type": "TooManyRequests", "param": None, "code": 429},
    ),
}


async def start(name: str, server: ScriptedServer, path: Path) -> Application:
    """A server of the example's configuration, its targets' hosts replaced by the scripted one, their paths kept."""
    values = tomllib.loads((EXAMPLES / "routers" / f"{name}.toml").read_text("utf-8"))
    own = server.base_url.removesuffix("/v1")
    for target in values["upstream"]["targets"]:
        scheme, _, rest = target["base_url"].partition("://")
        assert scheme in {"http", "https"}
        target["base_url"] = f"{own}/{rest.partition('/')[2]}"
    values["upstream"]["retry"] = {"max_retries": 0}
    sections = {
        "server": {"port": 0, "http": {"port": 0}},
        "metrics": {"enabled": False},
        "store": {"path": path, "map_size_bytes": 1 << 30},
    }
    return await Application.start(load_settings(None, {**values, **sections}), embedder=HashingEmbedder())


def answering(model: str, around: dict[str, Any]) -> Callable[[Received], Reply]:
    def reply(request: Received) -> Reply:
        if request.streams:
            return events(chunks(model, **around))
        return plain(json.dumps(completion(model, **around)).encode())

    return reply


@pytest.mark.parametrize("name", ROUTERS)
async def test_a_router_is_asked_and_read_as_it_documents(name: str, tmp_path: Path) -> None:
    path, alias, model, around, _ = ROUTERS[name]
    async with ScriptedServer(answering(model, around)) as server:
        application = await start(name, server, tmp_path)
        async with Client(application.address) as client:
            answer = await client.complete(model=alias, prompt="Is it?", temperature=0.5)
            async with client.stream(model=alias, prompt="Is it, really?") as stream:
                pieces = [piece async for piece in stream]
        await application.stop(1.0)
        assert (answer.text, "".join(pieces)) == ("It is.", "It is.")
        assert stream.outcome is not None
        for outcome in (answer.outcome, stream.outcome):
            assert outcome.served_model == model
            assert (outcome.usage.input_tokens, outcome.usage.output_tokens) == (21, 4)
            assert not outcome.usage.estimated
        for request in server.requests:
            assert (request.method, request.path) == ("POST", path)
            assert request.headers["authorization"] == f"Bearer {KEY}"
            assert request.headers["content-type"] == "application/json"
            assert request.json["model"] == model
        assert server.requests[0].json["temperature"] == 0.5
        assert server.requests[1].json["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("name", ROUTERS)
async def test_a_routers_error_reaches_the_caller_as_itself(name: str, tmp_path: Path) -> None:
    _, alias, _, _, error = ROUTERS[name]
    async with ScriptedServer(lambda _: plain(json.dumps(error).encode(), status=429)) as server:
        application = await start(name, server, tmp_path)
        async with Client(application.address) as client:
            with pytest.raises(ClientError) as caught:
                await client.complete(model=alias, prompt="Is it?")
        await application.stop(1.0)
    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.metadata["http_status"] == "429"
    assert "slow down" in caught.value.metadata["upstream_body"]


def test_no_example_names_a_key() -> None:
    for path in EXAMPLES.rglob("*.toml"):
        assert "api_key =" not in path.read_text("utf-8")
