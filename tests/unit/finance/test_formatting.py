"""Values for people: fitting decimals, rounding, plurals."""

from fractions import Fraction

import pytest

from semcache.finance.formatting import Dollars, counted, exactly, per_request, percent

USD = 10**9


@pytest.mark.parametrize(
    ("amounts", "decimals"),
    [([], 2), ([0], 2), ([1], 6), ([USD - 1], 6), ([USD, 3], 4), ([-200 * USD], 2), ([100 * USD], 2)],
)
def test_a_column_has_the_decimals_of_its_largest_amount(amounts, decimals):
    assert Dollars.fitting(amounts).decimals == decimals


@pytest.mark.parametrize(
    ("usd", "decimals", "expected"),
    [
        (Fraction(1234567, 100), 2, "12,345.67"),
        (Fraction(1, 200), 2, "0.00"),
        (Fraction(3, 200), 2, "0.02"),
        (Fraction(-3, 2), 2, "-1.50"),
        (Fraction(-1, 1000), 2, "0.00"),
        (Fraction(5, 2), 0, "2"),
    ],
)
def test_an_amount_is_rounded_half_to_even(usd, decimals, expected):
    assert exactly(usd, decimals) == expected


def test_what_is_unknown_is_a_dash():
    assert (per_request(None), percent(None)) == ("–", "–")
    assert (per_request(0.0012345678), percent(40.04)) == ("0.001235", "40.0")


def test_one_is_one():
    assert [counted(count, "request") for count in (0, 1, 2000)] == ["0 requests", "1 request", "2,000 requests"]
