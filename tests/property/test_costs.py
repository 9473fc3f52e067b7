"""Costs agree with the bundled library for every model, and sums don't depend on their grouping."""

from datetime import UTC, datetime
from fractions import Fraction

import genai_prices
from genai_prices.data import providers
from hypothesis import given, settings
from hypothesis import strategies as st

from semcache.costs.prices import PriceBook
from semcache.costs.tariff import Rate
from semcache.finance.savings import SavingsGroup, savings
from semcache.model import NANOUSD_PER_USD, LedgerHour, Status, Usage
from semcache.settings import CostSettings

BOOK = PriceBook.open(CostSettings())
# Some ids are patterns for names, which the library itself doesn't find as names.
MODELS = [
    f"{provider.id}/{model.id}"
    for provider in providers
    for model in provider.models
    if provider.find_model(model.id, all_providers=providers)
]

tokens = st.one_of(st.integers(0, 3_000_000), st.sampled_from([0, 1, 128_000, 200_000, 200_001, 272_001]))
seconds = st.floats(1_640_995_200, 1_830_297_600).map(round)  # 2022 to 2028


@st.composite
def usages(draw):
    total = draw(tokens)
    return Usage(total, draw(st.integers(0, total)), draw(tokens))


@settings(max_examples=500)
@given(model=st.sampled_from(MODELS), usage=usages(), at_s=seconds)
def test_a_cost_is_the_librarys_to_half_a_nanodollar_a_part(model, usage, at_s):
    provider, _, name = model.partition("/")
    price = genai_prices.calc_price(
        genai_prices.Usage(
            input_tokens=usage.input_tokens,
            cache_read_tokens=usage.cached_input_tokens,
            output_tokens=usage.output_tokens,
        ),
        name,
        provider_id=provider,
        genai_request_timestamp=datetime.fromtimestamp(at_s, tz=UTC),
    )
    cost = BOOK.cost(model, usage, at_s)

    if model.endswith(":free"):
        assert (cost.priced, cost.total_nanousd) == (True, 0)
        return
    if price.model_price.input_mtok is None or price.model_price.output_mtok is None:
        assert not cost.priced
        return
    assert cost.priced
    assert abs(cost.total_nanousd - price.total_price * NANOUSD_PER_USD) <= 2
    assert abs(cost.output_nanousd - price.output_price * NANOUSD_PER_USD) <= Fraction(1, 2)


@given(
    usd=st.decimals(min_value=0, max_value=1_000_000, places=12),
    units=st.integers(0, 1_000_000_000),
)
def test_rounding_is_half_even_and_exact_otherwise(usd, units):
    exact = Fraction(usd) * units * 1000

    assert Rate.of(usd).charge(units) == round(exact)  # `round` of a Fraction rounds half to even.


hours = st.lists(
    st.builds(
        LedgerHour,
        hour_s=st.integers(0, 100).map(lambda hour: hour * 3600),
        tenant=st.just("t"),
        model=st.sampled_from(["a", "b", ""]),
        task_type=st.sampled_from(["code", "chat", ""]),
        status=st.sampled_from(Status),
        requests=st.integers(0, 1000),
        input_tokens=st.integers(0, 10**12),
        output_tokens=st.integers(0, 10**12),
        spent_input_nanousd=st.integers(0, 10**15),
        spent_cached_input_nanousd=st.integers(0, 10**15),
        spent_output_nanousd=st.integers(0, 10**15),
        saved_nanousd=st.integers(0, 10**15),
        unpriced=st.integers(0, 1000),
    ),
    max_size=30,
)


@given(hours=hours, by_time=st.sampled_from([[], [SavingsGroup.HOUR], [SavingsGroup.DAY]]), by_model=st.booleans())
def test_rows_add_up_to_the_total_and_to_the_ledger(hours, by_time, by_model):
    report = savings(hours, [*by_time, *([SavingsGroup.MODEL] if by_model else [])])

    for figure in ("total_requests", "hits", "spent_nanousd", "saved_nanousd", "net_saved_nanousd", "unpriced"):
        assert sum(getattr(row, figure) for row in report.rows) == getattr(report.total, figure)
    assert report.total.total_requests == sum(hour.requests for hour in hours)
    assert report.total.spent_nanousd == sum(hour.spent_nanousd for hour in hours)
    assert report.total.saved_nanousd == sum(hour.saved_nanousd for hour in hours)
    assert report.total.spent_usage.input_tokens + report.total.saved_usage.input_tokens == sum(
        hour.input_tokens for hour in hours
    )
