"""The cost of a month: up to now, projected, shares, growth."""

from decimal import Decimal
from fractions import Fraction

import pytest

from semcache.costs.periods import Calendar
from semcache.finance.cost_model import CostPart, Spending, measured_s, monthly_cost
from semcache.model import LedgerHour, Status
from semcache.settings import CostModelSettings, ProviderCharge

DAY_S = 86_400
USD = 10**9
JUNE = Calendar().month(2027, 6)
NOTHING = Spending(0, 0, 0, 0.0)
MODEL = CostModelSettings(
    storage_usd_per_gb_month=Decimal("0.10"),
    operations_usd_per_month=Decimal(30),
    monitoring_usd_per_month=Decimal(15),
    provider_charges=(
        ProviderCharge(provider="openai", usd_per_month=Decimal(20)),
        ProviderCharge(provider="meta", usd_per_month=Decimal(5)),
    ),
)


def cost_after(days: float, spending: Spending, before: Spending = NOTHING, **fields):
    fields = {"store_bytes": 600 * 10**9, **fields}
    return monthly_cost(JUNE, JUNE.start_s + days * DAY_S, spending, before, MODEL, **fields)


def test_a_third_of_a_month():
    cost = cost_after(10, Spending(40 * USD, 45 * USD, 1000, 10 * DAY_S))

    assert [(part.part, part.so_far_nanousd, part.projected_nanousd) for part in cost.parts] == [
        (CostPart.INFERENCE, 40 * USD, 120 * USD),
        (CostPart.OUTPUT, 45 * USD, 135 * USD),
        (CostPart.STORAGE, 20 * USD, 60 * USD),
        (CostPart.OPERATIONS, 10 * USD, 30 * USD),
        (CostPart.MONITORING, 5 * USD, 15 * USD),
        (CostPart.FIXED, 25 * USD // 3, 25 * USD),
    ]
    assert cost.projected_nanousd == 385 * USD
    # A share of 360, without the fixed charges; 37.5 % rounds to 38.
    assert [cost.percent(part) for part in cost.parts[:3]] == [100 / 3, 37.5, 100 / 6]
    assert [cost.is_usual(part) for part in cost.parts] == [False, False, False, False, False, None]


def test_shares_that_are_usual():
    cost = cost_after(30, Spending(450 * USD, 450 * USD, 1, 30 * DAY_S))

    assert [cost.is_usual(part) for part in cost.parts] == [True, True, True, True, False, None]


def test_a_ledger_that_began_within_the_month_is_projected_from_its_own_days():
    cost = cost_after(20, Spending(0, 10 * USD, 10, 5 * DAY_S))

    # 10 up to now, and for the remaining ten days twice as much as in the five days measured.
    assert cost.parts[1].projected_nanousd == 30 * USD


def test_less_than_a_day_is_not_projected():
    cost = cost_after(0.9, Spending(0, 10 * USD, 10, 0.9 * DAY_S))

    assert not cost.projects
    assert cost.projected_nanousd is None
    assert cost.so_far_nanousd > 10 * USD


def test_a_month_that_is_over_is_whole():
    cost = cost_after(90, Spending(7, 8, 1, 30 * DAY_S))

    assert (cost.parts[0].projected_nanousd, cost.parts[1].projected_nanousd) == (7, 8)
    assert cost.parts[3].so_far_nanousd == cost.parts[3].projected_nanousd == 30 * USD
    assert cost.remaining_s == 0


def test_tenants_bear_their_share_of_what_is_common():
    cost = cost_after(30, Spending(0, 0, 1, 30 * DAY_S), share=Fraction(1, 4))

    assert [part.projected_nanousd for part in cost.parts[2:]] == [
        15 * USD,
        7_500_000_000,
        3_750_000_000,
        6_250_000_000,
    ]


@pytest.mark.parametrize(
    ("spent_usd", "growth", "too_fast"), [(10, 0.0, False), (10.4, 0.04, False), (10.6, 0.06, True), (8, -0.2, False)]
)
def test_growth_is_by_the_hour(spent_usd, growth, too_fast):
    # A month of 31 days with the same cost per day shows no growth.
    before = Spending(0, 31 * USD, 1, 31 * DAY_S)
    cost = cost_after(10, Spending(0, int(spent_usd * USD), 1, 10 * DAY_S), before)

    assert cost.growth == pytest.approx(growth, abs=1e-9)
    assert cost.grows_too_fast is too_fast


@pytest.mark.parametrize("before", [NOTHING, Spending(0, 5, 1, DAY_S - 1), Spending(0, 0, 9, 30 * DAY_S)])
def test_growth_over_nothing_is_unknown(before):
    cost = cost_after(10, Spending(0, USD, 1, 10 * DAY_S), before)

    assert (cost.growth, cost.grows_too_fast) == (None, False)


def test_what_was_measured_of_a_window():
    assert measured_s(JUNE, None, JUNE.end_s) == 0
    assert measured_s(JUNE, 0.0, JUNE.start_s + 5) == 5
    assert measured_s(JUNE, JUNE.start_s + 3600, JUNE.end_s + 9) == 30 * DAY_S - 3600
    assert measured_s(JUNE, JUNE.end_s, JUNE.end_s + 9) == 0


def test_spending_counts_cached_input_as_inference():
    hour = LedgerHour(
        0, "t", "m", "", Status.MISS, requests=2,
        spent_input_nanousd=3, spent_cached_input_nanousd=4, spent_output_nanousd=5,
    )  # fmt: skip

    assert Spending.of([hour, hour], 1.0) == Spending(14, 10, 4, 1.0)
