"""Tokens to nanodollars: exact rates, half-even rounding, bands, clamped nonsense."""

from decimal import Decimal

import pytest

from semcache.costs.tariff import MAX_TOKENS, MAX_USD_PER_MILLION, Band, Rate, Tariff
from semcache.model import Cost, Usage


def flat(input_usd, output_usd, cached_usd):
    of_input, of_cached, of_output = (Rate.of(Decimal(usd)) for usd in (input_usd, cached_usd, output_usd))
    return Tariff((Band(-1, of_input, of_cached, of_output, of_input),), "test")


def test_the_parts_are_priced_each_at_its_own_rate():
    usage = Usage(input_tokens=1000, cached_input_tokens=400, output_tokens=10)

    assert flat("2.5", "10", "1.25").charge(usage) == Cost(
        1_500_000, 500_000, 100_000, priced=True, price_version="test"
    )


@pytest.mark.parametrize(
    ("units", "nanousd"),
    [(1, 0), (2, 1), (3, 2), (5, 2), (7, 4), (0, 0)],  # 0.5, 1, 1.5, 2.5, 3.5
)
def test_halves_round_to_even(units, nanousd):
    assert Rate.of(Decimal("0.0005")).charge(units) == nanousd


def test_more_than_half_rounds_up_and_less_rounds_down():
    assert [Rate.of(Decimal("0.0003")).charge(n) for n in (1, 2, 5, 9)] == [0, 1, 2, 3]


def test_a_rate_keeps_eighteen_decimals():
    rate = Rate.of(Decimal("0.000000000000000001"))

    assert (rate.numerator, rate.denominator) == (1, 10**15)


def test_a_band_holds_for_all_tokens_of_a_call_beyond_its_start():
    tariff = Tariff(
        (Band(200, Rate(30), Rate(3), Rate(100), Rate(30)), Band(-1, Rate(20), Rate(2), Rate(50), Rate(20))),
        price_version="test",
    )

    below = tariff.charge(Usage(input_tokens=200, cached_input_tokens=100, output_tokens=1))
    beyond = tariff.charge(Usage(input_tokens=201, cached_input_tokens=100, output_tokens=1))

    assert (below.input_nanousd, below.cached_input_nanousd, below.output_nanousd) == (2000, 200, 50)
    assert (beyond.input_nanousd, beyond.cached_input_nanousd, beyond.output_nanousd) == (3030, 300, 100)


def test_a_fee_per_call_counts_as_input():
    tariff = Tariff((Band(-1, Rate(1), Rate(1), Rate(1), Rate(1)),), "test", call_fee=Rate(5_000_000))

    assert tariff.charge(Usage(input_tokens=7)).input_nanousd == 5_000_007


@pytest.mark.parametrize(
    ("nonsense", "sense"),
    [
        (Usage(-5, -5, -5), Usage(0, 0, 0)),
        (Usage(10, 20, 1), Usage(10, 10, 1)),
        (Usage(-1, 5, 3), Usage(0, 0, 3)),
        (Usage(10**30, 10**30, 10**30), Usage(MAX_TOKENS, MAX_TOKENS, MAX_TOKENS)),
    ],
)
def test_nonsense_is_clamped(nonsense, sense):
    tariff = flat("2.5", "10", "1.25")

    assert tariff.charge(nonsense) == tariff.charge(sense)


def test_the_dearest_call_fits_64_bits():
    dearest = str(MAX_USD_PER_MILLION)
    cost = flat(dearest, dearest, dearest).charge(Usage(MAX_TOKENS, 0, MAX_TOKENS))

    assert cost.total_nanousd < 2**63


def test_what_is_written_to_the_providers_cache_has_its_price_and_counts_as_input():
    tariff = Tariff((Band(-1, Rate(100), Rate(10), Rate(500), Rate(125)),), "test")

    cost = tariff.charge(Usage(1000, 300, 1, cache_write_tokens=200))

    assert (cost.input_nanousd, cost.cached_input_nanousd) == (500 * 100 + 200 * 125, 300 * 10)


def test_no_more_is_written_than_was_not_read():
    tariff = Tariff((Band(-1, Rate(100), Rate(10), Rate(500), Rate(125)),), "test")

    assert tariff.charge(Usage(10, 6, 0, cache_write_tokens=9)) == tariff.charge(Usage(10, 6, 0, cache_write_tokens=4))
