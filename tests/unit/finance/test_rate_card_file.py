"""The rate card's file: the shipped example, and all problems listed at once."""

from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from semcache.errors import SettingsError
from semcache.finance.rate_card import Assignment, MarkUp, PayAsYouGo, Quote, Subscription
from semcache.finance.rate_card_file import read_rate_card
from semcache.model import Status

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "tariff.toml"
TIERS = """
[pay_as_you_go]
free = ["error", "cancelled"]
[[pay_as_you_go.tiers]]
name = "all"
statuses = ["exact_hit", "semantic_hit", "coalesced", "miss", "bypass", "refresh"]
usd_per_1k_tokens = 0.01
"""
PLAN = '[[plans]]\nname = "p"\nkind = "pay_as_you_go"\n'


@pytest.fixture
def problems(tmp_path):
    def problems(text):
        path = tmp_path / "tariff.toml"
        path.write_text(text, "utf-8")
        with pytest.raises(SettingsError) as caught:
            read_rate_card(path)
        return [problem.removeprefix(f"{path}: ") for problem in caught.value.problems]

    return problems


def test_the_example_has_the_articles_figures():
    card = read_rate_card(EXAMPLE)

    prices = {tier.name: (tier.statuses, tier.charge(1000)) for tier in card.tiers}
    assert prices == {
        "plain": ({Status.MISS, Status.BYPASS, Status.REFRESH}, Fraction(1, 100)),
        "batch": ({Status.COALESCED}, Fraction(8, 1000)),
        "cache hit": ({Status.EXACT_HIT, Status.SEMANTIC_HIT}, Fraction(6, 1000)),
    }
    assert card.free == {Status.STALE, Status.ERROR, Status.CANCELLED}
    assert card.plans == {
        "pay as you go": PayAsYouGo("pay as you go"),
        "starter": Subscription("starter", Decimal(99), 5_000, hybrid=True),
        "team": Subscription("team", Decimal(299), 20_000, hybrid=True),
        "business": Subscription("business", Decimal(999), 100_000, hybrid=True),
        "enterprise": Quote("enterprise"),
        "cost plus": MarkUp("cost plus", Decimal("0.30"), Decimal("0.10"), Decimal("0.10")),
    }
    assert card.assignment("nobody") == Assignment("pay as you go")
    assert card.assignment("initech") == Assignment("enterprise", Decimal(2_500))


def test_the_articles_mark_up():
    plan = read_rate_card(EXAMPLE).plans["cost plus"]

    assert isinstance(plan, MarkUp)
    assert plan.charge(30_000_000) == Fraction(45, 1000)


def test_gaps_and_overlaps_of_statuses_are_refused(problems):
    listed = problems(
        'default_plan = "p"\n[pay_as_you_go]\nfree = ["error", "miss"]\n'
        '[[pay_as_you_go.tiers]]\nname = "one"\nstatuses = ["miss", "bypass", "refresh", "nonsense"]\n'
        "usd_per_1k_tokens = 0.01\n"
        '[[pay_as_you_go.tiers]]\nname = "two"\nstatuses = ["bypass", "exact_hit"]\nusd_per_1k_tokens = -0.01\n' + PLAN
    )

    assert listed == [
        f"pay_as_you_go.tiers 1: statuses names the unknown status 'nonsense'; there are {', '.join(Status)}",
        "pay_as_you_go.tiers 2: usd_per_1k_tokens must not be negative",
        "pay_as_you_go: status semantic_hit is in no tier and not free",
        "pay_as_you_go: status coalesced is in no tier and not free",
        "pay_as_you_go: status miss is in tier 'one' and in free",
        "pay_as_you_go: status bypass is in tier 'one' and in tier 'two'",
        "pay_as_you_go: status cancelled is in no tier and not free",
    ]


