"""Whose prices apply to a target: its own, its provider's, or nobody's."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from semcache.costs.prices import PriceBook
from semcache.errors import SettingsError
from semcache.model import NO_COST, Usage
from semcache.settings import CostSettings, Target, UpstreamSettings

AT_S = datetime(2026, 11, 1, 12, tzinfo=UTC).timestamp()
USAGE = Usage(1_000, 0, 1_000)
GPT_4O_NANOUSD = 12_500_000


def book_of(base_url="http://127.0.0.1:8000/v1", price_file=None, **target):
    return PriceBook.open(CostSettings(price_file=price_file), targets=[Target(name="t", base_url=base_url, **target)])


@pytest.mark.parametrize(
    "base_url",
    [
        "https://api.openai.com/v1",
        "http://api.openai.com/v1",
        "https://API.OPENAI.COM/v1",
        "https://eu.api.openai.com/v1",
        "https://mine.openai.azure.com/openai/v1?api-version=preview",
        "https://openrouter.ai/api/v1",
        "https://ai-gateway.vercel.sh/v1",
        "https://gateway.ai.cloudflare.com/v1/account/gateway/compat",
    ],
)
def test_a_public_name_has_its_price_at_its_provider_and_at_a_public_router(base_url):
    cost = book_of(base_url).cost("gpt-4o", USAGE, AT_S, "t")
    assert (cost.total_nanousd, cost.priced) == (GPT_4O_NANOUSD, True)


@pytest.mark.parametrize(
    "base_url",
    [
        "http://127.0.0.1:11434/v1",
        "http://localhost:8000/v1",
        "http://[::1]:8000/v1",
        "http://10.0.0.7/v1",
        "http://vllm.internal:8000/v1",
        "https://llm.example.com/v1",
        "https://api.groq.com/openai/v1",
        "https://notapi.openai.com.example/v1",
    ],
)
@pytest.mark.parametrize("model", ["gpt-4o", "openai/gpt-4o"])
def test_a_public_name_alone_has_no_price_elsewhere(base_url, model):
    book = book_of(base_url)
    with capture_logs() as logs:
        assert book.cost(model, USAGE, AT_S, "t") == NO_COST
        assert book.quote(model, USAGE, AT_S, "t") == NO_COST
    assert book.unpriced_models() == {model: 1}
    (log,) = logs
    assert (log["event"], log["target"]) == ("costs.model_unpriced", "t")


def test_the_warning_names_the_ways_out():
    with capture_logs() as logs:
        book_of().cost("deepseek-r1:14b", USAGE, AT_S, "t")
        book_of("https://api.openai.com/v1").cost("house-model", USAGE, AT_S, "t")
    elsewhere, unknown = (log["hint"] for log in logs)
    assert "set free, price or provider on the target" in elsewhere
    assert "set free" not in unknown
    assert "costs.price_file" in elsewhere
    assert "costs.price_file" in unknown


@pytest.mark.parametrize("model", ["gpt-4o", "deepseek-r1:14b", "house-model", "x" * 300])
def test_a_free_target_costs_nothing_whatever_its_model(model):
    cost = book_of(free=True).cost(model, USAGE._replace(service_tier="flex", parts=(("web_searches", 1),)), AT_S, "t")
    assert (cost.total_nanousd, cost.priced, cost.partly_priced, cost.price_version) == (0, True, False, "free")


def test_a_targets_own_price_holds_for_all_its_models(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text('[[price]]\nmodel = "gpt-4o"\ninput = 100\noutput = 100\n')
    price = {"input": 0.2, "output": 0.6, "cached_input": 0.05, "per_call": 0.001}
    book = book_of(price=price, price_file=path)
    cost = book.cost("gpt-4o", Usage(1_000, 400, 1_000, cache_write_tokens=100), AT_S, "t")
    assert (cost.input_nanousd, cost.cached_input_nanousd, cost.output_nanousd) == (600 * 200 + 10**6, 20_000, 600_000)
    assert (cost.price_version, cost.partly_priced) == ("target t", False)
    assert book.cost("gpt-4o", USAGE, AT_S).total_nanousd == 2_000 * 100_000


def test_the_price_file_holds_at_every_other_target(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text('[[price]]\nmodel = "house-model"\ninput = 1\noutput = 2\n')
    assert book_of(price_file=path).cost("house-model", USAGE, AT_S, "t").total_nanousd == 3_000_000


@pytest.mark.parametrize("provider", ["openai", "any", "OpenAI", "Any"])
def test_a_provider_may_be_named(provider):
    assert book_of(provider=provider).cost("gpt-4o", USAGE, AT_S, "t").total_nanousd == GPT_4O_NANOUSD


def test_a_named_provider_is_the_only_one():
    book = book_of(provider="groq")
    assert not book.cost("gpt-4o", USAGE, AT_S, "t").priced
    assert book.cost("llama-3.3-70b-versatile", USAGE, AT_S, "t").priced


def test_an_unknown_provider_is_refused_with_the_known_ones():
    with pytest.raises(SettingsError, match=r"provider 'opneai' has no prices; known are any, .*openai"):
        book_of(provider="opneai")


@pytest.mark.parametrize(
    "fields",
    [
        {"free": True, "price": {"input": 1, "output": 1}},
        {"free": True, "provider": "any"},
        {"provider": "any", "price": {"input": 1, "output": 1}},
    ],
    ids=["free and price", "free and provider", "provider and price"],
)
def test_a_target_has_one_way_to_its_price(fields):
    with pytest.raises(ValidationError, match="may have one of free, price and provider"):
        UpstreamSettings.model_validate({"targets": [{"name": "t", "base_url": "http://x/v1", **fields}]})


@pytest.mark.parametrize("price", [{"input": 1}, {"input": -1, "output": 1}, {"input": 1, "output": 1, "inpt": 1}])
def test_a_price_is_whole_and_not_negative(price):
    with pytest.raises(ValidationError):
        Target(name="t", base_url="http://x/v1", price=price)


@pytest.mark.parametrize("model", ["deepseek/deepseek-r1:free", "Meta-Llama/llama-3:FREE"])
@pytest.mark.parametrize("route", ["", "t"])
def test_a_name_that_says_free_is_free(model, route):
    cost = book_of().cost(model, USAGE, AT_S, route)
    assert (cost.total_nanousd, cost.priced, cost.price_version) == (0, True, "free")


def test_a_pattern_does_not_charge_for_a_free_name_and_the_name_itself_does(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text(
        '[[price]]\nmodel = "a/*"\ninput = 1\noutput = 2\n[[price]]\nmodel = "a/x:free"\ninput = 3\noutput = 4\n'
    )
    book = book_of(price_file=path)
    assert book.cost("a/y:free", USAGE, AT_S, "t").total_nanousd == 0
    assert book.cost("a/x:free", USAGE, AT_S, "t").total_nanousd == 7_000_000


@pytest.mark.parametrize("route", ["", "gone"])
def test_the_name_tells_the_price_of_a_callers_own_stack_and_of_a_target_that_is_gone(route):
    assert book_of(free=True).cost("gpt-4o", USAGE, AT_S, route).total_nanousd == GPT_4O_NANOUSD
