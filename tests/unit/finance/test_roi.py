"""Return on investment: the two shipped cases, claims compared with results, and a ledger's own case."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from semcache.errors import InvalidRequestError, SettingsError
from semcache.finance.roi import Roi, RoiCase, measured_case, read_roi_file
from semcache.finance.savings import savings
from semcache.model import LedgerHour, Status

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "roi"
DAY_S = 86_400
CASE = RoiCase("a case", Fraction(5), Fraction(3), Fraction(10))


def test_the_enterprise_assistant_is_as_the_article_says():
    result = Roi(read_roi_file(EXAMPLES / "enterprise-assistant.toml"))

    assert result.before_usd_per_month == 15_000
    assert result.after_usd_per_month == 9_000
    assert result.saved_usd_per_month == 6_000
    assert result.saved_usd_in_six_months == 36_000
    assert result.payback_months == 3
    assert result.implied_investment_usd == result.case.investment_usd == 18_000
    assert result.net_usd_in_six_months == 18_000
    assert len(result.claims) == 5
    assert all(claim.agrees for claim in result.claims)


def test_code_generation_costs_more_and_the_articles_slips_are_named():
    result = Roi(read_roi_file(EXAMPLES / "code-generation.toml"))

    assert result.before_usd_per_month == 240_000
    assert result.after_usd_per_month == 258_000
    assert result.saved_usd_per_month == -18_000
    assert result.saved_usd_in_six_months == -108_000
    assert result.never_pays_back
    assert result.payback_months is None
    assert [(claim.name, claim.claimed, claim.computed, claim.agrees, claim.remark) for claim in result.claims] == [
        ("before_usd_per_month", 24_000, 240_000, False, "claimed a tenth of it"),
        ("saved_usd_per_month", 3_600, -18_000, False, "it costs more, it saves nothing"),
        ("saved_usd_in_six_months", 21_600, -108_000, False, "it costs more, it saves nothing"),
    ]


@pytest.mark.parametrize(
    ("investment", "after", "months", "never"),
    [
        (None, 3, None, False),
        (0, 3, 0, False),
        (900, 3, Fraction(3, 2), False),
        (900, 5, None, True),
        (0, 6, None, True),
    ],
)
def test_payback(investment, after, months, never):
    invested = None if investment is None else Fraction(investment)
    result = Roi(replace(CASE, after_usd=Fraction(after), investment_usd=invested))

    assert (result.payback_months, result.never_pays_back) == (months, never)


@pytest.mark.parametrize(
    ("claimed", "agrees", "remark"),
    [
        ("600", True, ""),
        ("600.00", True, ""),
        ("601", False, ""),
        ("60", False, "claimed a tenth of it"),
        ("6", False, "claimed a 100th of it"),
        ("6000", False, "claimed 10 times it"),
    ],
)
def test_a_claim_is_held_against_the_figure(claimed, agrees, remark):
    (claim,) = Roi(replace(CASE, claimed={"saved_usd_per_month": Decimal(claimed)})).claims

    assert (claim.agrees, claim.remark) == (agrees, remark)


@pytest.mark.parametrize(("claimed", "agrees"), [("0.33", True), ("0.3", True), ("0.3333", True), ("0.34", False)])
def test_a_claim_may_be_rounded(claimed, agrees):
    case = replace(CASE, investment_usd=Fraction(200), claimed={"payback_months": Decimal(claimed)})

    assert [claim.agrees for claim in Roi(case).claims] == [agrees]


def test_a_claimed_payback_of_what_never_pays_back():
    case = replace(CASE, after_usd=Fraction(9), claimed={"payback_months": Decimal(1)})
    (claim,) = Roi(case).claims

    assert (claim.computed, claim.agrees) == (None, False)
    assert Roi(case).implied_investment_usd is None


def test_all_problems_of_a_file_come_at_once(tmp_path):
    path = tmp_path / "case.toml"
    path.write_text(
        'before_usd_per_request = -1\nafter_usd_per_request = "3"\nrequests_per_day = 1.5\ndays_per_month = 0\n'
        "investment = 5\ninvestment_usd = nan\nnote = 3\n[claimed]\nsaved = 3\npayback_months = inf\n",
        "utf-8",
    )
    with pytest.raises(SettingsError) as caught:
        read_roi_file(path)

    assert [problem.removeprefix(f"{path}: ") for problem in caught.value.problems] == [
        "claimed: payback_months must be a finite number",
        "claimed: unknown key 'saved'",
        "name is missing",
        "before_usd_per_request must not be negative",
        "after_usd_per_request must be a number of dollars",
        "requests_per_day must be a whole number",
        "days_per_month must not be below 1",
        "investment_usd must be a finite number",
        "note must be a text",
        "unknown key 'investment'",
    ]


HOURS = [
    LedgerHour(0, "t", "m", "", Status.MISS, requests=60, spent_output_nanousd=6_000_000_000, overhead_nanousd=10**9),
    LedgerHour(0, "t", "m", "", Status.EXACT_HIT, requests=40, saved_nanousd=4_000_000_000),
    LedgerHour(0, "t", "own", "", Status.MISS, requests=7, unpriced=7),
]


def test_a_ledger_is_a_case():
    case = measured_case("m", savings(HOURS).total, 2 * DAY_S, investment_usd=Decimal(90))
    result = Roi(case)

    assert (case.before_usd, case.after_usd) == (Fraction(1, 10), Fraction(7, 100))
    assert case.requests_per_day == 50
    assert result.saved_usd_per_month == 45
    assert result.payback_months == 2


def test_the_caches_own_calls_are_paid_with_it_alone():
    own = LedgerHour(0, "t", "mini", "", Status.MISS, spent_output_nanousd=10**9, own_calls_nanousd=10**9)
    case = measured_case("m", savings([*HOURS, own]).total, 2 * DAY_S, investment_usd=None)

    assert (case.before_usd, case.after_usd) == (Fraction(1, 10), Fraction(8, 100))


@pytest.mark.parametrize(
    ("hours", "measured_s", "expected"),
    [([], DAY_S, "no requests"), (HOURS[2:], DAY_S, "known price"), (HOURS, DAY_S - 1, "24.0 hours")],
)
def test_too_little_is_no_case(hours, measured_s, expected):
    with pytest.raises(InvalidRequestError, match=expected):
        measured_case("m", savings(hours).total, measured_s)