@pytest.mark.parametrize(
    ("bands", "expected"),
    [
        ("{ from = 5, usd_per_1k_tokens = 1 }", ["bands leave a gap from 0 to 5 tokens"]),
        ("{ from = 0, to = 5, usd_per_1k_tokens = 1 }", ["bands end at 5 tokens: the last has no `to`"]),
        (
            "{ from = 0, to = 5, usd_per_1k_tokens = 1 }, { from = 4, usd_per_1k_tokens = 1 }",
            ["bands overlap from 4 tokens"],
        ),
        (
            "{ from = 7, usd_per_1k_tokens = 1 }, { from = 0, to = 5, usd_per_1k_tokens = 1 }",
            ["bands leave a gap from 5 to 7 tokens"],
        ),
        (
            "{ from = 0, usd_per_1k_tokens = 1 }, { from = 9, usd_per_1k_tokens = 1 }",
            ["bands overlap from 9 tokens"],
        ),
    ],
)
def test_gaps_and_overlaps_of_bands_are_refused(problems, bands, expected):
    text = TIERS.replace("usd_per_1k_tokens = 0.01", f"bands = [{bands}]")

    assert problems('default_plan = "p"\n' + text + PLAN) == [f"pay_as_you_go.tiers 1: {text}" for text in expected]


def test_bands_are_charged_token_by_token(tmp_path):
    bands = "{ from = 1_000, usd_per_1k_tokens = 1 }, { from = 0, to = 1_000, usd_per_1k_tokens = 2 }"
    path = tmp_path / "tariff.toml"
    text = TIERS.replace("usd_per_1k_tokens = 0.01", f"bands = [{bands}]")
    path.write_text('default_plan = "p"\n' + text + PLAN, "utf-8")
    (tier,) = read_rate_card(path).tiers

    assert [tier.charge(tokens) for tokens in (0, 500, 1_000, 1_001)] == [0, 1, 2, Fraction(2001, 1000)]


def test_everything_else_that_may_be_wrong(problems):
    listed = problems(
        "colour = 1\n" + TIERS.replace('"all"', '" "') + '[[plans]]\nname = "s"\nkind = "subscription"\n'
        'usd_per_month = "99"\nrequests = 0\nover_quota = "ask"\n'
        '[[plans]]\nname = "m"\nkind = "mark_up"\nprofit = 300\nrisk = true\n'
        '[[plans]]\nname = "s"\nkind = "free"\n'
        '[[plans]]\nname = "q"\nkind = "quote"\nusd_per_month = 5\n'
        '[[tenants]]\ntenant = "a"\nplan = "q"\n'
        '[[tenants]]\ntenant = "a"\nplan = "m"\nusd_per_month = 5\n'
        '[[tenants]]\nplan = "z"\n'
    )

    assert listed == [
        "default_plan is missing",
        "pay_as_you_go.tiers 1: name must be a text",
        "plans 1: usd_per_month must be a number of dollars",
        "plans 1: requests must not be below 1",
        "plans 1: over_quota must be one of hybrid, none",
        "plans 2: profit must not exceed 100 shares, as in 0.30",
        "plans 2: risk must be a number of shares, as in 0.30",
        "plans 2: operations is missing",
        "plans 3: kind must be one of pay_as_you_go, subscription, quote, mark_up",
        "plans 3: there is a plan 's' already",
        "plans 4: unknown key 'usd_per_month'",
        "tenants 1: usd_per_month is missing: the price that was quoted to a",
        "tenants 2: usd_per_month is for plans of kind quote, and 'm' has its own price",
        "tenants 2: tenant 'a' has a plan already",
        "tenants 3: tenant is missing",
        "tenants 3: plan names the unknown plan 'z'",
        "unknown key 'colour'",
    ]


def test_an_empty_file_misses_everything(problems):
    assert problems("") == ["default_plan is missing", "pay_as_you_go is missing", "no [[plans]] table"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('default_plan = "x"\n' + TIERS + PLAN, "default_plan names the unknown plan 'x'"),
        (
            'default_plan = "p"\n' + TIERS + '[[plans]]\nname = "p"\nkind = "quote"\n',
            "default_plan is a quote, and a quote is one tenant's own",
        ),
        ('default_plan = "p"\nplans = 3\n' + TIERS, "plans must be tables, as in [[plans]]"),
    ],
)
def test_a_default_plan_is_a_plan_for_everybody(problems, text, expected):
    assert expected in problems(text)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(SettingsError, match="can't be read: No such file"):
        read_rate_card(tmp_path / "none.toml")
