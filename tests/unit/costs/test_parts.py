"""What has a price of its own: service tiers, audio, images, searches; and the flag where that price isn't known."""

from datetime import UTC, datetime

import genai_prices
import pytest
from genai_prices.data import providers
from hypothesis import given
from hypothesis import strategies as st

from semcache.costs.prices import PriceBook
from semcache.costs.tariff import PART_GROUPS
from semcache.errors import SettingsError
from semcache.model import NANOUSD_PER_USD, Usage
from semcache.settings import CostSettings

AT_S = datetime(2026, 11, 1, 12, tzinfo=UTC).timestamp()
BOOK = PriceBook.open(CostSettings())


def library_nanousd(model, context=None, provider="openai", **usage):
    (known,) = [each for each in providers if each.id == provider]
    found = known.find_model(model, all_providers=providers)
    price = found.calc_price(
        genai_prices.Usage(**usage),
        known,
        genai_request_timestamp=datetime.fromtimestamp(AT_S, tz=UTC),
        price_context=context,
    )
    return price.total_price * NANOUSD_PER_USD


@pytest.mark.parametrize(
    ("tier", "context"),
    [
        ("", None),
        ("flex", {"service_tier": "flex"}),
        ("priority", {"service_tier": "priority"}),
        ("batch", {"processing": "batch"}),
    ],
)
def test_a_tier_costs_what_the_library_says(tier, context):
    cost = BOOK.cost("gpt-5", Usage(1_000, 400, 200, service_tier=tier), AT_S)
    wanted = library_nanousd("gpt-5", context, input_tokens=1_000, cache_read_tokens=400, output_tokens=200)
    assert (cost.total_nanousd, cost.partly_priced) == (wanted, False)


@pytest.mark.parametrize(("model", "tier"), [("gpt-5", "scale"), ("gpt-audio", "flex"), ("mistral-large", "priority")])
def test_a_tier_without_a_known_price_has_the_standard_one_and_is_flagged(model, tier):
    usage = Usage(1_000, 0, 200)
    standard, cost = BOOK.cost(model, usage, AT_S), BOOK.cost(model, usage._replace(service_tier=tier), AT_S)
    assert cost == standard._replace(partly_priced=True)
    assert standard.priced


def test_audio_costs_what_the_library_says():
    usage = Usage(1_000, 0, 200, parts=(("input_audio", 600), ("output_audio", 150)))
    wanted = library_nanousd(
        "gpt-audio", input_tokens=1_000, input_audio_tokens=600, output_tokens=200, output_audio_tokens=150
    )
    cost = BOOK.cost("gpt-audio", usage, AT_S)
    assert (cost.total_nanousd, cost.partly_priced) == (wanted, False)
    assert cost.total_nanousd == 400 * 2_500 + 600 * 32_000 + 50 * 10_000 + 150 * 64_000


def test_web_searches_cost_what_the_library_says():
    cost = BOOK.cost("gpt-5", Usage(1_000, 0, 200, parts=(("web_searches", 3),)), AT_S)
    assert cost.total_nanousd == library_nanousd("gpt-5", input_tokens=1_000, output_tokens=200, web_searches=3)
    assert (cost.input_nanousd, cost.partly_priced) == (1_000 * 1_250 + 3 * 10_000_000, False)


def test_a_cache_that_is_kept_for_an_hour_has_its_own_price():
    usage = Usage(1_000, 0, 10, cache_write_tokens=300, parts=(("cache_write_1h", 100),))
    cost = BOOK.cost("claude-sonnet-4-0", usage, AT_S)
    assert cost.input_nanousd == 700 * 3_000 + 200 * 3_750 + 100 * 6_000
    assert not cost.partly_priced


def test_reasoning_and_citations_have_their_own_price_where_they_have_one():
    parts = (("output_citation", 200), ("output_reasoning", 300), ("web_searches", 2))
    cost = BOOK.cost("perplexity/sonar-deep-research", Usage(100, 0, 600, parts=parts), AT_S)
    assert cost.output_nanousd == 100 * 8_000 + 200 * 2_000 + 300 * 3_000
    assert (cost.input_nanousd, cost.partly_priced) == (100 * 2_000 + 2 * 5_000_000, False)
    plain = BOOK.cost("gpt-5", Usage(100, 0, 600, parts=(("output_reasoning", 300),)), AT_S)
    assert plain == BOOK.cost("gpt-5", Usage(100, 0, 600), AT_S)


def test_a_fee_per_call_has_the_searches_in_it():
    cost = BOOK.cost("perplexity/sonar", Usage(1_000, 0, 10, parts=(("web_searches", 1),)), AT_S)
    assert cost == BOOK.cost("perplexity/sonar", Usage(1_000, 0, 10), AT_S)
    assert cost.input_nanousd == 1_000 * 1_000 + 12_000_000


