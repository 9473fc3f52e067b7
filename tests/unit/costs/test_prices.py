"""The price book: overrides before bundled prices, dates and hours, and an unknown model that is never free."""

from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version

import genai_prices
import pytest
from structlog.testing import capture_logs

from semcache.costs.prices import PriceBook, PriceMemory
from semcache.model import NANOUSD_PER_USD, NO_COST, Usage
from semcache.settings import CostSettings, Target

AT_S = datetime(2026, 11, 1, 12, tzinfo=UTC).timestamp()
USAGE = Usage(input_tokens=1000, cached_input_tokens=400, output_tokens=10)
BUNDLED = f"genai-prices {version('genai-prices')}"


@pytest.fixture
def book():
    return PriceBook.open(CostSettings())


@pytest.fixture
def book_with(tmp_path):
    def open_with(*models):
        path = tmp_path / "prices.toml"
        path.write_text("".join(f'[[price]]\nmodel = "{model}"\ninput = 1\noutput = 2\n' for model in models))
        return PriceBook.open(CostSettings(price_file=path))

    return open_with


def library_nanousd(usage, model, provider_id=None, at_s=AT_S):
    price = genai_prices.calc_price(
        genai_prices.Usage(
            input_tokens=usage.input_tokens,
            cache_read_tokens=usage.cached_input_tokens,
            output_tokens=usage.output_tokens,
        ),
        model,
        provider_id=provider_id,
        genai_request_timestamp=datetime.fromtimestamp(at_s, tz=UTC),
    )
    return price.total_price * NANOUSD_PER_USD


def test_a_known_model_costs_what_the_library_says_split_in_three(book):
    cost = book.cost("gpt-4o", USAGE, AT_S)

    assert (cost.input_nanousd, cost.cached_input_nanousd, cost.output_nanousd) == (1_500_000, 500_000, 100_000)
    assert cost.priced
    assert cost.price_version == BUNDLED
    assert cost.total_nanousd == library_nanousd(USAGE, "gpt-4o")


GOOGLE = Target.model_validate({"name": "g", "base_url": "https://generativelanguage.googleapis.com/v1beta/openai"})
ROUTER = Target.model_validate({"name": "r", "base_url": "https://openrouter.ai/api/v1"})


