"""Invoices for every price plan, from the ledger's hours."""

from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from semcache.finance.chargeback import Amounts, Chargeback, Invoice, InvoiceLine, chargeback
from semcache.finance.rate_card import Assignment, PayAsYouGo, PriceTier, Quote, RateCard, Subscription, VolumeBand
from semcache.finance.rate_card_file import read_rate_card
from semcache.model import LedgerHour, Status
from semcache.store.rollup import rolled_up
from tests.support.ledgers import november

CARD = read_rate_card(Path(__file__).resolve().parents[3] / "examples" / "tariff.toml")


def hour(tenant: str, status: Status, requests: int, tokens: int, spent: int = 0, *, at_s: int = 0) -> LedgerHour:
    return LedgerHour(
        at_s, tenant, "m", "", status, requests=requests, output_tokens=tokens, spent_output_nanousd=spent
    )


def test_the_articles_figures():
    result = chargeback(rolled_up(november()).values(), CARD)

    by_tenant = {invoice.tenant: invoice for invoice in result.invoices}
    assert {tenant: str(invoice.total_usd) for tenant, invoice in by_tenant.items()} == {
        "acme": "107.20",  # 99 for 5,000 requests, and 1,000 beyond: 500 plain, 100 in batches, 400 hits
        "globex": "45.00",  # 1,000 requests at $0.03 each become $0.045 each
        "hooli": "24.00",  # a million tokens at 0.010, at 0.008 and at 0.006 a thousand
        "initech": "2500.00",
    }
    assert [(line.text, line.used.requests, float(line.usd)) for line in by_tenant["acme"].lines] == [
        ("5,000 requests a month", 5_000, 99.0),
        ("plain, beyond the quota", 500, 5.0),
        ("batch, beyond the quota", 100, 0.8),
        ("cache hit, beyond the quota", 400, 2.4),
    ]
    assert result.adds_up
    assert result.total_usd == Decimal("2676.20")


def test_pay_as_you_go_charges_each_status_by_its_tier():
    hours = [hour("x", status, 1, 1000, 7) for status in Status]
    (invoice,) = chargeback(hours, CARD, ["x"]).invoices

    assert [(line.text, line.used, line.usd) for line in invoice.lines] == [
        ("plain", Amounts(3, 3000, 21), Fraction(3, 100)),
        ("batch", Amounts(1, 1000, 7), Fraction(8, 1000)),
        ("cache hit", Amounts(2, 2000, 14), Fraction(12, 1000)),
        ("not charged", Amounts(3, 3000, 21), 0),
    ]
    assert invoice.total_usd == Decimal("0.05")


def test_what_is_free_uses_up_no_quota():
    hours = [
        hour("acme", Status.ERROR, 9_000, 5),
        hour("acme", Status.MISS, 5_000, 500_000, at_s=3600),
    ]
    (invoice,) = chargeback(hours, CARD, ["acme"]).invoices

    assert [(line.text, line.used.requests) for line in invoice.lines] == [
        ("5,000 requests a month", 5_000),
        ("not charged", 9_000),
    ]
    assert invoice.total_usd == 99


def test_beyond_a_quota_that_is_not_hybrid_nothing_is_charged():
    card = RateCard(CARD.tiers, CARD.free, {"s": Subscription("s", Decimal("9.99"), 10, hybrid=False)}, "s")
    (invoice,) = chargeback([hour("a", Status.MISS, 30, 300, 3)], card).invoices

    assert [(line.text, line.used, line.usd) for line in invoice.lines] == [
        ("10 requests a month", Amounts(10, 100, 1), Fraction("9.99")),
        ("beyond the quota, not charged", Amounts(20, 200, 2), 0),
    ]


def test_bands_count_what_is_beyond_the_quota_from_its_first_token():
    tier = PriceTier(
        "all", frozenset(Status), (VolumeBand(0, 1000, Decimal(1)), VolumeBand(1000, None, Decimal("0.5")))
    )
    card = RateCard((tier,), frozenset(), {"s": Subscription("s", Decimal(0), 1, hybrid=True)}, "s")
    (invoice,) = chargeback(
        [hour("a", Status.MISS, 1, 9_000), hour("a", Status.MISS, 1, 3_000, at_s=3600)], card
    ).invoices

    assert invoice.total_usd == 2


@pytest.mark.parametrize(
    ("tokens", "total"), [(1_500, "0.02"), (2_500, "0.02"), (2_501, "0.03"), (500, "0.00"), (501, "0.01")]
)
def test_a_total_is_rounded_once_half_to_even(tokens, total):
    (invoice,) = chargeback([hour("x", Status.MISS, 1, tokens)], CARD, ["x"]).invoices

    assert str(invoice.total_usd) == total


def test_small_lines_are_added_before_they_are_rounded():
    hours = [hour("x", Status.MISS, 1, 400), hour("x", Status.COALESCED, 1, 500)]
    (invoice,) = chargeback(hours, CARD, ["x"]).invoices

    assert str(invoice.total_usd) == "0.01"


def test_a_monthly_price_is_due_without_a_request():
    result = chargeback([], CARD)

    assert [(invoice.tenant, str(invoice.total_usd)) for invoice in result.invoices] == [
        ("acme", "99.00"),
        ("initech", "2500.00"),
    ]
    assert [invoice.tenant for invoice in chargeback([], CARD, ["acme", "x"]).invoices] == ["acme"]


def test_other_tenants_are_neither_invoiced_nor_counted():
    result = chargeback([hour("x", Status.MISS, 1, 1), hour("y", Status.MISS, 2, 2)], CARD, ["x"])

    assert result.ledger == result.invoiced == Amounts(1, 1, 0)


def test_a_quote_is_the_tenants_own():
    plans = {"q": Quote("q"), "p": PayAsYouGo("p")}
    tenants = {"a": Assignment("q", Decimal(5)), "b": Assignment("q", Decimal("7.5"))}
    result = chargeback([], RateCard(CARD.tiers, CARD.free, plans, "p", tenants))

    assert [str(invoice.total_usd) for invoice in result.invoices] == ["5.00", "7.50"]


def test_invoices_that_leave_something_out_are_found():
    line = InvoiceLine("all", Amounts(1, 2, 3), Fraction())

    assert Chargeback((Invoice("a", "p", (line,)),), Amounts(1, 2, 3)).adds_up
    assert not Chargeback((Invoice("a", "p", (line,)),), Amounts(1, 2, 4)).adds_up