@pytest.mark.parametrize(
    ("parts", "fee_nanousd", "partly"),
    [
        ([], 12_000_000, False),
        ([("told_fee", 5_000_000)], 5_000_000, False),
        ([("search_context_low", 1)], 12_000_000, True),
        ([("search_context_high", 1), ("web_searches", 1)], 12_000_000, False),
    ],
    ids=["nothing told", "a fee", "a small context", "a large context"],
)
def test_a_fee_that_is_told_is_the_calls_fee(parts, fee_nanousd, partly):
    cost = BOOK.cost("perplexity/sonar", Usage(1_000, 0, 10, parts=tuple(parts)), AT_S)
    assert (cost.input_nanousd, cost.partly_priced) == (1_000 * 1_000 + fee_nanousd, partly)


def test_a_fee_that_is_told_for_a_model_without_one_is_flagged():
    cost = BOOK.cost("gpt-5", Usage(1_000, 0, 10, parts=(("told_fee", 5_000_000),)), AT_S)
    assert cost == BOOK.cost("gpt-5", Usage(1_000, 0, 10), AT_S)._replace(partly_priced=True)


def test_the_operators_own_fee_has_any_context_in_it(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text('[[price]]\nmodel = "perplexity/sonar"\ninput = 1\noutput = 1\nper_call = 0.006\n')
    book = PriceBook.open(CostSettings(price_file=path))
    for part in (("search_context_low", 1), ("told_fee", 5_000_000)):
        cost = book.cost("perplexity/sonar", Usage(1_000, 0, 10, parts=(part,)), AT_S)
        assert (cost.input_nanousd, cost.partly_priced) == (1_000 * 1_000 + 6_000_000, False)


def test_the_fast_mode_of_anthropic_has_its_own_price():
    cost = BOOK.cost("claude-opus-5", Usage(1_000, 0, 10, service_tier="fast"), AT_S)
    wanted = library_nanousd("claude-opus-5", {"speed": "fast"}, "anthropic", input_tokens=1_000, output_tokens=10)
    assert (cost.total_nanousd, cost.partly_priced) == (wanted, False)
    assert cost.total_nanousd > BOOK.cost("claude-opus-5", Usage(1_000, 0, 10), AT_S).total_nanousd


@pytest.mark.parametrize("part", sorted(PART_GROUPS.keys() - {"output_reasoning"}))
def test_a_part_without_a_known_price_has_the_texts_and_is_flagged(part):
    plain = Usage(1_000, 300, 200, cache_write_tokens=100)
    cost = BOOK.cost("grok-3", plain._replace(parts=((part, 50),)), AT_S)
    assert cost == BOOK.cost("grok-3", plain, AT_S)._replace(partly_priced=True)


def test_more_of_a_part_than_there_is_is_cut_and_flagged():
    cost = BOOK.cost("gpt-audio", Usage(100, 0, 0, parts=(("input_audio", 900),)), AT_S)
    assert (cost.input_nanousd, cost.partly_priced) == (100 * 32_000, True)


def test_a_price_file_gives_tiers_and_parts_a_price(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text(
        '[[price]]\nmodel = "m"\ninput = 2\noutput = 4\nparts = { input_audio = 10, web_searches = 5 }\n'
        '[[price]]\nmodel = "m"\nservice_tier = "Flex"\ninput = 1\noutput = 2\n'
        '[[price]]\nmodel = "n"\nservice_tier = "default"\ninput = 1\noutput = 2\n'
    )
    book = PriceBook.open(CostSettings(price_file=path))
    parts = (("input_audio", 400), ("web_searches", 2))
    cost = book.cost("m", Usage(1_000, 0, 0, parts=parts), AT_S)
    assert (cost.input_nanousd, cost.partly_priced) == (600 * 2_000 + 400 * 10_000 + 2 * 5_000_000, False)
    assert book.cost("m", Usage(1_000, 0, 0, service_tier="flex"), AT_S).input_nanousd == 1_000_000
    other = book.cost("m", Usage(1_000, 0, 0, service_tier="priority"), AT_S)
    assert (other.input_nanousd, other.partly_priced) == (2_000_000, True)
    assert book.cost("n", Usage(1_000, 0, 0), AT_S).input_nanousd == 1_000_000


def test_a_misspelt_part_of_a_price_file_is_a_problem(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text('[[price]]\nmodel = "m"\ninput = 2\noutput = 4\nparts = { input_adio = 10 }\n')
    with pytest.raises(SettingsError, match="unknown key 'input_adio'"):
        PriceBook.open(CostSettings(price_file=path))


@given(
    st.integers(0, 10**9),
    st.integers(0, 10**9),
    st.dictionaries(st.sampled_from(sorted(PART_GROUPS)), st.integers(1, 10**9)),
    st.sampled_from(["gpt-audio", "gpt-5", "claude-sonnet-4-0", "perplexity/sonar-deep-research", "grok-3"]),
)
def test_parts_never_make_a_cost_negative(input_tokens, output_tokens, parts, model):
    usage = Usage(
        input_tokens, input_tokens // 3, output_tokens, False, input_tokens // 4, "", tuple(sorted(parts.items()))
    )
    cost = BOOK.quote(model, usage, AT_S)
    assert min(cost.input_nanousd, cost.cached_input_nanousd, cost.output_nanousd) >= 0
    assert cost.total_nanousd == cost.input_nanousd + cost.cached_input_nanousd + cost.output_nanousd