@pytest.mark.parametrize(
    ("route", "model", "same"),
    [
        ("g", "models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("", "models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("", "google/models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("g", "publishers/google/models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("g", "projects/p/locations/us/publishers/google/models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("r", "gpt-5:floor", "gpt-5"),
        ("r", "openai/gpt-4o:nitro", "openai/gpt-4o"),
        ("r", "moonshotai/kimi-k2:exacto", "moonshotai/kimi-k2"),
        ("", "openai/gpt-5:Floor", "openai/gpt-5"),
    ],
)
def test_a_path_and_a_routers_choice_are_no_part_of_a_name(route, model, same):
    book = PriceBook.open(CostSettings(), targets=[GOOGLE, ROUTER])
    cost = book.cost(model, USAGE, AT_S, route)
    assert cost.priced
    assert cost == book.cost(same, USAGE, AT_S, route)


@pytest.mark.parametrize("model", ["openai/gpt-5:online", "openai/gpt-5:nitro:online"])
def test_a_search_that_a_name_asks_for_is_flagged(model):
    book = PriceBook.open(CostSettings(), targets=[ROUTER])
    plain = book.cost("openai/gpt-5", USAGE, AT_S, "r")
    assert book.cost(model, USAGE, AT_S, "r") == plain._replace(partly_priced=True)


def test_an_override_holds_for_all_ways_of_routing_unless_one_has_its_own(book_with):
    book = book_with("gpt-5", "gpt-4o:online")
    assert book.cost("gpt-5:nitro", USAGE, AT_S) == book.cost("gpt-5", USAGE, AT_S)
    assert book.cost("gpt-5:nitro", USAGE, AT_S).price_version.startswith("override ")
    assert book.cost("gpt-5:online", USAGE, AT_S).partly_priced
    assert not book.cost("gpt-4o:online", USAGE, AT_S).partly_priced


@pytest.mark.parametrize("model", ["house-model:14b", "gpt-5:14b", "accounts/me/models/gpt-5", "models/house"])
def test_other_endings_and_paths_stay_a_part_of_a_name(model):
    assert not PriceBook.open(CostSettings(), targets=[ROUTER]).cost(model, USAGE, AT_S, "r").priced


@pytest.mark.parametrize("model", ["gpt-4o-2024-08-06", "openai/gpt-4o", "azure/gpt-4o", "GPT-4o"])
def test_other_names_of_a_model_are_known(book, model):
    assert book.cost(model, USAGE, AT_S).total_nanousd == book.cost("gpt-4o", USAGE, AT_S).total_nanousd


def test_the_provider_before_the_slash_sets_the_price(book):
    cost = book.cost("groq/llama-3.1-8b-instant", USAGE, AT_S)

    assert cost.total_nanousd == library_nanousd(USAGE, "llama-3.1-8b-instant", "groq")


@pytest.mark.parametrize("tokens", [200_000, 200_001])
def test_tiers_follow_the_input_of_the_call(book, tokens):
    usage = Usage(input_tokens=tokens, cached_input_tokens=1000, output_tokens=500)

    assert book.cost("gemini-2.5-pro", usage, AT_S).total_nanousd == library_nanousd(usage, "gemini-2.5-pro")


def test_a_fee_per_call_is_in_the_cost(book):
    cost = book.cost("perplexity/sonar", Usage(output_tokens=1), AT_S)

    assert cost.total_nanousd == library_nanousd(Usage(output_tokens=1), "sonar", "perplexity")
    assert cost.input_nanousd > 0


def test_a_price_that_depends_on_the_hour_follows_the_call_whatever_the_order(book):
    day_s = datetime(2025, 6, 1, tzinfo=UTC).timestamp()
    hours_s = [day_s + hour * 3600 + 1800 for hour in (2, 16, 0, 20, 2)]

    costs = [book.cost("deepseek-chat", USAGE, at_s).total_nanousd for at_s in hours_s]

    assert costs == [library_nanousd(USAGE, "deepseek-chat", at_s=at_s) for at_s in hours_s]
    assert len(set(costs)) > 1


def test_a_price_that_depends_on_the_date_follows_the_call(book):
    dates_s = [datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (2024, 2026, 2024)]

    costs = [book.cost("o3", USAGE, at_s).total_nanousd for at_s in dates_s]

    assert costs == [library_nanousd(USAGE, "o3", at_s=at_s) for at_s in dates_s]
    assert costs[0] == costs[2] != costs[1]


def test_an_unknown_model_is_unpriced_never_free(book):
    with capture_logs() as logs:
        costs = [book.cost("house-model", USAGE, AT_S) for _ in range(3)]

    assert costs == [NO_COST] * 3
    assert not costs[0].priced
    assert book.unpriced_models() == {"house-model": 3}
    assert [line["model"] for line in logs] == ["house-model"]


def test_a_model_that_is_listed_without_prices_is_unpriced(book):
    assert not book.cost("github-copilot/gpt-4o", USAGE, AT_S).priced


def test_the_names_of_unpriced_models_are_bounded():
    book = PriceBook.open(CostSettings(), PriceMemory(unpriced=2))

    for number in range(5):
        book.cost(f"house-{number}", USAGE, AT_S)

    assert book.unpriced_models() == {"house-0": 1, "house-1": 1, "other": 3}


def test_remembered_prices_are_bounded_and_stay_right():
    book = PriceBook.open(CostSettings(), PriceMemory(quotes=3))
    expected = book.cost("gpt-4o", USAGE, AT_S)

    for number in range(10):
        book.cost(f"house-{number}", USAGE, AT_S)
        assert len(book._quotes) <= 3

    assert book.cost("gpt-4o", USAGE, AT_S) == expected


def test_an_endless_name_is_unpriced_and_not_remembered(book):
    assert not book.cost("gpt-4o" * 10_000, USAGE, AT_S).priced
    assert not book._quotes
    assert all(len(name) <= 256 for name in book.unpriced_models())


def test_an_override_beats_the_bundled_price(book_with):
    book = book_with("GPT-4o")

    cost = book.cost("gpt-4o", USAGE, AT_S)

    assert (cost.input_nanousd, cost.cached_input_nanousd, cost.output_nanousd) == (600_000, 400_000, 20_000)
    assert cost.price_version.startswith("override ")
    assert book.cost("gpt-4o-mini", USAGE, AT_S).price_version == BUNDLED


@pytest.mark.parametrize("model", ["gpt-4o-2024-08-06", "gpt-4o-20240806", "gpt-4o-0613"])
def test_an_override_holds_for_a_models_dated_snapshots(book_with, model):
    assert book_with("gpt-4o").cost(model, USAGE, AT_S).price_version.startswith("override ")


def test_a_snapshots_own_override_comes_first(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text(
        '[[price]]\nmodel = "m"\ninput = 1\noutput = 1\n[[price]]\nmodel = "m-2024-08-06"\ninput = 5\noutput = 5\n'
    )
    book = PriceBook.open(CostSettings(price_file=path))

    assert book.cost("m-2024-08-06", Usage(input_tokens=1), AT_S).total_nanousd == 5000
    assert book.cost("m-2024-05-13", Usage(input_tokens=1), AT_S).total_nanousd == 1000


def test_an_override_doesnt_reach_another_provider(book_with):
    assert book_with("gpt-4o").cost("azure/gpt-4o", USAGE, AT_S).price_version == BUNDLED


def test_the_librarys_prices_are_exact_decimals():
    assert isinstance(library_nanousd(USAGE, "gpt-4o"), Decimal)


def test_a_charge_that_is_remembered_is_the_one_that_would_be_made():
    book = PriceBook.open(CostSettings(), PriceMemory(charges=3))
    usages = [Usage(tokens, tokens // 2, 7) for tokens in range(10)]
    fresh = [PriceBook.open(CostSettings()).cost("gpt-4o", usage, AT_S) for usage in usages]
    for _ in range(2):
        assert [book.cost("gpt-4o", usage, AT_S) for usage in usages] == fresh


def test_the_charges_of_all_models_together_are_bounded_and_estimates_leave_none():
    book = PriceBook.open(CostSettings(), PriceMemory(charges=5))
    for number in range(40):
        book.quote("gpt-4o", Usage(number), AT_S)
    assert not book._charged
    for number in range(40):
        book.cost(("gpt-4o", "gpt-4o-mini", "nobody-prices-this")[number % 3], Usage(number), AT_S)
        assert len(book._charged) <= 5
