"""A real LiteLLM proxy as the router behind semcache: plain, streamed, usage, its errors, and a judge behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest

from semcache import Client
from semcache.client.failures import ClientError
from semcache.server.app import Application
from semcache.settings import load_settings
from semcache.testing.embedder import HashingEmbedder
from tests.support.litellm_proxy import running_proxy

KEY = "sk-of-the-proxy"
ANSWER = "The river rises in the hills and ends in the sea."
CONFIG = f"""
model_list:
  - model_name: chat
    litellm_params: {{model: openai/gpt-4o-mini, api_key: none, mock_response: "{ANSWER}"}}
  - model_name: busy
    litellm_params: {{model: openai/gpt-4o-mini, api_key: none, mock_response: "litellm.RateLimitError"}}
  - model_name: broken
    litellm_params: {{model: openai/gpt-4o-mini, api_key: none, mock_response: "litellm.InternalServerError"}}
  - model_name: slow
    litellm_params: {{model: openai/gpt-4o-mini, api_key: none, mock_response: "{ANSWER}", mock_delay: 3}}
  - model_name: judge-yes
    litellm_params: {{model: openai/gpt-4o-mini, api_key: none, mock_response: "1"}}
  - model_name: judge-no
    litellm_params: {{model: openai/gpt-4o-mini, api_key: none, mock_response: "0"}}
  - model_name: judge-odd
    litellm_params: {{model: openai/gpt-4o-mini, api_key: none, mock_response: "Yes, both ask the same."}}
  - model_name: judge-late
    litellm_params: {{model: openai/gpt-4o-mini, api_key: none, mock_response: "1", mock_delay: 2}}
general_settings: {{master_key: {KEY}}}
router_settings: {{num_retries: 0}}
litellm_settings: {{num_retries: 0, telemetry: false}}
"""


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a running proxy."""
    folder = tmp_path_factory.mktemp("litellm")
    config = folder / "config.yaml"
    config.write_text(CONFIG)
    with running_proxy(config, folder) as url:
        yield url


@pytest.fixture
def judge(request: pytest.FixtureRequest) -> str:
    """The proxy's model that is asked in the grey zone; empty where the test names none."""
    return str(getattr(request, "param", ""))


@pytest.fixture
async def client(proxy: str, judge: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    """A client of a semcache whose upstream is the proxy."""
    monkeypatch.setenv("LITELLM_KEY", KEY)
    monkeypatch.setenv("WRONG_KEY", "sk-of-nobody")
    settings = load_settings(
        None,
        {
            "server": {"port": 0, "http": {"port": 0}},
            "metrics": {"enabled": False},
            "store": {"path": tmp_path, "map_size_bytes": 1 << 30},
            # A mocked answer costs less than a question, so that only its time makes the question worth it.
            "decision": {
                "verifier": {"route": judge, "from_similarity": 0.5, "deadline_s": 1.0, "usd_per_s": 1},
                "threshold": 0.9,
            },
            "upstream": {
                "targets": [
                    {"name": "litellm", "base_url": proxy, "provider": "any", "api_key_env": "LITELLM_KEY"},
                    {"name": "stranger", "base_url": proxy, "api_key_env": "WRONG_KEY"},
                ],
                "routes": [
                    {"alias": "*", "target": "litellm"},
                    {"alias": "as-a-stranger", "target": "stranger", "model": "chat"},
                ],
                "retry": {"max_retries": 0},
            },
        },
    )
    application = await Application.start(settings, embedder=HashingEmbedder())
    try:
        async with Client(application.address) as opened:
            yield opened
    finally:
        await application.stop(1.0)


async def test_a_plain_answer_comes_with_its_usage_and_is_kept(client: Client) -> None:
    first = await client.complete(model="chat", prompt="Where does the river end?")
    assert first.text == ANSWER
    assert first.outcome.route == "litellm"
    assert first.outcome.served_model
    assert first.outcome.usage.input_tokens > 0 < first.outcome.usage.output_tokens
    assert not first.outcome.usage.estimated
    assert first.outcome.cost.priced
    assert first.outcome.cost.output_nanousd == first.outcome.usage.output_tokens * 600
    again = await client.complete(model="chat", prompt="Where does the river end?")
    assert (again.text, again.status) == (first.text, "exact_hit")
    assert again.outcome.saved.total_nanousd == first.outcome.cost.total_nanousd


async def test_a_stream_is_whole_and_meets_the_plain_call_in_one_cache(client: Client) -> None:
    async with client.stream(model="chat", prompt="Tell me of the river.") as stream:
        pieces = [piece async for piece in stream]
    assert len(pieces) > 1
    assert "".join(pieces) == ANSWER
    assert stream.outcome is not None
    assert stream.outcome.usage.output_tokens > 0
    again = await client.complete(model="chat", prompt="Tell me of the river.")
    assert (again.text, again.status) == ("".join(pieces), "exact_hit")


@pytest.mark.parametrize(
    ("alias", "code", "http_status", "reason"),
    [
        ("busy", grpc.StatusCode.RESOURCE_EXHAUSTED, "429", "UPSTREAM_REFUSED"),
        ("broken", grpc.StatusCode.UNAVAILABLE, "500", "UPSTREAM_FAILED"),
        ("nobody-has-this", grpc.StatusCode.INVALID_ARGUMENT, "400", "UPSTREAM_REFUSED"),
        # Without a database of keys it takes an unknown one for a bad request.
        ("as-a-stranger", grpc.StatusCode.INVALID_ARGUMENT, "400", "UPSTREAM_REFUSED"),
    ],
)
async def test_the_proxys_errors_reach_the_caller_as_themselves(
    client: Client, alias: str, code: grpc.StatusCode, http_status: str, reason: str
) -> None:
    for _ in range(2):
        with pytest.raises(ClientError) as caught:
            await client.complete(model=alias, prompt="Where does the river end?")
        assert (caught.value.code, caught.value.metadata.get("http_status")) == (code, http_status)
        assert caught.value.reason == reason
        assert "error" in caught.value.metadata["upstream_body"]


@pytest.mark.parametrize(
    ("judge", "status", "reason"),
    [
        ("judge-yes", "semantic_hit", "judged_same"),
        ("judge-no", "miss", "judged_other"),
        ("judge-odd", "miss", "judge_unclear"),
        ("judge-late", "miss", "judge_late"),
        ("busy", "miss", "judge_failed"),
    ],
    indirect=["judge"],
)
async def test_a_judge_behind_the_proxy(client: Client, judge: str, status: str, reason: str) -> None:
    del judge
    await client.complete(model="slow", prompt="How do I sort a list in python?")
    response = await client.complete(model="slow", prompt="How do I order a list with python?")
    assert (response.status, response.outcome.reason) == (status, reason)
    savings = await client.savings()
    assert savings.total.spent_nanousd > response.outcome.cost.total_nanousd
